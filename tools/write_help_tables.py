"""Writes the option tables of the help pages in nodes/web/docs from the configuration.

python tools/write_help_tables.py          # write
python tools/write_help_tables.py --check  # exit code 1 if a page is out of date
"""

import sys
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "nodes" / "web" / "docs"
BEGIN, END = "<!-- options -->", "<!-- /options -->"

if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))

from ltxv_train_core.config import (  # noqa: E402
    SECTIONS,
    CaptionSettings,
    Option,
    PreprocessSettings,
    ReferenceFilter,
    ReferenceSettings,
    Section,
    SplitSettings,
    TranscribeSettings,
    options,
)
from tools.generated import between, write_or_check  # noqa: E402

PAGES = {
    "model": "LTXVTrainModelConfig",
    "lora": "LTXVTrainLoRAConfig",
    "conditioning": "LTXVTrainConditioningConfig",
    "optimization": "LTXVTrainOptimizationConfig",
    "acceleration": "LTXVTrainAccelerationConfig",
    "data": "LTXVTrainDataConfig",
    "validation": "LTXVTrainValidationConfig",
    "checkpoints": "LTXVTrainCheckpointsConfig",
    "hub": "LTXVTrainHubConfig",
    "flow_matching": "LTXVTrainFlowMatchingConfig",
    "trackers": "LTXVTrainTrackersConfig",
}
OTHER_PAGES: dict[str, type[Section]] = {
    "LTXVTrainDatasetPreprocess": PreprocessSettings,
    "LTXVTrainSplitScenes": SplitSettings,
    "LTXVTrainDatasetCaption": CaptionSettings,
    "LTXVTrainDatasetTranscribe": TranscribeSettings,
    "LTXVTrainDatasetReferences": ReferenceSettings,
    "LTXVTrainApplyReferenceFilter": ReferenceFilter,
}


def table(described: Iterable[Option]) -> str:
    """Options as a Markdown table."""
    rows = ["| Option | Default | Allowed | What it does |", "|---|---|---|---|"]
    rows += [
        f"| `{o.name}` | {_default(o)} | {_allowed(o)} | {_plain(o.description)} |"
        for o in described
    ]
    return "\n".join(rows)


def _default(option: Option) -> str:
    if option.default is None:
        return "must be given"
    if option.default == "":
        return "empty"
    lines = str(option.default).splitlines()
    return ", ".join(f"`{_plain(line)}`" for line in lines)


def _allowed(option: Option) -> str:
    if option.kind == "choice":
        return ", ".join(f"`{choice}`" for choice in option.choices)
    if option.kind in ("int", "float"):
        null = "; 0: not set" if option.optional else ""
        return f"{_number(option.minimum)} to {_number(option.maximum)}{null}"
    words = {
        "bool": "on, off",
        "lines": "one per line",
        "numbers": "numbers with commas between them",
        "mapping": "one `name: value` per line",
        "size": "WxHxF",
        "text": "text",
    }
    return words[option.kind] + (", or empty" if option.optional else "")


def _number(value: float | None) -> str:
    return "any" if value is None else f"{value:g}" if value < 1e7 else f"{value:.2g}"


def _plain(text: str) -> str:
    return text.replace("|", "\\|").replace("*", "\\*")


def contents() -> dict[Path, str]:
    """The pages with their tables."""
    tables: dict[str, type[Section]] = {page: SECTIONS[name] for name, page in PAGES.items()}
    found = {}
    for node_id, section in (tables | OTHER_PAGES).items():
        path = DOCS / f"{node_id}.md"
        page = path.read_text(encoding="utf-8")
        found[path] = between(page, BEGIN, END, table(options(section)))
    return found


if __name__ == "__main__":
    write_or_check(__doc__, contents)
