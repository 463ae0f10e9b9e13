"""Where the VAE and the text encoder come from: the base model, or whoever has them already."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import torch
from torch import Tensor

from ..config import PreprocessSettings
from ..errors import ConfigurationError
from ..events import Reporter, StopSignal, ignore
from ..models.device import default_device
from ..models.quantize import eight_bit_problem
from ..models.source import ModelSource, open_model

Encoder = TypeVar("Encoder", covariant=True)


def _nothing() -> None:
    """What is there already needs no check."""


class VideoEncoder(Protocol):
    """Pixels to normalised latents and back. `VideoCodec` is one."""

    def encode(self, frames: Tensor) -> Tensor:
        """Frames [B, 3, F, H, W] in [-1, 1] to the mean latents [B, 128, f, h, w], float32."""
        ...

    def decode(self, latents: Tensor) -> Tensor:
        """Latents [B, 128, f, h, w] to frames [B, 3, F, H, W] in [-1, 1], float32."""
        ...


class CaptionEncoder(Protocol):
    """Texts to embeddings. `TextEncoder` is one."""

    def encode(self, prompts: list[str]) -> list[Tensor]:
        """One embedding [L, D] per prompt, on the CPU, padding cut off."""
        ...


@dataclass(frozen=True)
class EncoderSource(Generic[Encoder]):
    """An encoder that is loaded when it is needed.

    Attributes:
        identity: changes with the weights and the precision; part of the key of what it encodes.
        require: raises `ModelError` when it can't be loaded, without loading it.
    """

    identity: str
    load: Callable[[], Encoder]
    require: Callable[[], None] = _nothing


@dataclass(frozen=True)
class Encoders:
    """Both, each loaded on its own."""

    video: EncoderSource[VideoEncoder]
    text: EncoderSource[CaptionEncoder]


def find_encoders(
    settings: PreprocessSettings,
    video: EncoderSource[VideoEncoder] | None = None,
    text: EncoderSource[CaptionEncoder] | None = None,
    report: Reporter = ignore,
    stop: StopSignal | None = None,
) -> Encoders:
    """Those that are given, and of the base model those that aren't.

    Args:
        report, stop: of downloads.

    Raises:
        ConfigurationError: this machine can't run a text encoder in 8 bit.
        ModelError: there is no such model.
    """
    if video and text:
        return Encoders(video, text)
    model = open_model(
        settings.model_source, settings.text_encoder_source, settings.vae_source, report, stop
    )
    return Encoders(video or _vae_of(model, settings), text or _text_encoder_of(model, settings))


def _vae_of(model: ModelSource, settings: PreprocessSettings) -> EncoderSource[VideoEncoder]:
    device = default_device()
    dtype = _dtype(settings.vae_dtype, device)

    def load() -> VideoEncoder:
        codec = model.load_video_codec(dtype)
        if settings.vae_tile_px:
            codec.in_tiles(settings.vae_tile_px)
        return codec.to(device)

    return EncoderSource(f"{model.identity} {dtype}", load, model.require_video_codec)


def _text_encoder_of(
    model: ModelSource, settings: PreprocessSettings
) -> EncoderSource[CaptionEncoder]:
    device = default_device()
    dtype = _dtype(settings.text_encoder_dtype, device)
    in_8bit = settings.load_text_encoder_in_8bit
    if in_8bit and (problem := eight_bit_problem(device)):
        raise ConfigurationError([problem.removeprefix("acceleration.")])

    def load() -> CaptionEncoder:
        encoder = model.load_text_encoder(dtype)
        return (encoder.in_eight_bits() if in_8bit else encoder).to(device)

    identity = f"{model.identity} {'8bit' if in_8bit else dtype}"
    return EncoderSource(identity, load, model.require_text_encoder)


def _dtype(name: str, device: torch.device) -> torch.dtype:
    if name == "auto":
        return torch.bfloat16 if device.type == "cuda" else torch.float32
    return getattr(torch, name)
