"""What may be asked of a model family before anything of a model is loaded. No torch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from ..geometry import Grid, VideoSize
from ..models.memory.activations import ActivationBytes
from .layers import TransformerLayers


@dataclass(frozen=True)
class Sampling:
    """How a published model is meant to be sampled.

    Attributes:
        levels: the noise levels of a distilled model, from 1 down to the last before 0; None where a
            schedule gives them.
    """

    steps: int
    guidance_scale: float
    levels: tuple[float, ...] | None = None


class PublishedVersion(Protocol):
    """A published model.

    Attributes:
        repository: where it is on the Hugging Face Hub.
        file: its single file there; None where the repository has the diffusers layout.
        transformer: diffusers' configuration of its transformer.
        sampling: how it is meant to be sampled.
    """

    @property
    def repository(self) -> str: ...

    @property
    def file(self) -> str | None: ...

    @property
    def transformer(self) -> Mapping[str, object]: ...

    @property
    def sampling(self) -> Sampling: ...


class StreamFormat(Protocol):
    """What a data set holds of one stream.

    Attributes:
        channels: of its latents.
        encoder: the part of a model that makes them.
        roles: what else than latents may come with it, see `families.names`.
        sound_rate: samples a second of the sound that its encoder takes; None: it takes frames.
    """

    def __hash__(self) -> int: ...

    @property
    def channels(self) -> int: ...

    @property
    def encoder(self) -> str: ...

    @property
    def roles(self) -> frozenset[str]: ...

    @property
    def sound_rate(self) -> int | None: ...

    def latent_shape(self, size: VideoSize, fps: float) -> tuple[int, ...]:
        """The shape of a clip's latents, without channels."""
        ...

    def tokens(self, size: VideoSize, fps: float) -> int:
        """How many tokens a transformer sees of a clip."""
        ...

    def takes_reference(self, shape: Sequence[int], size: VideoSize, fps: float) -> bool:
        """Whether a clip's reference may have latents of a shape, without channels."""
        ...

    def seconds(self, latent: int, fps: float) -> tuple[float, float]:
        """When what a latent in time covers begins and ends."""
        ...


@dataclass(frozen=True)
class ModelSize:
    """A size of a family's transformers.

    Attributes:
        weight_bytes: in bfloat16.
        saved: for backward, when a LoRA is trained in half precision.
    """

    name: str
    layers: int
    width: int
    weight_bytes: int
    saved: ActivationBytes

    def training_bytes(self, tokens: int, checkpointing: bool) -> int:
        """Frozen weights and what is saved for backward, for one sample of so many tokens.

        An estimate: the LoRA with its optimizer, attention's and the allocator's working memory come
        on top.
        """
        recomputed = self.layers if checkpointing else 0
        return self.weight_bytes + self.saved.bytes(tokens, self.width, self.layers, recomputed)


class SavedBytes(Protocol):
    """Estimates the bytes of activations that a step saves for backward. A function:
    `families/ltxv/activation_bytes.py` has one."""

    def __call__(
        self,
        config: Mapping[str, Any],
        tokens: Mapping[str, int],
        samples: int,
        training_mode: str,
        precision: str,
        recomputed: int,
        compiled: bool,
    ) -> int:
        """
        Args:
            config: diffusers' configuration of a transformer, with what it takes for options that are
                left out.
            tokens: of each stream, of all samples together, references included.
            samples: how many there are.
            training_mode: "lora" or "full".
            precision: of the forward pass, "half" or "float32".
            recomputed: how many of the blocks are computed again in the backward pass.
            compiled: whether the others are compiled.
        """
        ...


@dataclass(frozen=True)
class Family:
    """A family of models.

    Attributes:
        name: as errors and data sets call it.
        grid: the sizes of videos that its models take.
        streams: what its models denoise, by name.
        text: names of the tensors [L, D] that a caption is encoded to.
        sizes: of its transformers.
        architecture: of whole transformers in `modelspec.architecture` of a file's metadata.
        called: a pattern of how trainers name its models in a file's metadata.
        versions: what is published, by the names that `model_source` takes.
        repositories: on the Hub that its models come from.
        layers: names of its transformers' layers.
        miniature: the name of the small model that comes with this program.
        shipped: its folder.
        saved_bytes: what a step saves for backward, before a transformer is loaded.
        text_encoder_bytes: of the text encoder that its models need, in bfloat16.
    """

    name: str
    grid: Grid
    streams: Mapping[str, StreamFormat]
    text: tuple[str, ...]
    sizes: tuple[ModelSize, ...]
    architecture: str
    called: str
    versions: Mapping[str, PublishedVersion]
    repositories: frozenset[str]
    layers: TransformerLayers
    miniature: str
    shipped: Path
    saved_bytes: SavedBytes
    text_encoder_bytes: int

    def latent_shapes(self, size: VideoSize, fps: float) -> dict[str, tuple[int, ...]]:
        """The shapes of a clip's latents by stream, without channels."""
        return {name: each.latent_shape(size, fps) for name, each in self.streams.items()}
