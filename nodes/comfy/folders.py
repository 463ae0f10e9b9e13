"""Where things lie in ComfyUI's folders. Every path a user writes is resolved here, once."""

import os
import re
import shutil
import time
from contextlib import suppress
from pathlib import Path

import folder_paths
from safetensors import SafetensorError, safe_open

from ...ltxv_train_core.config import shareable_graph
from ...ltxv_train_core.errors import DataError, ModelError
from ...ltxv_train_core.families.registry import FAMILIES
from ...ltxv_train_core.manifests.hub_dataset import folder_name, is_hub_name
from ...ltxv_train_core.permissions import policy
from ...ltxv_train_core.runs import RunFolder
from ...ltxv_train_core.runs.own_files import own_files
from ...ltxv_train_core.storage.atomic import atomic_path, is_unfinished, sha256_file
from ...ltxv_train_core.storage.paths import as_path, from_either_system, unquoted

LORA_SUBFOLDER = "ltxv_train"
HUB_SUBFOLDER = "ltxv_train_hub"
"""In ComfyUI's input folder: data sets of the Hugging Face Hub, a folder for each."""

UNFINISHED_SECONDS = 60.0
"""Another ComfyUI that shares the folder may be copying."""

_OF_A_STEP = re.compile(r"(?P<run>.+)-\d{6,}(?P<kind>-ema)?(?:-\d+)?")


def input_path(text: str) -> Path:
    """A path as written on the canvas, maybe in quotes or on Windows; a relative one is looked for in
    ComfyUI's input folder.

    Raises:
        DataError: for an empty text.
        NotAllowedError: it lies where graphs may not read on this machine.
    """
    written = as_path(text)
    if not unquoted(text):
        raise DataError("a path is empty: write one, or connect a node that gives it")
    inputs = Path(folder_paths.get_input_directory())
    located = Path(os.path.abspath(inputs / from_either_system(written, inputs)))  # noqa: PTH100
    policy().require_read(located)
    return located


def hub_dataset_folder(text: str) -> Path | None:
    """Where a data set of the Hugging Face Hub lies on this machine; None for what is written as a path."""
    inputs = Path(folder_paths.get_input_directory())
    if not is_hub_name(text, inputs):
        return None
    return Path(os.path.abspath(inputs / HUB_SUBFOLDER / folder_name(text)))  # noqa: PTH100


def runs_folder() -> Path:
    """Training runs lie in ComfyUI's output folder."""
    output = os.path.abspath(folder_paths.get_output_directory())  # noqa: PTH100
    return Path(output) / LORA_SUBFOLDER


def graph_to_share(extra_pnginfo: object, prompt: object) -> dict[str, str]:
    """The graph of the running prompt for a file's metadata, without this machine's folders."""
    workflow = extra_pnginfo.get("workflow") if isinstance(extra_pnginfo, dict) else None
    inputs, output = folder_paths.get_input_directory(), folder_paths.get_output_directory()
    places = (inputs, output, folder_paths.base_path)
    return shareable_graph(workflow, prompt, map(os.path.abspath, places))


def publish(trained: Path) -> str:
    """Copies a trained LoRA or transformer to where ComfyUI's loaders list it.

    A loader remembers a file by its path, so a name that is taken by other content is never
    overwritten: the copy gets a number.

    Returns:
        The name to give to a loader, relative to the folder of LoRAs or diffusion models.

    Raises:
        ModelError: it is no safetensors file.
    """
    try:
        with safe_open(trained, "pt") as file:
            facts = file.metadata() or {}
    except SafetensorError as error:
        raise ModelError(f"{trained}: is no safetensors file, or is damaged ({error})") from None
    whole = {family.architecture for family in FAMILIES}
    is_lora = facts.get("modelspec.architecture") not in whole
    folder = _loader_folder("loras" if is_lora else "diffusion_models")
    content = sha256_file(trained)
    _remove_unfinished(folder / LORA_SUBFOLDER)
    number = 1
    while True:
        suffix = "" if number == 1 else f"-{number}"
        published = folder / LORA_SUBFOLDER / f"{trained.stem}{suffix}.safetensors"
        if not published.exists():
            with atomic_path(published) as temporary:
                shutil.copyfile(trained, temporary)
            break
        if sha256_file(published) == content:
            break
        number += 1
    return str(published.relative_to(folder))


def _remove_unfinished(folder: Path) -> None:
    """Removes the unfinished files of copies that were killed."""
    for path in filter(is_unfinished, folder.glob(".*")):
        with suppress(OSError):
            if time.time() - path.stat().st_mtime > UNFINISHED_SECONDS:
                path.unlink()


def _loader_folder(kind: str) -> Path:
    """The first folder of a kind; of several, the one that has the kind's own name."""
    folders = [Path(folder) for folder in folder_paths.get_folder_paths(kind)]
    return next((folder for folder in folders if folder.name == kind), folders[0])


def lora_of_step(lora_name: str, step: int) -> str:
    """The name of the LoRA that the run of another wrote at a step.

    It is copied to ComfyUI's LoRAs, if it isn't there.

    Raises:
        ModelError: when the file belongs to no run, or the run has no LoRA of that step.
    """
    named = _OF_A_STEP.fullmatch(Path(lora_name).stem)
    if not named:
        raise ModelError(
            f"{lora_name}: is not named like a training run's LoRA (<run>-<step>.safetensors), so "
            "it has no other steps; set step to 0"
        )
    run, kind = named["run"], named["kind"] or ""
    published = Path(folder_paths.get_full_path_or_raise("loras", lora_name)).parent
    # The run's own file counts: among ComfyUI's LoRAs may be that of a deleted run of this name.
    own = own_files(RunFolder(runs_folder() / run).weights, ".safetensors")
    of_a_run = re.compile(rf"{re.escape(run)}-(\d{{6,}}){kind}")
    found = {
        int(name[1]): path
        for path in (*published.glob("*.safetensors"), *own)
        if (name := of_a_run.fullmatch(path.stem))
    }
    if step not in found:
        steps = ", ".join(map(str, sorted(found)))
        raise ModelError(
            f"{lora_name}: its run has no LoRA of step {step}. It has LoRAs of the steps {steps}"
        )
    path = found[step]
    if path.parent == published:
        return str(Path(lora_name).parent / path.name)
    return publish(path)
