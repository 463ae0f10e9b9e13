"""Masks of what is to be generated: white is generated, black is given."""

import numpy as np
import torch
from torch import Tensor

from ..families.family import StreamFormat
from ..geometry import Grid, VideoSize
from ..manifests.time_ranges import TimeRanges

# Compressed masks are grey at their edges: half of white decides.
WHITE = 128


def latent_mask(frames: np.ndarray, grid: Grid) -> Tensor:
    """Frames uint8 [F, H, W, 3] to bool [f, h, w], true where any pixel of a latent is white.

    The first latent frame holds the first frame alone, each further one as many as the grid says.
    """
    count, height, width, _ = frames.shape
    side = grid.spatial
    rows, columns = height // side, width // side
    white = frames.mean(axis=3) >= WHITE
    pictures = white.reshape(count, rows, side, columns, side).any(axis=(2, 4))
    later = pictures[1:].reshape(-1, grid.temporal, rows, columns).any(axis=1)
    return torch.from_numpy(np.concatenate([pictures[:1], later]))


def sound_mask(
    ranges: TimeRanges, stream: StreamFormat, size: VideoSize, fps: float, start_seconds: float
) -> Tensor:
    """Where a clip's sound is to be generated: bool of its latents' shape, true for each latent that reaches into
    one of the ranges.

    Args:
        ranges: seconds of the whole clip.
        size, fps: of the part that is trained, which begins at `start_seconds`.
    """
    shape = stream.latent_shape(size, fps)
    spans = [stream.seconds(latent, fps) for latent in range(shape[0])]
    marked = [
        any(begin + start_seconds < to and end + start_seconds > since for since, to in ranges)
        for begin, end in spans
    ]
    return torch.tensor(marked).view(-1, *[1] * (len(shape) - 1)).expand(shape).contiguous()
