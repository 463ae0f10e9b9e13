"""A base model: its parts, each found, checked and loaded on its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from ..errors import ModelError
from ..models.sources.library_loading import wait_for_diffusers
from ..storage.atomic import sha256_json
from .family import Family, Sampling
from .names import AUDIO_VAE, TEXT_ENCODER, TRANSFORMER, VAE

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from ..models.transformer import Transformer
    from .base import Denoiser


class Vae(Protocol):
    """Pixels to normalised latents and back.

    Shapes: B batch, C channels, F frames, H W pixels, f h w latent frames, rows, columns.
    """

    def to(self, device: torch.device) -> Vae: ...

    def in_tiles(self, tile_px: int, tile_frames: int | None = None) -> Vae:
        """Encodes and decodes wider or higher frames than a tile in tiles, to save memory.

        Args:
            tile_frames: of how many frames at a time it decodes; None: of all.
        """
        ...

    def encode(self, frames: Tensor) -> Tensor:
        """Frames [B, 3, F, H, W] in [-1, 1] to the mean latents [B, C, f, h, w], float32 on the CPU."""
        ...

    def decode(self, latents: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Latents [B, C, f, h, w] to frames [B, 3, F, H, W] in [-1, 1], float32 on the CPU."""
        ...


class AudioVae(Protocol):
    """Sound to normalised latents and back.

    Attributes:
        sample_rate: of what `decode` gives.
    """

    @property
    def sample_rate(self) -> int: ...

    def to(self, device: torch.device) -> AudioVae: ...

    def encode(self, waveform: Tensor) -> Tensor:
        """Sound [B, 2, S] at the stream's `sound_rate` to latents [B, C, ...], float32 on the CPU."""
        ...

    def decode(self, latents: Tensor) -> Tensor:
        """Latents [B, C, ...] to sound [B, 2, S] at `sample_rate`, float32 on the CPU."""
        ...


class TextEncoder(Protocol):
    """Texts to embeddings."""

    def to(self, device: torch.device) -> TextEncoder: ...

    def in_eight_bits(self) -> TextEncoder:
        """Halves its memory; the next `to` quantizes."""
        ...

    def in_four_bits(self) -> TextEncoder:
        """A quarter of its memory; the next `to` quantizes."""
        ...

    def encode(self, prompts: list[str]) -> list[dict[str, Tensor]]:
        """Named tensors [L, D] per prompt on the CPU, padding cut off."""
        ...


class Part(Protocol):
    """A part of a model: its transformer, its VAE, ...

    Attributes:
        identity: changes when its weights change; where they are part of a file with more in it, when
            any of that changes.
        content: names its weights alone, the same in every layout; None where that isn't known before
            a download, or can't be read.
    """

    @property
    def identity(self) -> str: ...

    @property
    def content(self) -> str | None: ...

    def require(self) -> None:
        """Raises `ModelError` where it can't be loaded; reads and downloads no weights to find out."""
        ...

    def load(self, dtype: torch.dtype) -> Any:
        """Reads its weights.

        Raises:
            ModelError: it can't be loaded.
        """
        ...


def lacks_decoder(vae: Part) -> str | None:
    """Why a VAE can't decode latents, where it is known without loading it."""
    reason: str | None = getattr(vae, "decoder_problem", None)
    return reason


@dataclass(frozen=True)
class ModelFacts:
    """What is known of a model before its weights are read.

    Attributes:
        is_fp8: whether its transformer stays in 8 bit floating point when it is loaded.
        text_width: of the text embeddings that it reads; None where that isn't known yet.
        text_encoder: what it needs for them, in words.
        architecture: as `modelspec.architecture` in files' metadata names it.
        transformer_config: diffusers' configuration of its transformer; None where that isn't known yet.
        notes: what the user should know of it.
        generation: of the family's models, where a text encoder serves only one of them.
        sampling: how it is meant to be sampled, where its file says so.
    """

    is_fp8: bool
    text_width: int | None
    text_encoder: str
    architecture: str
    transformer_config: Mapping[str, Any] | None
    notes: tuple[str, ...] = ()
    generation: str | None = None
    sampling: Sampling | None = None


class TransformerPart(Part, Protocol):
    """The part that is trained."""

    @property
    def facts(self) -> ModelFacts: ...

    @property
    def module_names(self) -> tuple[list[str], list[str]] | None:
        """See `TransformerLayers.module_names`; None where no file of it tells."""
        ...

    def denoiser(self, transformer: Transformer) -> Denoiser:
        """The loaded transformer, called as its sampler calls it."""
        ...


class TextEncoderPart(Part, Protocol):
    """A text encoder; `width` is that of its embeddings, None where it isn't known yet. It may have an
    `encoding`, which names all that its embeddings depend on, where `content` is less than that."""

    @property
    def width(self) -> int | None: ...


class MissingPart:
    """A part that a model lacks."""

    identity = ""
    width = None

    def __init__(self, message: str, finished_by: Part | None = None):
        """
        Args:
            finished_by: the part of the model that what is given in its place goes through.
        """
        self.message = message
        self._finished_by = finished_by

    @property
    def content(self) -> str | None:
        return self._finished_by.content if self._finished_by else None

    def require(self) -> None:
        raise ModelError(self.message)

    def load(self, dtype: torch.dtype) -> Any:
        raise ModelError(self.message)


@dataclass(frozen=True)
class Model:
    """A base model whose parts are loaded one at a time.

    Attributes:
        name: as the user gave it.
        family: what it is a model of.
        transformer: what is trained.
        parts: all others, by name.
        chosen: parts that the user named in place of the model's own.
    """

    name: str
    family: Family
    transformer: TransformerPart
    parts: Mapping[str, Part]
    chosen: Mapping[str, Part] = field(default_factory=dict)

    @property
    def identity(self) -> str:
        """Changes when the weights change; part of every fingerprint."""
        own = self.transformer.identity
        if not self.chosen:
            return own
        return sha256_json([own, *(part.identity for part in self.chosen.values())])[:32]

    @property
    def facts(self) -> ModelFacts:
        return self.transformer.facts

    @property
    def sampling(self) -> Sampling | None:
        """How it is meant to be sampled, where it is a published version by its name, or its file says so."""
        version = self.family.versions.get(self.name)
        return version.sampling if version else self.facts.sampling

    def part(self, name: str) -> Part:
        """The transformer, or another part: the one that the user chose, or the model's own."""
        return self.transformer if name == TRANSFORMER else self.chosen.get(name, self.parts[name])

    def require(self, *names: str) -> None:
        """Looks at parts without loading them.

        Raises:
            ModelError: one can't be loaded, or the text encoder gives another width than is read.
        """
        for name in names:
            part = self.part(name)
            if name == TEXT_ENCODER:
                self._require_width(getattr(part, "width", None))
            part.require()

    def load_transformer(self, dtype: torch.dtype) -> Transformer:
        wait_for_diffusers()
        transformer: Transformer = self.transformer.load(dtype)
        return transformer

    def load_vae(self, dtype: torch.dtype | None = None, part: str = VAE) -> Vae:
        """What encodes and decodes a stream: the video's, or another part; None: in float32."""
        import torch

        wait_for_diffusers()
        vae: Vae = self.part(part).load(dtype or torch.float32)
        return vae

    def load_audio_vae(self) -> AudioVae:
        """In float32: it is small."""
        import torch

        wait_for_diffusers()
        vae: AudioVae = self.part(AUDIO_VAE).load(torch.float32)
        return vae

    def load_text_encoder(self, dtype: torch.dtype | None = None) -> TextEncoder:
        """None: in float32."""
        import torch

        wait_for_diffusers()
        encoder: TextEncoder = self.part(TEXT_ENCODER).load(dtype or torch.float32)
        return encoder

    def _require_width(self, width: int | None) -> None:
        wanted = self.facts.text_width
        if None not in (wanted, width) and wanted != width:
            option = "text_encoder_source" if TEXT_ENCODER in self.chosen else "model_source"
            raise ModelError(
                f"{option}: its text encoder gives embeddings of {width} numbers, and {self.name} reads "
                f"{wanted}; it needs {self.facts.text_encoder}"
            )
