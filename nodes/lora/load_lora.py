"""The node that loads a trained LoRA into a MODEL.

The reader of LoRA files is imported when it is first needed, so that ComfyUI starts quickly.
"""

import re
from pathlib import Path
from typing import TYPE_CHECKING

import comfy.lora
import comfy.sd
import folder_paths
import torch
from comfy_api.latest import io
from safetensors import SafetensorError, safe_open

from ...ltxv_train_core.errors import ModelError
from ..comfy.folders import lora_of_step
from ..comfy.schema import search_aliases
from ..comfy.sockets import CATEGORY, LORA_MODEL

if TYPE_CHECKING:
    from comfy.model_patcher import ModelPatcher

NAMED_MODULES = 5
_PART = re.compile(r"\.(?:lora_|dora_scale|lokr_w|hada_w|oft_blocks)")
"""Where the name of a tensor begins that is of a LoRA or another adapter."""
_ADAPTER_METADATA = "lora_adapter_metadata"


class LTXVTrainLoadLoRA(io.ComfyNode):
    """Loads a LoRA into a MODEL and refuses one that doesn't fit."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LTXVTrainLoadLoRA",
            display_name="Load Trained LTXV LoRA",
            category=CATEGORY,
            description="Adds what you have trained to the model, so that the videos you "
            "generate show it. It loads a LoRA of any common form, or the one that a "
            "run wrote at an earlier step; a LoRA for another model is an error that "
            "names the weights that don't fit.",
            **search_aliases("lora", "load lora", "apply lora"),
            inputs=[
                io.Model.Input("model", tooltip="The LTX-Video model to load the LoRA into."),
                io.Combo.Input(
                    "lora_name",
                    options=folder_paths.get_filename_list("loras"),
                    tooltip="The LoRA file. Connect lora_name of a training node to load its LoRA.",
                ),
                io.Float.Input(
                    "strength",
                    default=1.0,
                    min=-10.0,
                    max=10.0,
                    step=0.01,
                    tooltip="How strongly the LoRA changes the model; 1 is as trained.",
                ),
                io.Int.Input(
                    "step",
                    default=0,
                    min=0,
                    max=10_000_000,
                    step=1,
                    optional=True,
                    tooltip="Load the LoRA that the same training run wrote at this step; 0: the "
                    "named file. For a step without a LoRA, the error lists the steps that have one.",
                ),
            ],
            outputs=[
                io.Model.Output(display_name="model", tooltip="The model with the LoRA in it."),
                io.AnyType.Output(
                    display_name="lora_name",
                    tooltip="Name of the file that was loaded; fits lora_name of the stock LoRA "
                    "loaders.",
                ),
                LORA_MODEL.Output(
                    display_name="lora",
                    tooltip="The LoRA's weights, for Load LoRA Model and Save LoRA Weights.",
                ),
            ],
        )

    @classmethod
    def fingerprint_inputs(cls, lora_name: str | None, **values: object) -> object:
        """Reads a file again when another one has taken its name."""
        path = lora_name and folder_paths.get_full_path("loras", lora_name)
        return Path(path).stat().st_mtime_ns if path else lora_name

    @classmethod
    def execute(
        cls, model: "ModelPatcher", lora_name: str, strength: float, step: int = 0
    ) -> io.NodeOutput:
        if step:
            lora_name = lora_of_step(lora_name, step)
        weights, metadata = _read(folder_paths.get_full_path_or_raise("loras", lora_name))
        weights = _matched(model, weights, metadata or {}, lora_name)
        patched, _ = comfy.sd.load_lora_for_models(model, None, weights, strength, 0.0)
        if metadata and hasattr(patched, "set_attachments"):
            # Newer versions of ComfyUI read an IC-LoRA's parameters from the model.
            patched.set_attachments("lora_metadata", metadata)
        return io.NodeOutput(patched, lora_name, weights)


def _read(path: str) -> tuple[dict[str, torch.Tensor], dict[str, str] | None]:
    """Weights and metadata of a LoRA file. Raises `ModelError` if it is no safetensors file."""
    try:
        with safe_open(path, framework="pt") as file:
            return {key: file.get_tensor(key) for key in file.keys()}, file.metadata()  # noqa: SIM118
    except SafetensorError as error:
        raise ModelError(f"{path}: is no readable safetensors file ({error})") from error


def _matched(
    model: "ModelPatcher",
    weights: dict[str, torch.Tensor],
    metadata: dict[str, str],
    lora_name: str,
) -> dict[str, torch.Tensor]:
    """The weights under names that the model knows.

    Raises:
        ModelError: for weights of modules that the model doesn't have.
    """
    places = comfy.lora.model_lora_keys_unet(model.model, {})
    if _ADAPTER_METADATA in metadata or _unmatched(weights, places):
        from ...ltxv_train_core.lora.file import comfy_tensors

        weights = comfy_tensors(weights, metadata, lora_name)
    modules, unmatched = _modules(weights), _unmatched(weights, places)
    if not modules or unmatched:
        named = ", ".join(unmatched[:NAMED_MODULES])
        more = f" and {len(unmatched) - NAMED_MODULES} more" if unmatched[NAMED_MODULES:] else ""
        from ...ltxv_train_core.families.registry import family_of_lora, layer_name
        from ...ltxv_train_core.formats.lora_kinds import why_not_read
        from ...ltxv_train_core.lora.file import PREFIX

        if reason := why_not_read(weights):
            raise ModelError(f"{lora_name}: {reason}")
        layers = (layer_name(name.removeprefix(PREFIX)) for name in modules)
        if family := family_of_lora(filter(None, layers), metadata):
            raise ModelError(
                f"{lora_name}: is a LoRA of {family.name}, and {len(unmatched)} of its {len(modules)} modules "
                f"don't exist in this model ({named}{more}). Load it into a model of {family.name}"
            )
        raise ModelError(
            f"{lora_name}: {len(unmatched)} of {len(modules)} modules don't exist in this model "
            f"({named}{more}). Load it into the model it was trained for"
        )
    return weights


def _modules(weights: dict[str, torch.Tensor]) -> set[str]:
    return {_PART.split(key)[0] for key in weights}


def _unmatched(weights: dict[str, torch.Tensor], places: dict[str, str]) -> list[str]:
    """Modules that the model doesn't have."""
    return sorted(module for module in _modules(weights) if not _is_known(module, places))


def _is_known(module: str, places: dict[str, str]) -> bool:
    """Whether the name, or its beginning up to a dot, is one the model knows."""
    return module in places or ("." in module and _is_known(module.rpartition(".")[0], places))
