"""LoRA files and the metadata in them, and folders of models, of any content."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ltxv_train_core.cli import main
from ltxv_train_core.families.open import open_model
from ltxv_train_core.lora.initialize import find_start, require_rank
from tests.corpus.judge import Case, judge, parameters
from tests.corpus.tensor_files import write_tensors

LAYER = "transformer_blocks.0.attn1.to_q"
DOWN, UP = f"diffusion_model.{LAYER}.lora_A.weight", f"diffusion_model.{LAYER}.lora_B.weight"
GOOD = {DOWN: ("F32", (4, 64)), UP: ("F32", (64, 4))}
ADAPTER = "lora_adapter_metadata"
SLOW = "(a+)+$"

TENSORS: dict[str, dict[str, Any]] = {
    "only down": {DOWN: GOOD[DOWN]},
    "only up": {UP: GOOD[UP]},
    "nothing": {},
    "another rank": GOOD | {UP: ("F32", (64, 5))},
    "rank 0": {DOWN: ("F32", (0, 64)), UP: ("F32", (64, 0))},
    "no inputs": {DOWN: ("F32", (4, 0)), UP: ("F32", (64, 4))},
    "one dimension": GOOD | {DOWN: ("F32", (4,))},
    "no dimension": {DOWN: ("F32", ()), UP: ("F32", ())},
    "three dimensions": GOOD | {DOWN: ("F32", (4, 8, 8))},
    "integers": {DOWN: ("I64", (4, 64)), UP: ("I64", (64, 4))},
    "bools": {DOWN: ("BOOL", (4, 64)), UP: ("BOOL", (64, 4))},
    "no layer": {
        "diffusion_model.x.lora_A.weight": GOOD[DOWN],
        "diffusion_model.x.lora_B.weight": GOOD[UP],
    },
    "twice": GOOD | {k.replace("diffusion_model", "transformer"): v for k, v in GOOD.items()},
    "dora of another size": GOOD | {f"diffusion_model.{LAYER}.dora_scale": ("F32", (63, 1))},
    **{
        f"lokr {name}": {
            f"diffusion_model.{LAYER}.lokr_{end}": ("F32", s) for end, s in parts.items()
        }
        for name, parts in {
            "half": {"w1": (8, 8)},
            "long first": {"w1_a": (10**5, 1), "w1_b": (1, 10**5), "w2": (8, 8)},
            "another rank": {"w1": (8, 8), "w2_a": (8, 2), "w2_b": (3, 8)},
            "three dimensions": {"w1": (8, 8, 1), "w2": (8, 8)},
        }.items()
    },
    "loha of two sizes": {
        f"diffusion_model.{LAYER}.hada_{end}": ("F32", s)
        for end, s in {"w1_a": (8, 2), "w1_b": (2, 8), "w2_a": (9, 2), "w2_b": (2, 8)}.items()
    },
    "oft that is not square": {f"diffusion_model.{LAYER}.oft_blocks": ("F32", (4, 8, 7))},
    "block of many digits": {
        k.replace("blocks.0", "blocks." + "9" * 400): v for k, v in GOOD.items()
    },
    "several adapters": GOOD
    | {DOWN.replace("A.w", "A.other.w"): GOOD[DOWN], UP.replace("B.w", "B.other.w"): GOOD[UP]},
}
# Their sizes are of no model, which only a merge can tell; nothing of the sizes of their products is made.
WHOLE: dict[str, dict[str, Any]] = {
    "lokr of long thin matrices": {
        "lokr_w1": (8, 8),
        "lokr_w2_a": (10**5, 1),
        "lokr_w2_b": (1, 10**5),
    },
    "lokr of large matrices": {"lokr_w1": (2000, 2000), "lokr_w2": (2000, 2000)},
    "oft": {"oft_blocks": (4, 8, 8)},
}
ALPHAS: dict[str, Any] = {
    "of two": ("F32", (2,)),
    "of none": ("F32", (0,)),
    "of integers": ("I64", ()),
    "of bools": ("BOOL", ()),
    "of bytes": ("U8", ()),
    "of fp8": ("F8_E4M3", ()),
    "of many dimensions": ("F32", (1, 1, 1)),
    "large": ("F32", (10**6,)),
}
METADATA: dict[str, str] = {
    "not json": "{",
    "list": "[]",
    "text": '"x"',
    "null": "null",
    "number": "5",
    "deep": "[" * 100_000,
    "deep objects": '{"a":' * 100_000,
    "digits": '{"lora_alpha": ' + "9" * 5000 + "}",
    "nan": '{"lora_alpha": NaN}',
    "infinite": '{"lora_alpha": 1e999}',
    "alpha text": '{"lora_alpha": "4"}',
    "alpha list": '{"lora_alpha": [4]}',
    "alpha true": '{"lora_alpha": true}',
    "alpha object": '{"transformer.lora_alpha": {}}',
    "patterns list": '{"alpha_pattern": [1]}',
    "patterns text": '{"alpha_pattern": "x"}',
    "pattern list": json.dumps({"alpha_pattern": {LAYER: []}}),
    "pattern text": json.dumps({"alpha_pattern": {LAYER: "a"}}),
    "pattern broken": '{"alpha_pattern": {"(": 1}}',
    "pattern broken set": '{"alpha_pattern": {"[z-a]": 1}}',
    "pattern slow": json.dumps({"alpha_pattern": {f"(.*{SLOW}": 1}}),
    "pattern slower": json.dumps({"alpha_pattern": {"(.*)*(.*)*(.*)*x": 1}}),
    "pattern slow letters": json.dumps({"alpha_pattern": {".*.*.*.*.*.*.*.*.*.*x": 1}}),
    "pattern long": json.dumps({"alpha_pattern": {"a" * 100_000: 1}}),
    "many patterns": json.dumps({"alpha_pattern": {f"x{i}.*": 1 for i in range(50_000)}}),
    "many names": json.dumps({"alpha_pattern": {f"x{i}": 1 for i in range(50_000)}}),
    "rslora text": '{"use_rslora": "x", "lora_alpha": 4}',
    "rank text": '{"r": "x"}',
}
CONFIG = {"_class_name": "LTXVideoTransformer3DModel", "num_layers": 1}
CONFIGS: dict[str, str] = {
    "empty": "",
    "list": "[]",
    "null": "null",
    "torn": "{",
    "deep": "[" * 100_000,
    "nan": '{"num_layers": NaN}',
    "digits": '{"num_layers": ' + "9" * 5000 + "}",
    "large": " " * 2**23,
    "another": '{"_class_name": "Flux"}',
    "class that is a list": '{"_class_name": []}',
    "class that is long": json.dumps({"_class_name": "a" * 10**5}),
    **{
        f"layers {n}": json.dumps(CONFIG | {"num_layers": v})
        for n, v in {
            "text": "x",
            "many": 10**9,
            "negative": -1,
            "list": [1],
            "float": 1.5,
            "none": None,
        }.items()
    },
    **{
        f"heads {n}": json.dumps(CONFIG | {"num_attention_heads": v})
        for n, v in {"text": "x", "many": 10**12, "none": None, "zero": 0, "object": {}}.items()
    },
    "unknown key": json.dumps(CONFIG | {"x" * 1000: 1}),
}
INDEXES: dict[str, str] = {
    "empty": "",
    "list": "[]",
    "torn": "{",
    "deep": "[" * 100_000,
    "no map": "{}",
    "map list": '{"weight_map": []}',
    "map of numbers": '{"weight_map": {"a": 1}}',
    "above": '{"weight_map": {"a": "../../x.safetensors"}}',
    "absolute": '{"weight_map": {"a": "/etc/passwd"}}',
    "missing": '{"weight_map": {"a": "b.safetensors"}}',
    "null character": '{"weight_map": {"a": "b\\u0000.safetensors"}}',
}


def lora(tensors: Any, metadata: dict[str, str] | None, *command: str) -> Callable[[Path], Any]:
    def prepare(folder: Path) -> Callable[[], Any]:
        from ltxv_train_core.families.registry import layer_name

        layer_name(LAYER)  # builds the list of layers, once
        path, output = folder / "x.safetensors", folder / "out.safetensors"
        write_tensors(path, tensors, metadata)
        where = [] if command[0] == "inspect" else ["--output", str(output)]
        return lambda: main([command[0], str(path), *command[1:], *where])

    return prepare


def special(kind: str) -> Callable[[Path], Any]:
    """A folder to start from that has something in it besides a LoRA."""

    def prepare(folder: Path) -> Callable[[], Any]:
        write_tensors(folder / "good-000001.safetensors", GOOD)
        path = folder / "bad-²-000009.safetensors"
        if kind == "pipe":
            os.mkfifo(path)
        elif kind == "folder":
            path.mkdir()
        elif kind.startswith("/"):
            path.symlink_to(kind)
        else:
            path.write_bytes(kind.encode())
        return lambda: require_rank(find_start(folder, "lora"), 4)

    return prepare


def model(
    config: str | None = None, index: str | None = None, pipeline: str | None = None
) -> Callable[[Path], Any]:
    def prepare(folder: Path) -> Callable[[], Any]:
        import diffusers
        import torch

        assert diffusers.LTXVideoTransformer3DModel
        part = folder / "transformer"
        part.mkdir()
        good = '{"_class_name": "LTXPipeline"}'
        (folder / "model_index.json").write_text(good if pipeline is None else pipeline)
        (part / "config.json").write_text(json.dumps(CONFIG) if config is None else config)
        if index is not None:
            (part / "diffusion_pytorch_model.safetensors.index.json").write_text(index)

        def load() -> Any:
            source = open_model(str(folder))
            source.require("transformer")
            return source.load_transformer(torch.float32)

        return load

    return prepare


RESIZE, CONVERT = ("resize", "--rank", "2"), ("convert", "--to", "kohya")
CASES = [
    Case("good", lora(GOOD, None, *CONVERT), "value"),
    *(Case(f"convert {n}", lora(t, None, *CONVERT), "error") for n, t in TENSORS.items()),
    *(
        Case(
            f"convert {n}",
            lora(
                {f"diffusion_model.{LAYER}.{e}": ("F32", s) for e, s in t.items()}, None, *CONVERT
            ),
            "value",
        )
        for n, t in WHOLE.items()
    ),
    *(Case(f"inspect {n}", lora(t, None, "inspect"), "value") for n, t in TENSORS.items()),
    *(Case(f"resize {n}", lora(t, None, *RESIZE), "error") for n, t in list(TENSORS.items())[::3]),
    *(
        Case(f"alpha {n}", lora(GOOD | {f"diffusion_model.{LAYER}.alpha": a}, None, *CONVERT))
        for n, a in ALPHAS.items()
    ),
    *(
        Case(
            f"inspect alpha {n}",
            lora(GOOD | {f"diffusion_model.{LAYER}.alpha": a}, None, "inspect", "--json"),
            "value",
        )
        for n, a in ALPHAS.items()
    ),
    *(Case(f"metadata {n}", lora(GOOD, {ADAPTER: t}, *CONVERT)) for n, t in METADATA.items()),
    *(
        Case(f"inspect metadata {n}", lora(GOOD, {ADAPTER: t}, "inspect"), "value")
        for n, t in METADATA.items()
    ),
    *(
        Case(f"rank {n}", lora(GOOD, None, "resize", "--rank", n), "error")
        for n in ("0", "-1", "4", "99999999999")
    ),
    *(
        Case(f"energy {n}", lora(GOOD, None, "resize", "--energy", n))
        for n in ("nan", "inf", "-1", "2", "1")
    ),
    *(
        Case(f"start beside {n[:20]}", special(n), "value")
        for n in ("pipe", "folder", "/dev/zero", "/nowhere", "", "text")
    ),
    *(Case(f"config {n}", model(config=c), "error") for n, c in CONFIGS.items()),
    *(Case(f"shards {n}", model(index=i), "error") for n, i in INDEXES.items()),
    *(
        Case(f"pipeline {n}", model(pipeline=p), "error")
        for n, p in {
            "empty": "",
            "list": "[]",
            "another": '{"_class_name": "Flux"}',
            "long": '"_class_name": "' + "a" * 10**5 + '"',
            "large": " " * 2**23,
        }.items()
    ),
]


@pytest.mark.parametrize("case", parameters(CASES, sampled=20))
def test_loras(case, tmp_path):
    judge(case, tmp_path)
