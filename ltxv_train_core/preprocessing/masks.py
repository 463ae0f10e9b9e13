"""Masks of what is to be generated: white is generated, black is given."""

import numpy as np
import torch
from torch import Tensor

from ..geometry import Grid

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
