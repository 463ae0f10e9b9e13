"""Nodes that give the sampler exact values, and record what it gives the transformer."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import folder_paths
import torch
from comfy_api.latest import io
from safetensors.torch import load_file, save_file

CATEGORY = "testing"


class ProbeGiven(io.ComfyNode):
    """Noise, latents, noise levels and frames from a file in the input folder.

    The file holds `noise` and `samples` [1, C, f, h, w], `sigmas` [n], and maybe `noise_mask` and
    `frames` [F, H, W, 3]. The VAE that it gives encodes everything to its `reference`
    [1, C, f, h, w].
    """

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ProbeGiven",
            category=CATEGORY,
            inputs=[io.String.Input("name")],
            outputs=[
                io.Custom("NOISE").Output(),
                io.Latent.Output(),
                io.Custom("SIGMAS").Output(),
                io.Image.Output(),
                io.Vae.Output(),
            ],
        )

    @classmethod
    def execute(cls, name: str) -> io.NodeOutput:
        given = load_file(Path(folder_paths.get_input_directory(), f"{name}.safetensors"))
        latent = {key: given[key] for key in ("samples", "noise_mask") if key in given}
        return io.NodeOutput(
            _GivenNoise(given["noise"]),
            latent,
            given["sigmas"],
            given.get("frames"),
            _GivenVae(given.get("reference")),
        )


class _GivenNoise:
    seed = 0

    def __init__(self, noise: torch.Tensor):
        self.noise = noise

    def generate_noise(self, latent: dict[str, Any]) -> torch.Tensor:
        """The noise for as many frames as it has, nothing for those behind."""
        whole = torch.zeros_like(latent["samples"])
        whole[:, :, : self.noise.shape[2]] = self.noise
        return whole


class _GivenVae:
    downscale_index_formula = (8, 32, 32)

    def __init__(self, latents: torch.Tensor | None):
        self.latents = latents

    def encode(self, pixels: torch.Tensor) -> torch.Tensor | None:
        return self.latents


class ProbeForward(io.ComfyNode):
    """A MODEL that writes the first call of its transformer into the output folder.

    `tokens` [1, N, C] and `timesteps` as they enter, `positions` [3, N] seconds, pixel row and
    column, `prediction` [1, N, C] as it comes out.
    """

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ProbeForward",
            category=CATEGORY,
            inputs=[io.Model.Input("model"), io.String.Input("name")],
            outputs=[io.Model.Output()],
        )

    @classmethod
    def execute(cls, model: Any, name: str) -> io.NodeOutput:
        path = Path(folder_paths.get_output_directory(), f"{name}.safetensors")
        path.parent.mkdir(exist_ok=True)
        path.unlink(missing_ok=True)

        def call(apply_model: Any, args: dict[str, Any]) -> torch.Tensor:
            seen: dict[str, torch.Tensor] = {}
            with _recorded(apply_model.__self__.diffusion_model, seen):
                result = apply_model(args["input"], args["timestep"], **args["c"])
            if not path.exists():
                save_file({k: v.float().clone().contiguous() for k, v in seen.items()}, path)
            return result

        recorded = model.clone()
        recorded.set_model_unet_function_wrapper(call)
        return io.NodeOutput(recorded)


@contextmanager
def _recorded(transformer: Any, seen: dict[str, torch.Tensor]) -> Iterator[None]:
    def note(name: str) -> Callable:
        def hook(_: Any, inputs: tuple, output: Any = None) -> None:
            seen[name] = inputs[0] if output is None else output

        return hook

    hooks = [
        transformer.patchify_proj.register_forward_pre_hook(note("tokens")),
        transformer.adaln_single.register_forward_pre_hook(note("timesteps")),
        transformer.proj_out.register_forward_hook(note("prediction")),
    ]
    owner, name = _rope(transformer)
    original = getattr(owner, name)

    def rope(coordinates: torch.Tensor, *args: Any, **options: Any) -> Any:
        starts = coordinates[..., 0] if coordinates.ndim == 4 else coordinates
        seen["positions"] = starts[0]
        return original(coordinates, *args, **options)

    setattr(owner, name, rope)
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
        if owner is transformer:
            delattr(owner, name)
        else:
            setattr(owner, name, original)


def _rope(transformer: Any) -> tuple[Any, str]:
    """Where the version of ComfyUI turns positions into angles."""
    if hasattr(transformer, "_precompute_freqs_cis"):
        return transformer, "_precompute_freqs_cis"
    import comfy.ldm.lightricks.model

    return comfy.ldm.lightricks.model, "precompute_freqs_cis"
