"""Frames as models take them."""

import numpy as np
import torch
from torch import Tensor


def frames_to_tensor(frames: np.ndarray) -> Tensor:
    """uint8 RGB [F, H, W, 3] to float32 [1, 3, F, H, W] in [-1, 1]."""
    pixels = torch.from_numpy(np.ascontiguousarray(frames)).permute(3, 0, 1, 2)[None]
    tensor = pixels.to(torch.float32, memory_format=torch.contiguous_format)
    return tensor.div_(127.5).sub_(1)


def tensor_to_frames(videos: Tensor) -> np.ndarray:
    """Float [B, 3, F, H, W] in [-1, 1] to uint8 RGB [B, F, H, W, 3]; values beyond are clamped."""
    scaled = (videos.clamp(-1, 1) + 1).mul(127.5).round().to(torch.uint8)
    return scaled.permute(0, 2, 3, 4, 1).cpu().numpy()
