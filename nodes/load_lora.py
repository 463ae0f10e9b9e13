"""The node that puts a trained LoRA into a MODEL."""

from pathlib import Path

import comfy.lora
import comfy.sd
import folder_paths
import torch
from comfy_api.latest import io
from safetensors import SafetensorError, safe_open

from ..ltxv_train_core.errors import ModelError
from .sockets import CATEGORY

NAMED_MODULES = 5


class LTXVTrainLoadLoRA(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LTXVTrainLoadLoRA",
            display_name="Load LTXV LoRA",
            category=CATEGORY,
            description="Puts a LoRA into the model. A LoRA that was made for another model is an "
            "error that names the weights without a place, instead of a picture without effect.",
            inputs=[
                io.Model.Input("model", tooltip="The LTX-Video model to put the LoRA into."),
                io.Combo.Input(
                    "lora_name",
                    options=folder_paths.get_filename_list("loras"),
                    tooltip="The LoRA file. Connect lora_name of a training node to load what it "
                    "has just trained.",
                ),
                io.Float.Input(
                    "strength",
                    default=1.0,
                    min=-10.0,
                    max=10.0,
                    step=0.01,
                    tooltip="How strongly the LoRA changes the model; 1 is as trained.",
                ),
            ],
            outputs=[
                io.Model.Output(display_name="model", tooltip="The model with the LoRA in it.")
            ],
        )

    @classmethod
    def fingerprint_inputs(cls, lora_name: str | None, **values: object) -> object:
        """A file that was replaced under the same name is read again."""
        path = lora_name and folder_paths.get_full_path("loras", lora_name)
        return Path(path).stat().st_mtime_ns if path else lora_name

    @classmethod
    def execute(cls, model: object, lora_name: str, strength: float) -> io.NodeOutput:
        weights, metadata = _read(folder_paths.get_full_path_or_raise("loras", lora_name))
        _require_places(model, weights, lora_name)
        patched, _ = comfy.sd.load_lora_for_models(model, None, weights, strength, 0.0)
        if metadata and hasattr(patched, "set_attachments"):
            # Newer versions of ComfyUI read an IC-LoRA's parameters from the model.
            patched.set_attachments("lora_metadata", metadata)
        return io.NodeOutput(patched)


def _read(path: str) -> tuple[dict[str, torch.Tensor], dict[str, str] | None]:
    """Weights and metadata of a LoRA file. Raises `ModelError` if it is no safetensors file."""
    try:
        with safe_open(path, framework="pt") as file:
            return {key: file.get_tensor(key) for key in file.keys()}, file.metadata()  # noqa: SIM118
    except SafetensorError as error:
        raise ModelError(f"{path}: is no readable safetensors file ({error})") from error


def _require_places(model: object, weights: dict[str, torch.Tensor], lora_name: str) -> None:
    """Raises `ModelError` for weights that the model has no place for."""
    places = comfy.lora.model_lora_keys_unet(model.model, {})
    modules = {key.split(".lora_")[0] for key in weights}
    homeless = sorted(module for module in modules if not _has_place(module, places))
    if not modules or homeless:
        named = ", ".join(homeless[:NAMED_MODULES])
        more = f" and {len(homeless) - NAMED_MODULES} more" if homeless[NAMED_MODULES:] else ""
        raise ModelError(
            f"{lora_name}: {len(homeless)} of {len(modules)} modules have no place in this model "
            f"({named}{more}). Load it into the model it was trained for"
        )


def _has_place(module: str, places: dict[str, str]) -> bool:
    """Whether the name, or its beginning up to a dot, is one the model knows."""
    return module in places or ("." in module and _has_place(module.rpartition(".")[0], places))
