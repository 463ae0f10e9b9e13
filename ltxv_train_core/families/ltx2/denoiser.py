"""The transformer of LTX-2.x, called as ComfyUI's sampler calls it."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..base import StreamInput, Text
from ..names import AUDIO, VIDEO
from ..noise import schedule
from .block import use_own_forward
from .forward import velocities
from .streams import AudioStream, VideoStream

if TYPE_CHECKING:
    from diffusers import LTX2VideoTransformer3DModel


@dataclass
class LTX2Denoiser:
    """Video with sound, or video alone."""

    transformer: "LTX2VideoTransformer3DModel"

    def __post_init__(self) -> None:
        use_own_forward(self.transformer)

    @property
    def device(self) -> torch.device:
        device: torch.device = self.transformer.device
        return device

    @cached_property
    def dtype(self) -> torch.dtype:
        dtype: torch.dtype = self.transformer.dtype
        return dtype  # asking the model searches all its parameters

    @cached_property
    def streams(self) -> Mapping[str, VideoStream | AudioStream]:
        return {VIDEO: VideoStream(), AUDIO: AudioStream()}

    def use_recomputing_blocks(self) -> None:
        """They always are: the forward that ComfyUI makes is this program's own."""

    def denoise(self, inputs: Mapping[str, StreamInput], text: Text) -> dict[str, Tensor]:
        """Predicted velocities [B, M, C] of each stream, in the transformer's precision."""
        return velocities(self.transformer, inputs, text, self.dtype)

    def sampling_levels(self, steps: int, tokens: Mapping[str, int]) -> Tensor:
        """Levels [steps + 1] from 1 to 0, shifted by the number of the video's tokens."""
        return schedule(steps, self.streams[VIDEO].shift(tokens[VIDEO]))
