"""Where things lie in ComfyUI's folders. Every path a user writes is resolved here, once."""

import os
import shutil
from pathlib import Path
from typing import Any

import folder_paths

from ..ltxv_train_core.config import shareable_graph
from ..ltxv_train_core.errors import DataError
from ..ltxv_train_core.files import atomic_path, sha256_file

LORA_SUBFOLDER = "ltxv_train"


def input_path(text: str) -> Path:
    """A path as written on the canvas; a relative one is looked for in ComfyUI's input folder.

    Raises:
        DataError: for an empty text.
    """
    if not text.strip():
        raise DataError("a path is empty: write one, or connect a node that gives it")
    written = Path(text.strip()).expanduser()
    return Path(os.path.abspath(Path(folder_paths.get_input_directory(), written)))  # noqa: PTH100


def runs_folder() -> Path:
    """Training runs lie in ComfyUI's output folder."""
    output = os.path.abspath(folder_paths.get_output_directory())  # noqa: PTH100
    return Path(output) / LORA_SUBFOLDER


def graph_to_share(extra_pnginfo: Any, prompt: Any) -> dict[str, str]:
    """The graph of the running prompt for a file's metadata, without this machine's folders."""
    workflow = extra_pnginfo.get("workflow") if isinstance(extra_pnginfo, dict) else None
    inputs, output = folder_paths.get_input_directory(), folder_paths.get_output_directory()
    places = (inputs, output, folder_paths.base_path)
    return shareable_graph(workflow, prompt, map(os.path.abspath, places))


def publish_lora(lora_file: Path) -> str:
    """Copies a trained LoRA to where ComfyUI's loaders list it.

    A loader remembers a file by its path, so a name that is taken by other content is never
    overwritten: the copy gets a number.

    Returns:
        The name to give to a LoRA loader, relative to the LoRA folder.
    """
    folder = Path(folder_paths.get_folder_paths("loras")[0])
    content = sha256_file(lora_file)
    number = 1
    while True:
        suffix = "" if number == 1 else f"-{number}"
        published = folder / LORA_SUBFOLDER / f"{lora_file.stem}{suffix}.safetensors"
        if not published.exists():
            with atomic_path(published) as temporary:
                shutil.copyfile(lora_file, temporary)
            break
        if sha256_file(published) == content:
            break
        number += 1
    return str(published.relative_to(folder))
