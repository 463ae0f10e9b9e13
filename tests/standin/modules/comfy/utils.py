"""Stand-in for ComfyUI's progress bar and picture scaling."""

from typing import Any

import torch
from server import PromptServer

from . import model_management


class ProgressBar:
    """Raises the interrupt in whichever thread moves it, as the real one does."""

    def __init__(self, total: int, node_id: Any = None):
        self.total = total
        self.node_id = node_id

    def update_absolute(self, value: int, total: int | None = None, preview: Any = None) -> None:
        model_management.throw_exception_if_processing_interrupted()
        self.total = self.total if total is None else total
        progress = {"value": min(value, self.total), "max": self.total, "node": self.node_id}
        PromptServer.instance.send_sync("progress", progress)
        if preview is not None:
            PromptServer.instance.send_sync("preview", preview)


def common_upscale(
    samples: torch.Tensor, width: int, height: int, upscale_method: str, crop: str
) -> torch.Tensor:
    """Frames [F, C, H, W] cut to the aspect ratio around their centre, then scaled."""
    given_height, given_width = samples.shape[-2:]
    left = top = 0
    if crop == "center" and given_width * height > given_height * width:
        left = round((given_width - given_height * width / height) / 2)
    elif crop == "center":
        top = round((given_height - given_width * height / width) / 2)
    cut = samples[..., top : given_height - top, left : given_width - left]
    return torch.nn.functional.interpolate(cut, size=(height, width), mode=upscale_method)
