"""Masks of what is to be generated: white is generated, black is given."""

import numpy as np
import torch
from torch import Tensor

from ..geometry import SPATIAL_COMPRESSION, TEMPORAL_COMPRESSION

WHITE = 128


def latent_mask(frames: np.ndarray) -> Tensor:
    """Frames uint8 [F, H, W, 3] to bool [f, h, w], true where any pixel of a latent is white.

    The first latent frame holds the first frame alone, each further one eight frames.
    """
    count, height, width, _ = frames.shape
    rows, columns = height // SPATIAL_COMPRESSION, width // SPATIAL_COMPRESSION
    white = frames.mean(axis=3) >= WHITE
    blocks = white.reshape(count, rows, SPATIAL_COMPRESSION, columns, SPATIAL_COMPRESSION)
    pictures = blocks.any(axis=(2, 4))
    later = pictures[1:].reshape(-1, TEMPORAL_COMPRESSION, rows, columns).any(axis=1)
    return torch.from_numpy(np.concatenate([pictures[:1], later]))
