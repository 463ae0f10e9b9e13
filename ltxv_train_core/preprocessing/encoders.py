"""What the VAE and the text encoder are to preprocessing. Imports no torch."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from torch import Tensor

Encoder = TypeVar("Encoder", covariant=True)


def _nothing() -> None:
    """What is there already needs no check."""


class VideoEncoder(Protocol):
    """Pixels to normalised latents and back. A model's VAE is one."""

    def encode(self, frames: "Tensor") -> "Tensor":
        """Frames [B, 3, F, H, W] in [-1, 1] to the mean latents [B, C, f, h, w], float32."""
        ...

    def decode(self, latents: "Tensor") -> "Tensor":
        """Latents [B, C, f, h, w] to frames [B, 3, F, H, W] in [-1, 1], float32."""
        ...


class CaptionEncoder(Protocol):
    """Texts to embeddings. A model's text encoder is one."""

    def encode(self, prompts: list[str]) -> "list[dict[str, Tensor]]":
        """Named tensors [L, D] per prompt, on the CPU, padding cut off."""
        ...


@dataclass(frozen=True)
class EncoderSource(Generic[Encoder]):
    """An encoder that is loaded when it is needed.

    Attributes:
        identity: changes with the weights and the precision; part of the key of what it encodes.
        require: raises `ModelError` when it can't be loaded, without loading it.
        content: names the weights alone, see `families.model.Part`; None where that isn't known.
        former: the identity that earlier versions gave it.
    """

    identity: str
    load: Callable[[], Encoder]
    require: Callable[[], None] = _nothing
    content: str | None = None
    former: str | None = None

    def known_as(self, name: str | None) -> "EncoderSource[Encoder]":
        """With its former identity, where a data set knows it by that."""
        return replace(self, identity=name) if name is not None and name == self.former else self


@dataclass(frozen=True)
class Encoders:
    """Both, each loaded on its own."""

    video: EncoderSource[VideoEncoder]
    text: EncoderSource[CaptionEncoder]

    @property
    def identities(self) -> tuple[str, str]:
        return self.video.identity, self.text.identity

    def known_as(self, model: Mapping[str, str]) -> "Encoders":
        """As the index of a data set calls them, so that what earlier versions encoded stays valid."""
        return Encoders(
            self.video.known_as(model.get("vae")), self.text.known_as(model.get("text_encoder"))
        )
