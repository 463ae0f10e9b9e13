"""`merge` and `extract` on checkpoints and LoRAs of any content."""

import json
import math
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from ltxv_train_core.cli import main
from ltxv_train_core.families.registry import layer_name
from tests.corpus.judge import SECRET, Case, judge, parameters, seeded
from tests.corpus.tensor_files import file_of, write_tensors
from tests.corpus.test_loras import ALPHAS, GOOD, LAYER, METADATA
from tests.corpus.test_loras import TENSORS as LORAS

PREFIX = "model.diffusion_model."
WEIGHT, SCALE = f"{PREFIX}{LAYER}.weight", f"{PREFIX}{LAYER}.scale_weight"
OTHER = f"{PREFIX}transformer_blocks.0.attn1.to_k.weight"
NORM = f"{PREFIX}transformer_blocks.0.scale_shift_table"
MODEL: dict[str, Any] = {
    WEIGHT: ("F32", (64, 64)),
    OTHER: ("F32", (64, 64)),
    NORM: ("F32", (6, 64)),
}

MODELS: dict[str, dict[str, Any]] = {
    "nothing": {},
    "no layer": {"x.weight": ("F32", (64, 64))},
    "only a bias": {f"{PREFIX}{LAYER}.bias": ("F32", (64,))},
    "no dimension": MODEL | {WEIGHT: ("F32", ())},
    "one dimension": MODEL | {WEIGHT: ("F32", (64,))},
    "three dimensions": MODEL | {WEIGHT: ("F32", (64, 8, 8))},
    "no outputs": MODEL | {WEIGHT: ("F32", (0, 64))},
    "no inputs": MODEL | {WEIGHT: ("F32", (64, 0))},
    "wider": MODEL | {WEIGHT: ("F32", (64, 128))},
    "turned": MODEL | {WEIGHT: ("F32", (32, 128))},
    "integers": MODEL | {WEIGHT: ("I64", (64, 64))},
    "bytes": MODEL | {WEIGHT: ("U8", (64, 64))},
    "bools": MODEL | {WEIGHT: ("BOOL", (64, 64))},
    "fp8 with blocks of scales": MODEL | {WEIGHT: ("F8_E4M3", (64, 64)), SCALE: ("F32", (4, 4))},
    "fp8 with no scales": MODEL | {WEIGHT: ("F8_E4M3", (64, 64)), SCALE: ("F32", (0,))},
    "fp8 with scales of integers": MODEL | {WEIGHT: ("F8_E4M3", (64, 64)), SCALE: ("I64", (1,))},
    "bitsandbytes": MODEL | {f"{WEIGHT}.absmax": ("F32", (4,))},
    "a LoRA": GOOD,
    "block of many digits": {
        k.replace("blocks.0", "blocks." + "9" * 400): v for k, v in MODEL.items()
    },
    "both names": MODEL | {WEIGHT.replace(PREFIX, "diffusion_model."): ("F32", (64, 64))},
    "letters that are none": MODEL | {f"{PREFIX}\u2028\u202e.weight": ("F32", (2, 2))},
    "a layer as large as no model has": MODEL | {WEIGHT: ("F8_E4M3", (2**17, 2**12))},
}
HEADS: dict[str, bytes] = {
    "empty": b"",
    "eight bytes": bytes(8),
    "long head": file_of("{}", length=2**62),
    "no json": file_of("{"),
    "list": file_of("[]"),
    "deep": file_of("[" * 100_000),
    "cut": file_of(
        json.dumps({WEIGHT: {"dtype": "F32", "shape": [64, 64], "data_offsets": [0, 16384]}})
    ),
    "pickle": b"\x80\x02}q\x00.",
    "zip": b"PK\x03\x04" + bytes(100),
    "gguf": b"GGUF" + bytes(100),
    "pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n",
    "page": b"<!DOCTYPE html><html></html>",
    "noise": seeded("head").randbytes(5000),
}
TEXTS: dict[str, Any] = {
    "long": {"config": "x" * 10**6},
    "deep": {"config": "[" * 100_000},
    "secret": {"config": json.dumps({"transformer": {"token": SECRET}})},
    "lines": {"modelspec.title": "a\nb\r\x1b[31m"},
}

Writer = Callable[[Path], None]


def zeros(tensors: Mapping[str, Any], metadata: Any = None) -> Writer:
    return lambda path: void(write_tensors(path, tensors, metadata))


def void(_: Any) -> None: ...


def content(data: bytes) -> Writer:
    return lambda path: void(path.write_bytes(data))


def numbers(first: float = 1.0, dtype: str = "float32", **changed: float) -> Writer:
    """The model with numbers that differ from zero; a layer's first one may be any."""

    def write(path: Path) -> None:
        import torch
        from safetensors.torch import save_file

        generator = torch.Generator().manual_seed(0)
        tensors = {}
        for name, (_, shape) in MODEL.items():
            tensors[name] = torch.randn(shape, generator=generator).to(getattr(torch, dtype))
        tensors[WEIGHT].view(-1)[0] = first
        save_file(tensors, path)

    return write


def damaged(number: int) -> Writer:
    """A whole model of which some bytes are others."""

    def write(path: Path) -> None:
        write_tensors(path, MODEL)
        data, draw = bytearray(path.read_bytes()), seeded("damaged", number)
        for _ in range(draw.randint(1, 12)):
            data[draw.randrange(min(len(data), 700))] = draw.randrange(256)
        path.write_bytes(data[: draw.randrange(len(data))] if number % 3 == 0 else data)

    return write


def special(kind: str) -> Writer:
    def write(path: Path) -> None:
        if kind == "pipe":
            os.mkfifo(path)
        elif kind == "folder":
            path.mkdir()
        elif kind == "itself":
            path.symlink_to(path.name)
        elif kind != "missing":
            path.symlink_to(kind)

    return write


def tool(
    command: str, first: Writer, second: Writer, *more: str, output: str = "out.safetensors"
) -> Callable[[Path], Any]:
    def prepare(folder: Path) -> Callable[[], Any]:
        import torch

        assert torch.linalg
        layer_name(LAYER)  # builds the list of layers, once
        one, two = folder / "one.safetensors", folder / "two.safetensors"
        first(one)
        second(two)
        return lambda: main([command, str(one), str(two), *more, "--output", str(folder / output)])

    return prepare


def merge(base: Writer, lora: Writer, *more: str, **options: Any) -> Callable[[Path], Any]:
    return tool("merge", base, lora, *more, **options)


def extract(base: Writer, tuned: Writer, *more: str, **options: Any) -> Callable[[Path], Any]:
    return tool("extract", base, tuned, *(more or ("--rank", "2")), **options)


BASE, LORA, TUNED = zeros(MODEL), zeros(GOOD), numbers()
SPECIALS = ("pipe", "folder", "itself", "missing", "/dev/zero", "/nowhere")
REFUSED = {"nothing", "no layer", "only a bias", "bitsandbytes", "a LoRA"}
CASES = [
    Case("merge good", merge(BASE, LORA), "value"),
    Case("extract good", extract(BASE, TUNED), "value"),
    *(
        Case(f"merge into {n}", merge(zeros(t), LORA), "error" if n in REFUSED else "either")
        for n, t in MODELS.items()
    ),
    *(Case(f"merge into the file {n}", merge(content(c), LORA), "error") for n, c in HEADS.items()),
    *(
        Case(f"merge into {n} metadata", merge(zeros(MODEL, m), LORA), "value")
        for n, m in TEXTS.items()
    ),
    *(Case(f"merge into damage {n}", merge(damaged(n), LORA)) for n in range(30)),
    *(Case(f"merge into special {n}", merge(special(n), LORA), "error") for n in SPECIALS),
    *(Case(f"merge {n}", merge(BASE, zeros(t)), "error") for n, t in LORAS.items()),
    *(Case(f"merge the file {n}", merge(BASE, content(c)), "error") for n, c in HEADS.items()),
    *(Case(f"merge damage {n}", merge(BASE, damaged(n)), "error") for n in range(10)),
    *(Case(f"merge special {n}", merge(BASE, special(n)), "error") for n in SPECIALS),
    *(
        Case(f"merge alpha {n}", merge(BASE, zeros(GOOD | {f"diffusion_model.{LAYER}.alpha": a})))
        for n, a in ALPHAS.items()
    ),
    *(
        Case(f"merge metadata {n}", merge(BASE, zeros(GOOD, {"lora_adapter_metadata": t})))
        for n, t in METADATA.items()
    ),
    *(
        Case(f"merge strength {n}", merge(BASE, LORA, f"--strength={n}"))
        for n in ("nan", "inf", "-1", "0", "1e308", "1e999", "x", "")
    ),
    *(Case(f"merge into NaN {n}", merge(numbers(n), LORA), "error") for n in (math.nan, math.inf)),
    Case("merge into itself", merge(BASE, LORA, output="one.safetensors"), "error"),
    Case("merge over the LoRA", merge(BASE, LORA, output="two.safetensors"), "error"),
    Case("merge the model itself", merge(BASE, BASE), "error"),
    *(
        Case(f"extract from {n}", extract(zeros(t), TUNED), "error" if n in REFUSED else "either")
        for n, t in MODELS.items()
    ),
    *(
        Case(f"extract of {n}", extract(TUNED, zeros(t)), "error" if n in REFUSED else "either")
        for n, t in MODELS.items()
    ),
    *(
        Case(f"extract from the file {n}", extract(content(c), TUNED), "error")
        for n, c in HEADS.items()
    ),
    *(
        Case(f"extract of the file {n}", extract(BASE, content(c)), "error")
        for n, c in HEADS.items()
    ),
    *(
        Case(f"extract of {n} metadata", extract(TUNED, zeros(MODEL, m)), "value")
        for n, m in TEXTS.items()
    ),
    *(Case(f"extract of damage {n}", extract(TUNED, damaged(n))) for n in range(30)),
    *(Case(f"extract from special {n}", extract(special(n), TUNED), "error") for n in SPECIALS),
    *(Case(f"extract of special {n}", extract(BASE, special(n)), "error") for n in SPECIALS),
    *(
        Case(f"extract rank {n}", extract(BASE, TUNED, f"--rank={n}"), "error")
        for n in ("0", "-1", "x", "", "1.5", "nan", "65", "4096", "99999999999")
    ),
    Case("extract rank 64", extract(BASE, TUNED, "--rank=64"), "value"),
    *(
        Case(f"extract of {n}", extract(BASE, numbers(n)), "error", says=("not finite",))
        for n in (math.nan, math.inf, -math.inf)
    ),
    Case("extract of the largest numbers", extract(BASE, numbers(3.4e38))),
    Case("extract of halves", extract(BASE, numbers(dtype="float16")), "value"),
    Case("extract of doubles", extract(BASE, numbers(1e300, "float64"))),
    Case("extract of itself", extract(TUNED, TUNED), "error", says=("don't differ",)),
    Case("extract over the base", extract(BASE, TUNED, output="one.safetensors"), "error"),
]


@pytest.mark.parametrize("case", parameters(CASES, sampled=20))
def test_checkpoints(case, tmp_path):
    judge(case, tmp_path)
