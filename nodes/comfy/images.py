"""Images and videos as ComfyUI's IMAGE: float32 [F, H, W, 3] in 0..1."""

import numpy as np
import torch
from PIL import Image


def image_from_pil(picture: Image.Image) -> torch.Tensor:
    """One image as IMAGE [1, H, W, 3]."""
    return image_from_frames(np.asarray(picture.convert("RGB"))[None])


def image_from_frames(frames: np.ndarray) -> torch.Tensor:
    """uint8 frames [F, H, W, 3] as IMAGE [F, H, W, 3]."""
    return torch.from_numpy(frames.astype(np.float32) / 255.0)


def frames_from_image(image: torch.Tensor) -> np.ndarray:
    """IMAGE [F, H, W, 3 or more] as uint8 frames [F, H, W, 3]; transparency is dropped."""
    pixels = image[..., :3].clamp(0, 1).mul(255).round().to(torch.uint8)
    return pixels.expand(*pixels.shape[:3], 3).cpu().numpy()


def stacked(top: Image.Image, bottom: Image.Image) -> Image.Image:
    """Two images in one, one above the other, both as wide as the top one."""
    height = max(1, round(bottom.height * top.width / bottom.width))
    joined = Image.new("RGB", (top.width, top.height + height))
    joined.paste(top, (0, 0))
    joined.paste(bottom.resize((top.width, height)), (0, top.height))
    return joined
