"""The shipped weights of the second miniature, as the models of diffusers that they belong to."""

from pathlib import Path

import torch
from diffusers import AutoencoderKLLTX2Audio, LTX2VideoTransformer3DModel
from diffusers.pipelines.ltx2 import LTX2TextConnectors
from safetensors.torch import load_file
from torch import Tensor
from transformers import PreTrainedTokenizerFast, T5EncoderModel

from ...ltxv.miniature import weights as first
from . import shipped
from .audio_vae import AudioFactors, build_audio_vae

new_text_encoder = first.new_text_encoder


def new_transformer() -> LTX2VideoTransformer3DModel:
    """The architecture with random weights."""
    return LTX2VideoTransformer3DModel(**shipped.TRANSFORMER_CONFIG)


def new_connectors() -> LTX2TextConnectors:
    """The architecture with random weights."""
    return LTX2TextConnectors(**shipped.CONNECTORS_CONFIG)


def load_transformer(
    dtype: torch.dtype = torch.float32, folder: Path = shipped.FOLDER
) -> LTX2VideoTransformer3DModel:
    with torch.device("meta"):
        transformer = new_transformer()
    transformer.load_state_dict(_read(folder / shipped.TRANSFORMER_FILE, dtype), assign=True)
    return transformer.eval()


def load_connectors(
    dtype: torch.dtype = torch.float32, folder: Path = shipped.FOLDER
) -> LTX2TextConnectors:
    with torch.device("meta"):
        connectors = new_connectors()
    connectors.load_state_dict(_read(folder / shipped.CONNECTORS_FILE, dtype), assign=True)
    return connectors.eval()


def load_text_encoder(
    dtype: torch.dtype = torch.float32, folder: Path = shipped.FOLDER
) -> T5EncoderModel:
    return first.text_encoder_of(_read(folder / shipped.TEXT_ENCODER_FILE, dtype))


def load_tokenizer(folder: Path = shipped.FOLDER) -> PreTrainedTokenizerFast:
    return first.load_tokenizer(folder)


def load_audio_factors(folder: Path = shipped.FOLDER) -> AudioFactors:
    return AudioFactors.from_tensors(_read(folder / shipped.AUDIO_FACTORS_FILE, torch.float32))


def load_audio_vae(
    dtype: torch.dtype = torch.float32, folder: Path = shipped.FOLDER
) -> AutoencoderKLLTX2Audio:
    """Its latent statistics stay in float32."""
    decoder = _read(folder / shipped.AUDIO_DECODER_FILE, torch.float32)
    vae = build_audio_vae(load_audio_factors(folder), decoder)
    vae.encoder.to(dtype)
    vae.decoder.to(dtype)
    return vae


def _read(path: Path, dtype: torch.dtype) -> dict[str, Tensor]:
    return {key: tensor.to(dtype) for key, tensor in load_file(path).items()}
