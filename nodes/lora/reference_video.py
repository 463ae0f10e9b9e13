"""The node that gives a whole reference video to the sampler, for an IC-LoRA.

Shapes: f h w latent frames, rows, columns, N = f*h*w tokens.
"""

import inspect
from typing import TYPE_CHECKING

import comfy.utils
import node_helpers
import torch
from comfy.ldm.lightricks.symmetric_patchifier import SymmetricPatchifier, latent_to_pixel_coords
from comfy_api.latest import io
from torch.nn.functional import interpolate

from ...ltxv_train_core.errors import DataError
from ..comfy.schema import search_aliases
from ..comfy.sockets import CATEGORY

if TYPE_CHECKING:
    from comfy.sd import VAE

Conditioning = list[tuple[torch.Tensor, dict[str, object]]]
"""ComfyUI's CONDITIONING: encoded prompts, each with values that the sampler reads."""


class LTXVTrainApplyReference(io.ComfyNode):
    """Adds a reference video to the conditioning of an IC-LoRA."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LTXVTrainApplyReference",
            display_name="Apply LTXV Reference Video",
            category=CATEGORY,
            description="Gives an IC-LoRA the video that it has to follow. The whole video is "
            "appended to the latent as clean tokens that start at frame 0, as in "
            "training; put LTXVCropGuides behind the sampler to remove the appended "
            "frames.",
            **search_aliases("control", "guide", "ic-lora"),
            inputs=[
                io.Conditioning.Input("positive", tooltip="The prompt."),
                io.Conditioning.Input("negative", tooltip="The negative prompt."),
                io.Vae.Input("vae", tooltip="The LTX-Video VAE; it encodes the reference."),
                io.Latent.Input(
                    "latent", tooltip="The empty latent video to sample; it gives the size."
                ),
                io.Image.Input(
                    "reference",
                    tooltip="Frames of the reference video. They are resized to the latent's size. "
                    "Frames beyond its length are not used.",
                ),
            ],
            outputs=[
                io.Conditioning.Output(
                    display_name="positive", tooltip="The prompt with the reference's positions."
                ),
                io.Conditioning.Output(
                    display_name="negative",
                    tooltip="The negative prompt with the reference's positions.",
                ),
                io.Latent.Output(
                    display_name="latent", tooltip="The latent with the reference appended."
                ),
            ],
        )

    @classmethod
    def execute(
        cls,
        positive: Conditioning,
        negative: Conditioning,
        vae: "VAE",
        latent: dict[str, torch.Tensor],
        reference: torch.Tensor,
    ) -> io.NodeOutput:
        _require_no_guides(positive, negative)
        samples = latent["samples"]
        encoded = _encode(vae, reference, samples).to(samples)
        values = {
            "keyframe_idxs": _positions(encoded, vae.downscale_index_formula),
            "guide_attention_entries": [_attention_entry(encoded)],
        }
        return io.NodeOutput(
            node_helpers.conditioning_set_values(positive, values),
            node_helpers.conditioning_set_values(negative, values),
            _append(latent, encoded),
        )


def _encode(vae: "VAE", reference: torch.Tensor, samples: torch.Tensor) -> torch.Tensor:
    """Latents [1, 128, f, h, w] of the reference, as wide and high as the samples."""
    _, _, frames, height, width = samples.shape
    frame_step, row_pixels, column_pixels = vae.downscale_index_formula
    wanted = (frames - 1) * frame_step + 1
    given = min(len(reference), wanted)
    usable = (given - 1) // frame_step * frame_step + 1
    pixels = comfy.utils.common_upscale(
        reference[:usable, ..., :3].movedim(-1, 1),
        width * column_pixels,
        height * row_pixels,
        "bilinear",
        "center",
    )
    latents: torch.Tensor = vae.encode(pixels.movedim(1, -1))
    return latents


def _positions(encoded: torch.Tensor, scale: tuple[int, int, int]) -> torch.Tensor:
    """Causal positions from frame 0 on, in the layout of this ComfyUI's sampler.

    [1, 3, N] pixel frame, row, column of each token's corner; newer versions want
    [1, 3, N, 2], the beginning and the end of each token.
    """
    has_ends = "start_end" in inspect.signature(SymmetricPatchifier.__init__).parameters
    patchifier = SymmetricPatchifier(1, start_end=True) if has_ends else SymmetricPatchifier(1)
    _, corners = patchifier.patchify(encoded)
    positions: torch.Tensor = latent_to_pixel_coords(corners, scale, causal_fix=True)
    return positions


def _attention_entry(encoded: torch.Tensor) -> dict[str, object]:
    """The entry by which newer versions of ComfyUI count appended guides; older ones ignore it."""
    return {
        "pre_filter_count": encoded.shape[2:].numel(),
        "strength": 1.0,
        "pixel_mask": None,
        "latent_shape": list(encoded.shape[2:]),
    }


def _append(latent: dict[str, torch.Tensor], encoded: torch.Tensor) -> dict[str, torch.Tensor]:
    """Samples with the reference behind them, and a noise mask that keeps the reference clean."""
    samples = latent["samples"]
    mask = latent.get("noise_mask")
    if mask is None:
        mask = torch.ones(len(samples), 1, samples.shape[2], 1, 1, device=samples.device)
    elif mask.ndim < 5:  # in pixels, one frame or several: resized to latents as the sampler does
        frames = mask.reshape(1, 1, -1, *mask.shape[-2:])
        mask = interpolate(frames, size=samples.shape[2:], mode="trilinear")
        mask = mask.expand(len(samples), -1, -1, -1, -1)
    clean = mask.new_zeros(*mask.shape[:2], encoded.shape[2], *mask.shape[3:])
    reference = encoded.expand(len(samples), -1, -1, -1, -1)
    return {
        "samples": torch.cat([samples, reference], dim=2),
        "noise_mask": torch.cat([mask, clean], dim=2),
    }


def _require_no_guides(*conditionings: Conditioning) -> None:
    for _, values in (entry for conditioning in conditionings for entry in conditioning):
        if values.get("keyframe_idxs") is not None:
            raise DataError(
                "The conditioning already holds guides. Put Apply LTXV Reference Video before "
                "any LTXVAddGuide, and use it once"
            )
