"""The node that inspects a model or LoRA file."""

import json
from pathlib import Path

import folder_paths
from comfy_api.latest import io

from ...ltxv_train_core.families.inspect import as_text, inspect_file
from ..comfy.model_files import files_in
from ..comfy.schema import search_aliases
from ..comfy.sockets import CATEGORY

FOLDERS = ("loras", "checkpoints", "diffusion_models", "text_encoders", "vae")


class LTXVTrainInspectFile(io.ComfyNode):
    """Outputs what a model or LoRA file is."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LTXVTrainInspectFile",
            display_name="Inspect LTXV File",
            category=CATEGORY,
            description="Shows what a model or LoRA file is and whether it fits: its kind, "
            "versions, number formats, the rank and alpha of a LoRA, and the "
            "metadata. The weights are not read.",
            **search_aliases("metadata", "lora info", "checkpoint"),
            is_output_node=True,
            inputs=[
                io.Combo.Input(
                    "file",
                    options=files_in(FOLDERS),
                    tooltip="A file of ComfyUI's model folders. Its content is inspected, not its "
                    "name.",
                )
            ],
            outputs=[
                io.String.Output(display_name="text", tooltip="The facts as text."),
                io.String.Output(display_name="json", tooltip="The facts as JSON."),
            ],
        )

    @classmethod
    def fingerprint_inputs(cls, file: str | None) -> str:
        """Inspects a file again when it was replaced."""
        folder, _, name = (file or "").partition("/")
        path = folder_paths.get_full_path(folder, name) if name else None
        return str(Path(path).stat().st_mtime_ns) if path else ""

    @classmethod
    def execute(cls, file: str) -> io.NodeOutput:
        folder, _, name = file.partition("/")
        facts = inspect_file(Path(folder_paths.get_full_path_or_raise(folder, name)))
        text = as_text(facts)
        return io.NodeOutput(
            text, json.dumps(facts, indent=2, ensure_ascii=False), ui={"text": [text]}
        )
