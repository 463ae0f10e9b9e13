"""What the VAE and the text encoder are to preprocessing. Imports no torch."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from torch import Tensor

Encoder = TypeVar("Encoder", covariant=True)


def _nothing() -> None:
    """What is there already needs no check."""


class VideoEncoder(Protocol):
    """Pixels to normalised latents and back. `VideoCodec` is one."""

    def encode(self, frames: "Tensor") -> "Tensor":
        """Frames [B, 3, F, H, W] in [-1, 1] to the mean latents [B, 128, f, h, w], float32."""
        ...

    def decode(self, latents: "Tensor") -> "Tensor":
        """Latents [B, 128, f, h, w] to frames [B, 3, F, H, W] in [-1, 1], float32."""
        ...


class CaptionEncoder(Protocol):
    """Texts to embeddings. `TextEncoder` is one."""

    def encode(self, prompts: list[str]) -> "list[Tensor]":
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

    @property
    def identities(self) -> tuple[str, str]:
        return self.video.identity, self.text.identity
