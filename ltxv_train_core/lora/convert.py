"""A LoRA file in another form."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ..errors import ModelError
from ..families.family import Family
from ..families.registry import EARLIEST
from .file import name_some, read_adapter, write_lora
from .forms import LoRAForm


@dataclass(frozen=True)
class Conversion:
    """What became of a file.

    Attributes:
        layers: how many were written.
        notes: what the user should know, one line each: keys that had no place in the new file,
            readers that won't find everything in it.
    """

    output: Path
    layers: int
    notes: tuple[str, ...]


def convert_lora(source: Path, form: LoRAForm, output: Path) -> Conversion:
    """Writes a LoRA or another adapter in another form, its metadata with it. The effect stays the same.

    Raises:
        ModelError: the source is no LoRA that is known, the form has no place for it, or `output` is there already.
    """
    found = read_adapter(source)
    require_new(output)
    write_lora(output, found.lora, found.metadata, form)
    notes = [*found.notes("not converted")]
    if form == "comfy":
        notes += unknown_to_diffusers(found.lora, found.family or EARLIEST)
    return Conversion(output, len(found.lora), tuple(notes))


def write_other_forms(lora_file: Path, forms: Iterable[LoRAForm]) -> None:
    """Writes the forms of a LoRA file that are not yet beside it: `<name>-<form>.safetensors`."""
    for form in forms:
        output = lora_file.with_name(f"{lora_file.stem}-{form}.safetensors")
        if not output.exists():
            convert_lora(lora_file, form, output)


def unknown_to_diffusers(layers: Iterable[str], family: Family) -> list[str]:
    """A line for layers that diffusers doesn't find in the comfy form, if there are any."""
    names = [name for name in layers if name.startswith(family.layers.unknown_to_diffusers)]
    if not names:
        return []
    return [
        f"diffusers doesn't know ComfyUI's names of {name_some(names)}: use a file of the form "
        "diffusers there"
    ]


def require_new(output: Path) -> None:
    """Raises `ModelError` when a file is there already: none is ever overwritten."""
    if output.exists():
        raise ModelError(f"{output}: is there already; give another name")
    if output.suffix != ".safetensors":
        raise ModelError(f"{output}: give a name that ends in .safetensors")
