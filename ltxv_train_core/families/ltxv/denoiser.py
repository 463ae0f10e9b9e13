"""The transformer of LTX-Video 0.9.x, called as ComfyUI's sampler calls it."""

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor

from ...storage.atomic import write_json
from ..base import StreamInput, Text
from ..loaded_transformer import LoadedTransformer
from ..names import PROMPT, TRANSFORMER, VIDEO
from ..noise import schedule
from ..self_attention import left_out, two_thirds
from .checkpoint_export import config_metadata, transformer_tensors
from .forward import TIMESTEPS_PER_LEVEL, velocity
from .recompute import use_recomputing_blocks
from .versions import STG_BLOCKS
from .video_stream import VideoStream

if TYPE_CHECKING:
    from diffusers import LTXVideoTransformer3DModel


@dataclass
class LTXVideoDenoiser(LoadedTransformer):
    """Video alone.

    Attributes:
        causal_positions: whether the sampler shifts the frames after the first.
    """

    transformer: "LTXVideoTransformer3DModel"
    causal_positions: bool
    _is_known: bool = field(init=False)

    def __post_init__(self) -> None:
        self._is_known = use_recomputing_blocks(self.transformer)

    @cached_property
    def streams(self) -> Mapping[str, VideoStream]:
        return {VIDEO: VideoStream(self.causal_positions)}

    @property
    def stg_blocks(self) -> tuple[int, ...]:
        count = len(self.transformer.transformer_blocks)
        return (STG_BLOCKS.get(count, two_thirds(count)),)

    def as_checkpoint(
        self, state: Mapping[str, Tensor]
    ) -> tuple[dict[str, Tensor], dict[str, str]]:
        described = config_metadata(self.transformer.config, self.causal_positions)
        return transformer_tensors(state), described

    def write_folder(self, folder: Path, state: Mapping[str, Tensor]) -> None:
        """The transformer alone, with the pipeline that samples it."""
        import diffusers

        super().write_folder(folder, state)
        index = {
            "_class_name": "LTXConditionPipeline" if self.causal_positions else "LTXPipeline",
            "_diffusers_version": diffusers.__version__,
            TRANSFORMER: ["diffusers", type(self.transformer).__name__],
        }
        write_json(folder / "model_index.json", index)

    def denoise(self, inputs: Mapping[str, StreamInput], text: Text) -> dict[str, Tensor]:
        """Predicted velocity [B, N, C] of the video, in the transformer's precision."""
        video = inputs[VIDEO]
        if self._is_known:
            return {VIDEO: velocity(self.transformer, video, text, self.dtype)}
        prediction: Tensor = self.transformer(
            hidden_states=video.tokens.to(self.dtype),
            encoder_hidden_states=text.tensors[PROMPT],
            timestep=video.levels * TIMESTEPS_PER_LEVEL,
            encoder_attention_mask=text.mask,
            video_coords=video.positions,
            return_dict=False,
        )[0]
        return {VIDEO: prediction[:, : prediction.shape[1] - video.reference_tokens]}

    def without_self_attention(
        self, blocks: Sequence[int], streams: Collection[str]
    ) -> AbstractContextManager[None]:
        return left_out(self.transformer.transformer_blocks, blocks, ["attn1"])

    def sampling_levels(self, steps: int, tokens: Mapping[str, int]) -> Tensor:
        return schedule(steps, self.streams[VIDEO].shift(tokens[VIDEO]))
