"""What VAEs and the text encoder are to preprocessing. Imports no torch."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar, cast

from ..families.family import Family
from ..families.names import TEXT_ENCODER
from ..families.registry import EARLIEST, FAMILIES

if TYPE_CHECKING:
    from torch import Tensor

FEATURES = "features"

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


class AudioEncoder(Protocol):
    """Sound to normalised latents. A model's audio VAE is one."""

    def encode(self, waveform: "Tensor") -> "Tensor":
        """Sound [B, 2, S] at the stream's `sound_rate` to latents [B, C, ...], float32."""
        ...


class CaptionEncoder(Protocol):
    """Texts to embeddings. A model's text encoder is one.

    One that a part of the model finishes gives a single tensor, `FEATURES`.
    """

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
        family: the name of the model family that reads what it makes; None: of any.
        generation: of the family's models that read it; None: all.
        finished_by: the part of the model that what it makes goes through before it is written.
    """

    identity: str
    load: Callable[[], Encoder]
    require: Callable[[], None] = _nothing
    content: str | None = None
    former: str | None = None
    family: str | None = EARLIEST.name
    generation: str | None = None
    finished_by: str | None = None

    def known_as(self, name: str | None) -> "EncoderSource[Encoder]":
        """With its former identity, where a data set knows it by that."""
        return replace(self, identity=name) if name is not None and name == self.former else self


@dataclass(frozen=True)
class Encoders:
    """Each loaded on its own.

    Attributes:
        family: whose latents and embeddings they make.
        parts: by the part of the model that each is.
    """

    family: Family
    parts: Mapping[str, EncoderSource[object]]

    @property
    def text(self) -> EncoderSource[CaptionEncoder]:
        return cast(EncoderSource[CaptionEncoder], self.parts[TEXT_ENCODER])

    @property
    def identities(self) -> dict[str, str]:
        return {name: part.identity for name, part in self.parts.items()}

    def of_stream(self, stream: str) -> EncoderSource[Any]:
        """A `VideoEncoder`, or an `AudioEncoder` where the stream is a sound."""
        return self.parts[self.family.streams[stream].encoder]

    def known_as(self, model: Mapping[str, str]) -> "Encoders":
        """As the index of a data set calls them, so that what earlier versions encoded stays valid."""
        parts = {name: part.known_as(model.get(name)) for name, part in self.parts.items()}
        return replace(self, parts=parts)


def encoder_parts(family: Family) -> tuple[str, ...]:
    """The parts of a model that encode its data."""
    streams = dict.fromkeys(stream.encoder for stream in family.streams.values())
    return (*streams, TEXT_ENCODER)


def given_encoders(given: Mapping[str, EncoderSource[object]]) -> Encoders | None:
    """What is given in place of a model's encoders, where nothing of a model is needed beside it."""
    names = {source.family for source in given.values()} - {None}
    if len(names) != 1 or any(source.finished_by for source in given.values()):
        return None
    family = next(family for family in FAMILIES if family.name in names)
    if not all(part in given for part in encoder_parts(family)):
        return None
    return Encoders(family, given)
