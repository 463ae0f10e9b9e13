"""Writes the tables of docs/which-card.md from the estimates of the core.

python tools/write_cards.py          # write
python tools/write_cards.py --check  # exit code 1 if the page is out of date
"""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "which-card.md"
BEGIN, END = "<!-- cards -->", "<!-- /cards -->"

if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))

from ltxv_train_core.benchmark.case import described  # noqa: E402
from ltxv_train_core.benchmark.names import LTX2_19B  # noqa: E402
from ltxv_train_core.families.open import describe_model  # noqa: E402
from ltxv_train_core.geometry import VideoSize  # noqa: E402
from ltxv_train_core.recipes.estimates import CardEstimate, card_estimates  # noqa: E402
from ltxv_train_core.recipes.names import Goal  # noqa: E402
from ltxv_train_core.training.transformer_sizes import transformer_sizes  # noqa: E402
from ltxv_train_core.units import byte_size  # noqa: E402
from tools.generated import between, write_or_check  # noqa: E402


class Card(NamedTuple):
    """Memory in GB, a card that has so much, and its peak in 10**12 operations a second (bf16, dense)."""

    gb: int
    example: str
    peak: float


# Peaks as the makers' data sheets state them, without sparsity, with float32 accumulation.
CARDS = (
    Card(8, "RTX 4060", 30),
    Card(12, "RTX 3060", 26),
    Card(16, "RTX 4080", 97),
    Card(24, "RTX 4090", 165),
    Card(32, "RTX 5090", 209),
    Card(48, "RTX A6000", 155),
    Card(80, "H100 SXM", 989),
)
MODELS = {
    "LTX-Video 2B": "LTXV_2B_0.9.6_DEV",
    "LTX-Video 13B": "LTXV_13B_097_DEV",
    "LTX-2 (19B and 22B: their transformers differ by 0.6 %)": LTX2_19B,
}
GOALS: dict[Goal, str] = {"style": "A LoRA (goal `style`)", "ic-lora": "An IC-LoRA"}
SIZE, FPS = VideoSize(768, 448, 89), 24.0
SHARE_OF_PEAK = 0.3
"""What a training step reaches of a card's peak: a guess, as nothing was measured."""
FORWARD_AND_BACKWARD, WITH_CHECKPOINTING = 4, 6
"""Operations for each weight and token: two forward, two for the gradient of what went in, two computed again."""


def seconds_a_step(estimate: CardEstimate, card: Card, numbers: int, tokens: int) -> float:
    """Arithmetic of a step of one sample, at a share of the card's peak; copies are not counted.

    Args:
        numbers: of the transformer.
        tokens: of the clip, its reference included.
    """
    assert estimate.proposal is not None
    again = "checkpointing" in estimate.settings or "blocks" in estimate.settings
    passes = WITH_CHECKPOINTING if again else FORWARD_AND_BACKWARD
    return passes * numbers * tokens / (SHARE_OF_PEAK * card.peak * 1e12)


def rows(model: str, goal: Goal) -> Iterator[str]:
    """A table: for each card the settings, memory and time."""
    yield "| Card | Settings | Memory of the card | of the computer | Disk | Seconds a step, estimated |"
    yield "|---|---|---|---|---|---|"
    clips = 50 if goal == "ic-lora" else 25
    found = card_estimates(model, goal, SIZE, FPS, [c.gb for c in CARDS], clips)
    description = describe_model(model)
    sizes = transformer_sizes(description)
    numbers = sizes.matrices + sizes.block_rest + sizes.outside
    tokens = sum(s.tokens(SIZE, FPS) for s in description.family.streams.values())
    for card, each in zip(CARDS, found, strict=True):
        name = f"{card.gb} GB, such as {card.example}"
        if each.needs is None:
            yield f"| {name} | does not fit | | | | |"
            continue
        seconds = seconds_a_step(each, card, numbers, tokens * (2 if goal == "ic-lora" else 1))
        host = byte_size(each.needs.host) if each.needs.host else "-"
        yield (
            f"| {name} | {each.settings} | {byte_size(each.needs.device.total)} | {host} | "
            f"{byte_size(each.needs.disk.total)} | about {_rounded(seconds)} |"
        )


def _rounded(seconds: float) -> str:
    return f"{seconds:.1f}" if seconds < 10 else f"{seconds:.0f}"


@contextmanager
def named(model: str) -> Iterator[str]:
    """The model as `model_source` names it: one without a version name is a folder that has no weights."""
    if model != LTX2_19B:
        yield model
        return
    with TemporaryDirectory() as folder:
        config = {"_class_name": "LTX2VideoTransformer3DModel", **(described(model).config or {})}
        written = {
            "model_index.json": {"_class_name": "LTX2Pipeline"},
            "transformer/config.json": config,
        }
        for name, content in written.items():
            path = Path(folder) / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(json.dumps(content), encoding="utf-8")
        yield folder


def tables() -> str:
    """All of the page's tables."""
    parts = []
    for title, model in MODELS.items():
        parts.append(f"### {title}")
        with named(model) as source:
            parts += [
                f"{text}:\n\n" + "\n".join(rows(source, goal)) for goal, text in GOALS.items()
            ]
    return "\n\n".join(parts)


def contents() -> dict[Path, str]:
    """The page with its tables."""
    page = PAGE.read_text(encoding="utf-8")
    return {PAGE: between(page, BEGIN, END, f"\n{tables()}\n")}


if __name__ == "__main__":
    write_or_check(__doc__, contents)
