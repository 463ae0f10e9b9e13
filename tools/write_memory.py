"""Writes the tables of LTX-2 in docs/memory.md from the estimates of the core.

python tools/write_memory.py          # write
python tools/write_memory.py --check  # exit code 1 if the page is out of date
"""

import sys
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "memory.md"
BEGIN, END = "<!-- ltx-2 -->", "<!-- /ltx-2 -->"

if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))

from ltxv_train_core.benchmark.case import described  # noqa: E402
from ltxv_train_core.benchmark.names import LTX2_19B  # noqa: E402
from ltxv_train_core.config import TrainingConfig, build  # noqa: E402
from ltxv_train_core.geometry import VideoSize  # noqa: E402
from ltxv_train_core.recipes.clips import Clips  # noqa: E402
from ltxv_train_core.recipes.request import usable_bytes  # noqa: E402
from ltxv_train_core.training.memory_estimate import (  # noqa: E402
    offloaded_bytes,
    training_bytes,
)
from ltxv_train_core.training.transformer_sizes import TransformerSizes, transformer_sizes  # noqa: E402
from ltxv_train_core.units import GIB, byte_size  # noqa: E402
from tools.generated import between, write_or_check  # noqa: E402

CARDS_GB = (16, 24, 32, 48, 80)
SIZES, FPS, RANK = (VideoSize(768, 512, 121), VideoSize(512, 320, 49)), 24.0, 32
OF_LTX_2 = {
    "gated_attn": False,
    "audio_gated_attn": False,
    "cross_attn_mod": False,
    "audio_cross_attn_mod": False,
    "use_prompt_embeddings": True,
    "caption_channels": 3840,
}
"""How LTX-2 differs from LTX-2.3, in diffusers' names."""
MODELS: dict[str, dict[str, Any]] = {"LTX-2 (19B)": OF_LTX_2, "LTX-2.3 and 2.5 (22B)": {}}
FORMS = {"bf16": None, "fp8 as in the file": None, "int8": "int8-quanto", "NF4": "nf4"}
"""Of the base, with `acceleration.quantization`."""


@lru_cache
def sizes_of(model: str, form: str) -> TransformerSizes:
    """Of a transformer whose file is in a form."""
    like = described(LTX2_19B)
    config = {**(like.config or {}), **MODELS[model]}
    is_fp8 = form.startswith("fp8")
    return transformer_sizes(replace(like, config=config, is_fp8=is_fp8))


def configured(form: str, blocks: int) -> TrainingConfig:
    """A LoRA with checkpointing, with so many blocks in host memory."""
    return build(
        TrainingConfig,
        {
            "data": {"preprocessed_data_root": "data"},
            "lora": {"rank": RANK, "alpha": RANK},
            "optimization": {"steps": 1, "enable_gradient_checkpointing": True},
            "acceleration": {"quantization": FORMS[form], "blocks_to_offload": blocks},
        },
    )


def cell(card_gb: int, form: str, sizes: TransformerSizes, tokens: dict[str, int]) -> str:
    """With as few blocks in host memory as fit the card: what it takes, and the host."""

    def total(blocks: int) -> int:
        return training_bytes(configured(form, blocks), sizes, tokens).total

    usable = usable_bytes(card_gb * GIB)
    blocks = bisect_left(range(sizes.blocks + 1), True, key=lambda count: total(count) <= usable)
    if blocks > sizes.blocks:
        return "does not fit"
    host = offloaded_bytes(configured(form, blocks), sizes)
    away = f", {blocks} blocks ({byte_size(host)})" if blocks else ""
    return f"{byte_size(total(blocks))}{away}"


def table(model: str, size: VideoSize) -> Iterator[str]:
    """Of each form of the base what each card takes."""
    yield "| Base | its weights | " + " | ".join(f"{card} GB" for card in CARDS_GB) + " |"
    yield "|---|---|" + "---|" * len(CARDS_GB)
    for form in FORMS:
        sizes = sizes_of(model, form)
        tokens = dict(Clips.alike(1, size, FPS, sizes.description.family).tokens)
        base = training_bytes(configured(form, 0), sizes, tokens).base
        cells = [cell(card, form, sizes, tokens) for card in CARDS_GB]
        yield f"| {form} | {byte_size(base)} | " + " | ".join(cells) + " |"


def tables() -> str:
    """All of them."""
    family = described(LTX2_19B).family
    parts = []
    for model in MODELS:
        for size in SIZES:
            tokens = Clips.alike(1, size, FPS, family).tokens
            told = " and ".join(f"{count:,} of {name}" for name, count in tokens.items())
            parts.append(f"{model}, {size} with its sound, {told} tokens:")
            parts.append("\n".join(table(model, size)))
    return "\n\n".join(parts)


def contents() -> dict[Path, str]:
    """The page with its tables."""
    page = PAGE.read_text(encoding="utf-8")
    return {PAGE: between(page, BEGIN, END, f"\n{tables()}\n")}


if __name__ == "__main__":
    write_or_check(__doc__, contents)
