"""The shipped weights of the miniature, as the diffusers and transformers models they belong to."""

from pathlib import Path

import torch
from diffusers import AutoencoderKLLTXVideo, LTXVideoTransformer3DModel
from safetensors.torch import load_file
from transformers import PreTrainedTokenizerFast, T5Config, T5EncoderModel

from .shipped import (
    CAPTION_CHANNELS,
    FOLDER,
    TEXT_ENCODER_FILE,
    TOKENIZER_FILE,
    TRANSFORMER_CONFIG,
    TRANSFORMER_FILE,
    VAE_FILE,
)
from .vae import VaeFactors, build_vae


def new_transformer() -> LTXVideoTransformer3DModel:
    """The architecture with random weights."""
    return LTXVideoTransformer3DModel(**TRANSFORMER_CONFIG)


def new_text_encoder(vocabulary: int) -> T5EncoderModel:
    """The architecture with random weights."""
    return T5EncoderModel(
        T5Config(
            vocab_size=vocabulary,
            d_model=CAPTION_CHANNELS,
            d_kv=32,
            d_ff=256,
            num_heads=4,
            num_layers=2,
            feed_forward_proj="gated-gelu",
            dropout_rate=0.0,
            pad_token_id=0,
            eos_token_id=1,
        )
    )


def load_transformer(dtype: torch.dtype = torch.float32) -> LTXVideoTransformer3DModel:
    with torch.device("meta"):
        transformer = new_transformer()
    transformer.load_state_dict(_read(TRANSFORMER_FILE, dtype), assign=True)
    return transformer.eval()


def load_text_encoder(dtype: torch.dtype = torch.float32) -> T5EncoderModel:
    return text_encoder_of(_read(TEXT_ENCODER_FILE, dtype))


def text_encoder_of(state: dict[str, torch.Tensor]) -> T5EncoderModel:
    """The architecture with given weights."""
    with torch.device("meta"):
        encoder = new_text_encoder(vocabulary=len(state["shared.weight"]))
    # transformers ties this second name to the first.
    state["encoder.embed_tokens.weight"] = state["shared.weight"]
    encoder.load_state_dict(state, assign=True)
    encoder.tie_weights()
    return encoder.eval()


def load_vae_factors(folder: Path = FOLDER) -> VaeFactors:
    return VaeFactors.from_tensors(_read(VAE_FILE, torch.float32, folder))


def load_vae(dtype: torch.dtype = torch.float32) -> AutoencoderKLLTXVideo:
    """Its latent statistics stay in float32."""
    vae = build_vae(load_vae_factors())
    vae.encoder.to(dtype)
    vae.decoder.to(dtype)
    return vae


def load_tokenizer(folder: Path = FOLDER) -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast(
        tokenizer_file=str(folder / TOKENIZER_FILE),
        pad_token="<pad>",
        eos_token="</s>",
        unk_token="<unk>",
        model_max_length=128,
    )


def _read(name: str, dtype: torch.dtype, folder: Path = FOLDER) -> dict[str, torch.Tensor]:
    return {key: tensor.to(dtype) for key, tensor in load_file(folder / name).items()}
