"""Writes what ComfyUI shows of the nodes, in every language: locales/<language>/nodeDefs.json.

English comes from the nodes themselves, other languages from locales/<language>/words.json.

python tools/write_locales.py          # write
python tools/write_locales.py --check  # exit code 1 if a file is out of date
"""

import json
import sys
import tempfile
from pathlib import Path
from typing import Any, TypedDict

ROOT = Path(__file__).resolve().parent.parent
LOCALES = ROOT / "locales"

if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))

from ltxv_train_core.config.labels import label  # noqa: E402
from tools.generated import write_or_check  # noqa: E402

ABOUT = "Written by tools/write_locales.py from the nodes: a text is changed in its node."


class Shown(TypedDict):
    """What a node shows in English, and the names of its inputs and outputs by their keys."""

    texts: dict[str, str]
    inputs: dict[str, str]
    outputs: dict[str, str]


class Words(TypedDict):
    """A language: texts of nodes, and names of inputs and outputs in words.

    The interface looks for nodes alone, so `about` may stand beside them.
    """

    about: str
    nodes: dict[str, dict[str, str]]
    names: dict[str, str]


def shown_nodes() -> dict[str, Shown]:
    """What every node shows, from its schema."""
    from tests.standin.pack import load_nodes, standin_modules

    with standin_modules(), tempfile.TemporaryDirectory() as base:
        import folder_paths

        folder_paths.base_path = base
        schemas = {name: node.define_schema() for name, node in load_nodes(ROOT).items()}
    return {
        name: {
            "texts": {"display_name": schema.display_name, "description": schema.description},
            "inputs": {item.id: item.id for item in schema.inputs},
            "outputs": {str(place): item.display_name for place, item in enumerate(schema.outputs)},
        }
        for name, schema in schemas.items()
    }


def english(nodes: dict[str, Shown]) -> Words:
    """The words of English."""
    names = {id: label(id) for shown in nodes.values() for id in _names(shown)}
    return {
        "about": ABOUT,
        "nodes": {node: shown["texts"] for node, shown in nodes.items()},
        "names": names,
    }


def node_defs(nodes: dict[str, Shown], words: Words) -> dict[str, Any]:
    """A language as ComfyUI reads it. What it lacks is left out, and shows in English."""

    def named(node: str, ids: dict[str, str]) -> dict[str, dict[str, str]]:
        names = words["names"]
        found = {key: names.get(f"{node}.{id}", names.get(id)) for key, id in ids.items()}
        return {key: {"name": name} for key, name in found.items() if name}

    translated: dict[str, Any] = {
        node: {
            **words["nodes"].get(node, {}),
            "inputs": named(node, shown["inputs"]),
            "outputs": named(node, shown["outputs"]),
        }
        for node, shown in nodes.items()
    }
    return {"about": words["about"], **translated}


def missing(nodes: dict[str, Shown], words: Words) -> list[str]:
    """What a language lacks."""
    names = {id for shown in nodes.values() for id in _names(shown)}
    return sorted((nodes.keys() - words["nodes"].keys()) | (names - words["names"].keys()))


def _names(shown: Shown) -> list[str]:
    return [*shown["inputs"].values(), *shown["outputs"].values()]


def contents() -> dict[Path, str]:
    """The file of each language; what one lacks is told."""
    nodes = shown_nodes()
    languages: dict[str, Words] = {"en": english(nodes)}
    for file in sorted(LOCALES.glob("*/words.json")):
        languages[file.parent.name] = json.loads(file.read_text(encoding="utf-8"))
    found = {}
    for language, words in languages.items():
        text = json.dumps(node_defs(nodes, words), ensure_ascii=False, indent=2) + "\n"
        found[LOCALES / language / "nodeDefs.json"] = text
        if lacks := missing(nodes, words):
            print(f"{language} lacks {len(lacks)}: {', '.join(lacks)}")
    return found


if __name__ == "__main__":
    write_or_check(__doc__, contents)
