"""Captions of clips by a local Qwen2.5-VL.

Videos are given as that model takes them: two frames make one patch in time. Its own video processor
needs torchvision, which would bind the version of torch; its image processor and this file don't.

Shapes: F frames, H W pixels, n patches of a picture, p patch size, t frames in a patch.
"""

import inspect
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from transformers import (
    AutoTokenizer,
    BitsAndBytesConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2VLImageProcessor,
)

from ..errors import ModelError, cut, shown
from ..events import NeverStop, Progress, Reporter, StopSignal, ignore, raise_if_stopped
from .device import default_device
from .sources.allowed import folder_or_repository
from .sources.hub_download import TOP, download_folders
from .sources.library_loading import ONE_AT_A_TIME

SMALLEST_PICTURE_PX = 16 * 28 * 28
LARGEST_PICTURE_PX = 256 * 28 * 28
_PROMPT = (
    "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n"
    "<|vision_start|>{pads}<|vision_end|>{instruction}<|im_end|>\n<|im_start|>assistant\n"
)
IMAGE_TOKENS, VIDEO_TOKENS = 1, 2
"""How the model marks the tokens of a picture and of a video; those of text are 0."""


class VideoCaptioner:
    """A model with its tokenizer and image processor."""

    def __init__(self, model: Any, tokenizer: Any, images: Any):
        self.model = model.eval().requires_grad_(False)
        self.tokenizer = tokenizer
        self.images = images
        parameters = inspect.signature(model.forward).parameters
        self._marks_tokens = "mm_token_type_ids" in parameters

    @classmethod
    def load(
        cls,
        model: str,
        in_eight_bits: bool = False,
        report: Reporter = ignore,
        stop: StopSignal | None = None,
    ) -> "VideoCaptioner":
        """Loads a model onto this machine's device.

        Args:
            model: a folder, which downloads nothing, or a Hugging Face repository.

        Raises:
            ModelError: there is no such model, or it isn't a Qwen2.5-VL.
            NotAllowedError: the folder may not be read, or nothing may be downloaded from there.
            Cancelled: it was stopped; what was downloaded is kept.
        """
        told = "expected one with a Qwen2.5-VL (config.json, weights, tokenizer)"
        place = folder_or_repository(model, "captioning model", told)
        if isinstance(place, str):
            place = download_folders(place, TOP, report, stop)
        raise_if_stopped(stop or NeverStop())
        report(Progress("load captioning model", 0, 1, "model"))
        device = default_device()
        options: dict[str, Any] = {"local_files_only": True}
        quantized = {"quantization_config": BitsAndBytesConfig(load_in_8bit=True)}
        try:
            with ONE_AT_A_TIME:
                model_here = Qwen2_5_VLForConditionalGeneration.from_pretrained(
                    place,
                    torch_dtype=torch.float32 if device.type == "cpu" else torch.bfloat16,
                    device_map={"": device},
                    **options,
                    **(quantized if in_eight_bits else {}),
                )
            return cls(
                model_here,
                AutoTokenizer.from_pretrained(place, **options),
                Qwen2VLImageProcessor.from_pretrained(
                    place,
                    **options,
                    size={
                        "shortest_edge": SMALLEST_PICTURE_PX,
                        "longest_edge": LARGEST_PICTURE_PX,
                    },
                ),
            )
        except (OSError, ValueError, KeyError, RuntimeError, ImportError) as error:
            raise ModelError(
                f"captioning model {shown(model)}: can't be loaded as a Qwen2.5-VL ({cut(str(error), 200)})"
            ) from error

    @torch.no_grad()
    def caption(
        self, frames: np.ndarray, fps: float, instruction: str, max_new_tokens: int = 200
    ) -> str:
        """Describes an image or a video; the likeliest words, so always the same ones.

        Args:
            frames: uint8 RGB [F, H, W, 3].
            fps: how many of these frames there are in a second.
        """
        inputs = self.prepare(frames, fps, instruction)
        inputs = {name: value.to(self.model.device) for name, value in inputs.items()}
        tokens = self.model.generate(
            **inputs, max_new_tokens=max_new_tokens, do_sample=False, temperature=None
        )
        answer = tokens[0, inputs["input_ids"].shape[1] :]
        text: str = self.tokenizer.decode(answer, skip_special_tokens=True).strip()
        return text

    def prepare(self, frames: np.ndarray, fps: float, instruction: str) -> dict[str, Tensor]:
        """What the model is given."""
        pixels, grid = self._patches(frames)
        is_video = len(frames) > 1
        kind = "video" if is_video else "image"
        pad = f"<|{kind}_pad|>"
        count = int(grid.prod()) // self.images.merge_size**2
        text = _PROMPT.format(pads=pad * count, instruction=instruction.strip())
        inputs = dict(self.tokenizer(text, return_tensors="pt"))
        inputs = {name: inputs[name] for name in ("input_ids", "attention_mask")}
        if self._marks_tokens:
            is_pad = inputs["input_ids"] == self.tokenizer.convert_tokens_to_ids(pad)
            inputs["mm_token_type_ids"] = is_pad.int() * (
                VIDEO_TOKENS if is_video else IMAGE_TOKENS
            )
        if is_video:
            seconds = self.images.temporal_patch_size / fps
            inputs |= {"pixel_values_videos": pixels, "video_grid_thw": grid}
            return inputs | {"second_per_grid_ts": torch.tensor([seconds])}
        return inputs | {"pixel_values": pixels, "image_grid_thw": grid}

    def _patches(self, frames: np.ndarray) -> tuple[Tensor, Tensor]:
        """Patches [F / t * n, 3 * t * p * p] of the frames, and [1, 3] how many in time, down, across.

        The image processor fills a patch with t copies of its picture; of a video, each of the t is
        another frame. The last frame is repeated where the video ends within a patch.
        """
        pictures = self.images([Image.fromarray(frame) for frame in frames], return_tensors="pt")
        grid = pictures["image_grid_thw"][:1].clone()
        pixels = pictures["pixel_values"]
        if len(frames) == 1:
            return pixels, grid
        depth, side = self.images.temporal_patch_size, self.images.patch_size
        copies = pixels.reshape(len(frames), -1, 3, depth, side, side)
        missing = -len(frames) % depth
        copies = torch.cat([copies, copies[-1:].expand(missing, *copies.shape[1:])])
        moments = [copies[i::depth, :, :, 0] for i in range(depth)]
        video = torch.stack(moments, dim=3)
        grid[0, 0] = len(video)
        return video.reshape(-1, pixels.shape[1]), grid
