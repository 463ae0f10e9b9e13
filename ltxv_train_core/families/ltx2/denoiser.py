"""The transformer of LTX-2.x, called as ComfyUI's sampler calls it."""

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from torch import Tensor

from ..base import StreamInput, Text
from ..loaded_transformer import LoadedTransformer
from ..names import AUDIO, TRANSFORMER_PREFIX, VIDEO
from ..noise import schedule
from ..self_attention import left_out, two_thirds
from .block import use_own_forward
from .description import as_metadata, described_transformer, generation
from .forward import velocities
from .layers import LAYERS
from .streams import AudioStream, VideoStream

if TYPE_CHECKING:
    from diffusers import LTX2VideoTransformer3DModel


PUBLISHED_LAYERS = 48
STG_BLOCKS = {"2.0": 29, "2.3": 28, "2.5": 28}
"""The block that Lightricks' pipelines leave self-attention out of, by generation."""
TOKENS_WITHOUT_VIDEO = 4096
SELF_ATTENTION = {VIDEO: "attn1", AUDIO: "audio_attn1"}


@dataclass(frozen=True)
class LTX2Denoiser(LoadedTransformer):
    """Video with sound, or one of them alone.

    Attributes:
        connectors: reads what belongs into a file of the whole transformer beside it: tensors of the
            connectors by ComfyUI's names without prefix, and what a file's metadata say of them.
    """

    transformer: "LTX2VideoTransformer3DModel"
    connectors: Callable[[], tuple[Mapping[str, Tensor], Mapping[str, Any]]]

    def __post_init__(self) -> None:
        use_own_forward(self.transformer)

    @cached_property
    def streams(self) -> Mapping[str, VideoStream | AudioStream]:
        return {VIDEO: VideoStream(), AUDIO: AudioStream()}

    @property
    def stg_blocks(self) -> tuple[int, ...]:
        count = len(self.transformer.transformer_blocks)
        if count != PUBLISHED_LAYERS:
            return (two_thirds(count),)
        return (STG_BLOCKS[generation(self.transformer.config)],)

    def as_checkpoint(
        self, state: Mapping[str, Tensor]
    ) -> tuple[dict[str, Tensor], dict[str, str]]:
        tensors = {LAYERS.comfy_name(name): tensor for name, tensor in state.items()}
        connectors, of_connectors = self.connectors()
        tensors |= connectors
        described = described_transformer(self.transformer.config) | dict(of_connectors)
        named = {TRANSFORMER_PREFIX + name: tensor for name, tensor in tensors.items()}
        return named, as_metadata({"transformer": described})

    def denoise(self, inputs: Mapping[str, StreamInput], text: Text) -> dict[str, Tensor]:
        """Predicted velocities [B, M, C] of each stream, in the transformer's precision."""
        return velocities(self.transformer, inputs, text, self.dtype)

    def without_self_attention(
        self, blocks: Sequence[int], streams: Collection[str]
    ) -> AbstractContextManager[None]:
        return left_out(
            self.transformer.transformer_blocks, blocks, [SELF_ATTENTION[name] for name in streams]
        )

    def sampling_levels(self, steps: int, tokens: Mapping[str, int]) -> Tensor:
        """Levels [steps + 1] from 1 to 0, shifted by the number of the video's tokens; without a video by that of
        ComfyUI's scheduler without a latent."""
        return schedule(steps, self.streams[VIDEO].shift(tokens.get(VIDEO, TOKENS_WITHOUT_VIDEO)))
