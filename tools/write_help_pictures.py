"""Draws the typical wiring of each node for its help page: nodes/web/docs/wiring/*.svg.

python tools/write_help_pictures.py          # write
python tools/write_help_pictures.py --check  # exit code 1 if a picture is out of date

What is wired to what, the templates say; `MORE` adds the nodes that no template has.
"""

import json
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "nodes" / "web" / "docs"
FOLDER = DOCS / "wiring"

if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))

from ltxv_train_core.config.labels import label  # noqa: E402
from tools.generated import write_or_check  # noqa: E402
from tools.write_templates import FOLDER as TEMPLATES  # noqa: E402
from tools.write_templates import schemas  # noqa: E402


class Wire(NamedTuple):
    """From an output of a kind of node to an input of another."""

    source: str
    output: str
    target: str
    input: str


MORE = [
    Wire("LTXVTrainSplitScenes", "dataset_path", "LTXVTrainDatasetCaption", "dataset_path"),
    Wire("LTXVTrainDatasetCaption", "dataset_path", "LTXVTrainDatasetPreprocess", "dataset_path"),
    Wire(
        "LTXVTrainDatasetReferences", "dataset_path", "LTXVTrainDatasetPreprocess", "dataset_path"
    ),
    Wire("LTXVTrainDatasetCaption", "dataset_path", "LTXVTrainDatasetTranscribe", "dataset_path"),
    Wire(
        "LTXVTrainDatasetTranscribe", "dataset_path", "LTXVTrainDatasetPreprocess", "dataset_path"
    ),
    Wire("LoadVideo", "video", "LTXVTrainDatasetFromVideos", "videos"),
    Wire("LoadAudio", "audio", "LTXVTrainDatasetFromVideos", "audio"),
    Wire(
        "LTXVTrainDatasetPreprocess",
        "preprocessed_data_root",
        "LTXVTrainDatasetExport",
        "preprocessed_data_root",
    ),
    Wire("LTXVTrainModelConfig", "model", "LTXVTrainDatasetExport", "model"),
    Wire("LTXVTrainDatasetFromVideos", "dataset_path", "LTXVTrainDatasetCaption", "dataset_path"),
    Wire("LTXVTrainLoadConfig", "config", "LTXVTrainLoRA", "config"),
    Wire("LTXVTrainConfig", "config", "LTXVTrainSaveConfig", "config"),
    *(
        Wire(train, "lora_name", "LTXVTrainLoadLoRA", "lora_name")
        for train in ("LTXVTrainLoRA", "LTXVTrainICLoRA")
    ),
    Wire("LTXVTrainLoRA", "run", "LTXVTrainWait", "run"),
    Wire("LTXVTrainWait", "lora_name", "LTXVTrainLoadLoRA", "lora_name"),
    *(
        Wire(node, section, "LTXVTrainConfig", section)
        for node, section in (
            ("LTXVTrainFlowMatchingConfig", "flow_matching"),
            ("LTXVTrainHubConfig", "hub"),
            ("LTXVTrainTrackersConfig", "trackers"),
        )
    ),
    *(
        Wire("LTXVTrainLoRA", "lora_name", tool, "lora_name")
        for tool in ("LTXVTrainConvertLoRA", "LTXVTrainResizeLoRA", "LTXVTrainMergeLoRA")
    ),
    *(
        Wire(tool, "lora_name", "LTXVTrainLoadLoRA", "lora_name")
        for tool in ("LTXVTrainConvertLoRA", "LTXVTrainResizeLoRA", "LTXVTrainExtractLoRA")
    ),
    Wire("LTXVTrainModel", "model_name", "LTXVTrainExtractLoRA", "tuned_name"),
    Wire("LTXVTrainMergeLoRA", "model_name", "UNETLoader", "unet_name"),
    Wire("LTXVTrainBenchmark", "text", "PreviewAny", "source"),
    Wire("LTXVTrainConfig", "config", "LTXVTrainSweep", "config"),
    Wire("LTXVTrainSweep", "lora_name", "LTXVTrainLoadLoRA", "lora_name"),
    Wire("LTXVTrainSweep", "text", "PreviewAny", "source"),
    Wire("LTXVTrainSweep", "chart", "PreviewImage", "images"),
    Wire(
        "LTXVTrainDatasetPreprocess",
        "preprocessed_data_root",
        "LTXVTrainAddDataset",
        "preprocessed_data_root",
    ),
    Wire("LTXVTrainAddDataset", "more_data_sets", "LTXVTrainDataConfig", "more_data_sets"),
    Wire("LTXVTrainConfig", "config", "LTXVTrainStrengths", "config"),
    Wire("LTXVTrainLoRA", "lora_name", "LTXVTrainStrengths", "lora_name"),
    Wire("LTXVTrainStrengths", "sheet", "SaveImage", "images"),
    Wire("LTXVTrainInspectFile", "text", "PreviewAny", "source"),
    Wire("CLIPTextEncode", "CONDITIONING", "LTXVTrainApplyReference", "positive"),
    Wire("CheckpointLoaderSimple", "VAE", "LTXVTrainApplyReference", "vae"),
    Wire("EmptyLTXVLatentVideo", "LATENT", "LTXVTrainApplyReference", "latent"),
    Wire("LTXVTrainApplyReferenceFilter", "images", "LTXVTrainApplyReference", "reference"),
    Wire("LTXVTrainApplyReference", "positive", "SamplerCustom", "positive"),
    Wire("LTXVTrainApplyReference", "negative", "SamplerCustom", "negative"),
    Wire("LTXVTrainApplyReference", "latent", "SamplerCustom", "latent_image"),
    Wire("LoadImage", "IMAGE", "LTXVTrainApplyReferenceFilter", "images"),
]

MOST = 5
"""Wires of a node, on each side."""
NODE, LEFT, LINE, TITLE, GAP = 216, 26, 18, 22, 10
PALETTE = ("#b39ddb", "#81c784", "#ffb74d", "#4fc3f7", "#f48fb1", "#dce775", "#90a4ae")
NAMES = {
    "CheckpointLoaderSimple": "Load Checkpoint",
    "CLIPTextEncode": "CLIP Text Encode",
    "PreviewAny": "Preview as Text",
    "UNETLoader": "Load Diffusion Model",
}
"""Titles of ComfyUI's nodes that are no words of their ids."""


def wires() -> list[Wire]:
    """All that are known, those of most templates first."""
    found: Counter[Wire] = Counter()
    for path in sorted(TEMPLATES.glob("*.json")):
        workflow = json.loads(path.read_text("utf-8"))
        for graph in (workflow, *workflow.get("definitions", {}).get("subgraphs", ())):
            found.update(_wires_of(graph))
    return [wire for wire, _ in found.most_common()] + MORE


def _wires_of(graph: dict[str, Any]) -> Iterator[Wire]:
    nodes = {node["id"]: node for node in graph["nodes"]}
    for node in nodes.values():
        for place, output in enumerate(node["outputs"]):
            for link in map(_link, graph["links"]):
                if link[:2] == (node["id"], place) and link[2] in nodes:
                    target = nodes[link[2]]
                    name = target["inputs"][link[3]]["name"]
                    yield Wire(node["type"], output["name"], target["type"], name)


def _link(link: Any) -> tuple[int, int, int, int]:
    if isinstance(link, dict):
        return tuple(link[key] for key in ("origin_id", "origin_slot", "target_id", "target_slot"))
    return link[1], link[2], link[3], link[4]


def picture(kind: str, known: list[Wire], titles: Mapping[str, str]) -> str:
    """A node with what is wired to it, as SVG: sources above it, targets below.

    The help pane of the canvas is narrow, so wires run along the left and the right edge.
    """
    into = _each_once([w for w in known if w.target == kind and w.source in titles], "input")
    out = _each_once([w for w in known if w.source == kind and w.target in titles], "output")
    parts: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    y = GAP
    for source, some in _grouped(into, "source").items():
        parts.append(_box(y, titles[source], [w.output for w in some], []))
        starts += _rows(y, len(some))
        y += _height(len(some)) + GAP
    inputs, outputs = _rows(y, len(into)), _rows(y, len(out))
    into = [w for some in _grouped(into, "source").values() for w in some]
    out = [w for some in _grouped(out, "target").values() for w in some]
    names = [w.input for w in into], [w.output for w in out]
    parts.append(_box(y, titles[kind], *names, is_own=True))
    y += _height(max(len(into), len(out), 1)) + GAP
    for target, some in _grouped(out, "target").items():
        parts.append(_box(y, titles[target], [], [w.input for w in some]))
        ends += _rows(y, len(some))
        y += _height(len(some)) + GAP
    parts += [_wire(LEFT, -1, *each) for each in zip(starts, inputs, into, strict=True)]
    parts += [_wire(LEFT + NODE, 1, *each) for each in zip(outputs, ends, out, strict=True)]
    width = NODE + 2 * LEFT
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {y}" width="{width}" '
        'font-family="sans-serif" font-size="12">\n' + "\n".join(parts) + "\n</svg>\n"
    )


def _each_once(some: list[Wire], end: str) -> list[Wire]:
    first: dict[str, Wire] = {}
    for wire in some:
        first.setdefault(getattr(wire, end), wire)
    return [*first.values()][:MOST]


def _grouped(some: list[Wire], end: str) -> dict[str, list[Wire]]:
    groups: dict[str, list[Wire]] = {}
    for wire in some:
        groups.setdefault(getattr(wire, end), []).append(wire)
    return groups


def _height(rows: int) -> int:
    return TITLE + LINE * rows + 4


def _rows(y: int, count: int) -> list[int]:
    """The middle of each row of a box."""
    return [y + TITLE + LINE * row + LINE // 2 for row in range(count)]


def _box(y: int, title: str, left: list[str], right: list[str], is_own: bool = False) -> str:
    border, height = "#64b5f6" if is_own else "#555", _height(max(len(left), len(right), 1))
    drawn = [
        f'<rect x="{LEFT}" y="{y}" width="{NODE}" height="{height}" rx="5" fill="#353535" stroke="{border}"/>',
        f'<text x="{LEFT + 8}" y="{y + 15}" fill="#fff" font-weight="bold">{escape(title)}</text>',
    ]
    for anchor, x, names in (("start", LEFT + 10, left), ("end", LEFT + NODE - 10, right)):
        drawn += [
            f'<text x="{x}" y="{row + 4}" fill="#ccc" text-anchor="{anchor}">{escape(label(name))}</text>'
            for row, name in zip(_rows(y, len(names)), names, strict=True)
        ]
    return "\n".join(drawn)


def _wire(x: int, side: int, start: int, end: int, wire: Wire) -> str:
    """Between two rows, along the left (-1) or the right (1) edge of the boxes."""
    colour = PALETTE[sum(map(ord, wire.output)) % len(PALETTE)]
    bend = x + side * LEFT
    return (
        f'<path d="M{x} {start} C{bend} {start} {bend} {end} {x} {end}" fill="none" '
        f'stroke="{colour}" stroke-width="2"/>'
    )


def contents() -> dict[Path, str]:
    """The text of each picture."""
    known = wires()
    words = json.loads((ROOT / "locales" / "en" / "nodeDefs.json").read_text("utf-8"))
    titles = {kind: kind for kind in schemas() if not kind.startswith("LTXVTrain")}
    titles |= {end: end for wire in MORE for end in (wire.source, wire.target)}
    titles |= NAMES
    titles |= {kind: words[kind]["display_name"] for kind in words if kind != "about"}
    return {
        FOLDER / f"{page.stem}.svg": picture(page.stem, known, titles)
        for page in sorted(DOCS.glob("*.md"))
    }


if __name__ == "__main__":
    write_or_check(__doc__, contents)
