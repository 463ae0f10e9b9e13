"""Nodes that write LoRA files and checkpoints from existing ones.

The name of a result holds a digest of its inputs: the same inputs reuse the file, and no file is ever
overwritten. The core's code is imported when it is first needed, so that ComfyUI starts
quickly.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import folder_paths
from comfy_api.latest import io

from ...ltxv_train_core.errors import ModelError
from ...ltxv_train_core.lora.forms import LORA_FORMS, LoRAForm
from ...ltxv_train_core.storage.atomic import sha256_json
from ..comfy.folders import LORA_SUBFOLDER
from ..comfy.schema import search_aliases
from ..comfy.sockets import CATEGORY
from ..training.progress import NodeProgress, logger
from ..training.run_job import run_job

MODEL_FOLDERS = ("checkpoints", "diffusion_models")


class LTXVTrainConvertLoRA(io.ComfyNode):
    """Writes a LoRA in another form."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LTXVTrainConvertLoRA",
            display_name="Convert LTXV LoRA",
            category=CATEGORY,
            description="Saves a LoRA in a form that other programs can read. Its effect and its "
            "metadata stay the same; keys that the new form can't hold are listed.",
            **search_aliases("lora", "kohya", "diffusers", "export"),
            is_output_node=True,
            inputs=[
                _lora_input(),
                io.Combo.Input(
                    "form",
                    options=list(LORA_FORMS),
                    default="diffusers",
                    tooltip="comfy: for ComfyUI, and for diffusers where both call a layer the "
                    "same. kohya: with alpha keys. diffusers: with its layer names and adapter "
                    "metadata; ComfyUI's stock loader doesn't know those.",
                ),
            ],
            outputs=[_lora_output()],
        )

    @classmethod
    def execute(cls, lora_name: str, form: LoRAForm) -> io.NodeOutput:
        from ...ltxv_train_core.lora.convert import convert_lora

        source = _lora_path(lora_name)
        output = _derived("loras", f"{source.stem}-{form}", source)
        notes = [] if output.exists() else convert_lora(source, form, output).notes
        return _result("loras", output, notes)


class LTXVTrainResizeLoRA(io.ComfyNode):
    """Reduces the rank of a LoRA."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LTXVTrainResizeLoRA",
            display_name="Resize LTXV LoRA",
            category=CATEGORY,
            description="Makes a LoRA file smaller, and says how much of its effect is lost. It "
            "reduces the rank and outputs the relative error: the norm of the "
            "difference over the norm of the LoRA.",
            **search_aliases("lora", "rank", "shrink"),
            is_output_node=True,
            inputs=[
                _lora_input(),
                io.Int.Input(
                    "rank",
                    default=16,
                    min=0,
                    max=1024,
                    tooltip="The new rank; 0: the smallest one that keeps the energy below.",
                ),
                io.Float.Input(
                    "energy",
                    default=0.99,
                    min=0.01,
                    max=1.0,
                    step=0.001,
                    tooltip="With rank 0: the share of the squared singular values that stays.",
                ),
            ],
            outputs=[
                _lora_output(),
                io.Float.Output(
                    display_name="error", tooltip="The relative error over all layers, 0 to 1."
                ),
            ],
        )

    @classmethod
    def execute(cls, lora_name: str, rank: int, energy: float) -> io.NodeOutput:
        from ...ltxv_train_core.lora.resize import resize_lora

        source = _lora_path(lora_name)
        how: dict[str, Any] = {"rank": rank} if rank else {"energy": energy}
        output = _derived("loras", f"{source.stem}-resized", source, how)
        if not output.exists():
            resize_lora(source, output, **how)
        facts = _metadata(output)
        error, size = float(facts["resize_error"]), facts["rank"]
        return _result("loras", output, [f"rank {size}, error {error:.4f}"], error)


class LTXVTrainExtractLoRA(io.ComfyNode):
    """Extracts a LoRA from two checkpoints."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LTXVTrainExtractLoRA",
            display_name="Extract LTXV LoRA",
            category=CATEGORY,
            description="Turns the difference between a model and its fine-tuned version into a "
            "LoRA. Both checkpoints must have the same size; the relative error is "
            "an output.",
            **search_aliases("lora", "finetune", "checkpoint"),
            is_output_node=True,
            inputs=[
                _model_input("base_name", "The checkpoint that the LoRA is for."),
                _model_input("tuned_name", "The fine-tuned checkpoint that the LoRA approximates."),
                io.Int.Input("rank", default=32, min=1, max=1024, tooltip="Rank of the new LoRA."),
            ],
            outputs=[
                _lora_output(),
                io.Float.Output(
                    display_name="error", tooltip="The relative error over all layers, 0 to 1."
                ),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(cls, base_name: str, tuned_name: str, rank: int) -> io.NodeOutput:
        from ...ltxv_train_core.lora.extract import extract_lora

        (_, base), (_, tuned) = _model_path(base_name), _model_path(tuned_name)
        output = _derived("loras", f"{tuned.stem}-extracted", base, tuned, rank)
        notes: list[str] = []
        if not output.exists():
            done = run_job(
                lambda report, stop: extract_lora(base, tuned, output, rank, report, stop),
                NodeProgress(cls.hidden.unique_id),
            )
            notes += done.notes
        error = float(_metadata(output)["extract_error"])
        return _result("loras", output, [f"error {error:.4f}", *notes], error)


class LTXVTrainMergeLoRA(io.ComfyNode):
    """Merges a LoRA into a checkpoint."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LTXVTrainMergeLoRA",
            display_name="Merge LTXV LoRA",
            category=CATEGORY,
            description="Builds a LoRA into a copy of a model, so that the model alone has its "
            "effect. Everything else in the checkpoint stays unchanged. It needs "
            "memory for one weight at a time, and disk space for the copy.",
            **search_aliases("lora", "bake", "checkpoint"),
            is_output_node=True,
            inputs=[
                _model_input("model_name", "The checkpoint or diffusion model to copy."),
                _lora_input(),
                io.Float.Input(
                    "strength",
                    default=1.0,
                    min=-10.0,
                    max=10.0,
                    step=0.01,
                    tooltip="Strength of the LoRA in the merged model; 1 is as trained.",
                ),
            ],
            outputs=[
                io.AnyType.Output(
                    display_name="model_name",
                    tooltip="Name of the new file, in the folder of the one that was copied; fits "
                    "ckpt_name or unet_name of the stock loaders.",
                )
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(cls, model_name: str, lora_name: str, strength: float) -> io.NodeOutput:
        from ...ltxv_train_core.lora.merge import merge_lora

        (kind, base), lora = _model_path(model_name), _lora_path(lora_name)
        output = _derived(kind, f"{base.stem}-{lora.stem}", base, lora, strength)
        notes: tuple[str, ...] = ()
        if not output.exists():
            done = run_job(
                lambda report, stop: merge_lora(base, lora, output, strength, report, stop),
                NodeProgress(cls.hidden.unique_id),
            )
            notes = done.notes
        return _result(kind, output, notes)


def _lora_input() -> io.Combo.Input:
    return io.Combo.Input(
        "lora_name",
        options=folder_paths.get_filename_list("loras"),
        tooltip="The LoRA file. Connect lora_name of a training node to use the LoRA that it has "
        "trained.",
    )


def _model_input(name: str, tooltip: str) -> io.Combo.Input:
    names = [name for kind in MODEL_FOLDERS for name in folder_paths.get_filename_list(kind)]
    return io.Combo.Input(name, options=names, tooltip=tooltip)


def _lora_output() -> io.AnyType.Output:
    return io.AnyType.Output(
        display_name="lora_name",
        tooltip="Name of the new file in ComfyUI's LoRA folder; fits lora_name of the loaders.",
    )


def _lora_path(name: str) -> Path:
    return Path(folder_paths.get_full_path_or_raise("loras", name))


def _model_path(name: str) -> tuple[str, Path]:
    """In which of ComfyUI's folders a model is, and its path."""
    for kind in MODEL_FOLDERS:
        if path := folder_paths.get_full_path(kind, name):
            return kind, Path(path)
    raise ModelError(f"{name}: there is no such file in {' or '.join(MODEL_FOLDERS)}")


def _derived(kind: str, stem: str, *inputs: object) -> Path:
    """The path of the result of these inputs. A file is identified by name, size and mtime."""
    facts = [
        [item.name, item.stat().st_size, item.stat().st_mtime_ns]
        if isinstance(item, Path)
        else item
        for item in inputs
    ]
    folder = Path(folder_paths.get_folder_paths(kind)[0]) / LORA_SUBFOLDER
    return folder / f"{stem}-{sha256_json(facts)[:8]}.safetensors"


def _metadata(path: Path) -> dict[str, str]:
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        facts: dict[str, str] = file.metadata()
        return facts


def _result(kind: str, output: Path, notes: Iterable[str], *values: object) -> io.NodeOutput:
    """The name for a loader, with the notes at the node and in the log."""
    name = str(output.relative_to(folder_paths.get_folder_paths(kind)[0]))
    for note in notes:
        logger.warning("%s: %s", name, note)
    return io.NodeOutput(name, *values, ui={"text": ["\n".join([name, *notes])]})
