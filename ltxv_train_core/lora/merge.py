"""Folds a LoRA into a checkpoint, so that it is sampled without one."""

import json
import math
import shutil
from dataclasses import dataclass
from functools import cache, partial
from itertools import count
from pathlib import Path
from typing import Any

from torch import Tensor

from ..errors import ModelError
from ..events import NeverStop, Progress, Reporter, StopSignal, ignore, raise_if_stopped
from ..formats.tensors import FP8
from ..storage.faults import named_faults
from ..storage.reading import parse_json
from ..storage.tensors import StoredTensor, stream_safetensors
from ..units import byte_size
from .checkpoint_weights import CheckpointFile, open_checkpoint
from .convert import require_new
from .file import name_some, read_adapter
from .lora import Adapter

MERGED = "merged_loras"


@dataclass(frozen=True)
class Merge:
    """A checkpoint with a LoRA in it; `notes` say what the user should know, one line each."""

    output: Path
    layers: int
    notes: tuple[str, ...]


def merge_lora(
    checkpoint: Path,
    lora_file: Path,
    output: Path,
    strength: float = 1.0,
    report: Reporter = ignore,
    stop: StopSignal | None = None,
) -> Merge:
    """Writes a copy of a checkpoint whose transformer does what it does with the LoRA.

    Everything else in the checkpoint stays as it is, its metadata and number formats too. Tensors
    are copied one by one: memory for a single one is enough.

    Args:
        lora_file: of any form.
        strength: as at a LoRA loader.

    Raises:
        ModelError: the files don't fit each other, `output` is there already, or the disk is full.
            Nothing is written then.
        NotFiniteError: the result would hold NaN or infinite numbers. Nothing is written then.
    """
    stop = stop or NeverStop()
    if not math.isfinite(strength):
        raise ModelError(f"strength {strength}: give a number, for example 1")
    found = read_adapter(lora_file)
    require_new(output)
    with open_checkpoint(checkpoint) as base:
        _require_fit(base, found.lora, lora_file)
        _require_room(checkpoint, output)
        layers = {base.layers[name]: name for name in found.lora}
        scales = {base.scale_key(name): name for name in found.lora}
        total, numbers = len(base.tensors), count(1)

        def changed(name: str) -> Tensor:
            weight = base.weight(name)
            return weight + found.lora[name].added(weight) * strength

        @cache
        def scale_of(name: str) -> Tensor | None:
            return base.scale_for(name, changed(name)) if base.scale_key(name) else None

        def make(key: str) -> Tensor:
            raise_if_stopped(stop)
            report(Progress("merge", next(numbers), total, "tensor"))
            if key in scales:
                scale = scale_of(scales[key])
                assert scale is not None
                return scale
            if key not in layers:
                return base.tensor(key)
            scale = scale_of(layers[key])
            return base.stored(layers[key], changed(layers[key]), scale)

        entries = [
            StoredTensor(key, info.dtype, info.shape, info.end - info.start, partial(make, key))
            for key, info in base.tensors.items()
        ]
        merged = _merged_before(base)
        merged.append({"lora": lora_file.name, "strength": strength})
        stream_safetensors(output, entries, base.metadata | {MERGED: json.dumps(merged)})
        notes = [*found.notes("not merged")]
        rounded = sum(base.info(name).dtype in FP8 for name in found.lora)
        if rounded:
            notes.append(f"{rounded} layers are stored in 8 bit and were rounded to it again")
    return Merge(output, len(found.lora), tuple(notes))


def _merged_before(base: CheckpointFile) -> list[Any]:
    """What a checkpoint says of LoRAs that were merged into it before."""
    try:
        merged = parse_json(base.metadata.get(MERGED, "[]"))
    except ValueError:
        return []
    return merged if isinstance(merged, list) else []


def _require_fit(base: CheckpointFile, lora: Adapter, lora_file: Path) -> None:
    missing = [name for name in lora if name not in base.layers]
    if missing:
        raise ModelError(
            f"{lora_file}: {len(missing)} of its {len(lora)} layers are not in {base.path.name} "
            f"({name_some(missing)}); merge it into the model it was trained for"
        )
    for name, layer in lora.items():
        weight = base.info(name).shape
        if not layer.suits(weight):
            raise ModelError(
                f"{lora_file}: {name} changes weights of shape {layer.shape}, those of "
                f"{base.path.name} are {weight}; merge it into the model it was trained for"
            )
    base.require_floats(lora)


def _require_room(checkpoint: Path, output: Path) -> None:
    with named_faults(output):
        output.parent.mkdir(parents=True, exist_ok=True)
    needed, free = checkpoint.stat().st_size, shutil.disk_usage(output.parent).free
    if free < needed:
        raise ModelError(
            f"{output}: needs {byte_size(needed)} of disk space, and {byte_size(free)} are free there"
        )
