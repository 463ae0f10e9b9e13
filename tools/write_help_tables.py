"""Writes the option tables of the help pages in nodes/web/docs from the configuration.

python tools/write_help_tables.py          # write
python tools/write_help_tables.py --check  # exit code 1 if a page is out of date
"""

import argparse
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


def with_table(page: str, section: type[Section]) -> str:
    """A page with the table between its marks renewed."""
    before, rest = page.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}\n{table(options(section))}\n{END}{after}"


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


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing")
    check = parser.parse_args().check
    stale = []
    tables: dict[str, type[Section]] = {page: SECTIONS[name] for name, page in PAGES.items()}
    for node_id, section in (tables | OTHER_PAGES).items():
        path = DOCS / f"{node_id}.md"
        page = path.read_text(encoding="utf-8")
        renewed = with_table(page, section)
        if renewed != page:
            stale.append(node_id)
            if not check:
                path.write_text(renewed, encoding="utf-8", newline="\n")
    print(f"{len(stale)} pages {'out of date' if check else 'written'}: {', '.join(stale) or '-'}")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
