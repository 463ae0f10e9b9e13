"""Writes what ComfyUI shows of the nodes, in every language: locales/<language>/nodeDefs.json.

English comes from the nodes themselves, other languages from locales/<language>/words.json.

python tools/write_locales.py          # write
python tools/write_locales.py --check  # exit code 1 if a file is out of date
"""

import argparse
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


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing")
    check = parser.parse_args().check
    nodes = shown_nodes()
    languages: dict[str, Words] = {"en": english(nodes)}
    for file in sorted(LOCALES.glob("*/words.json")):
        languages[file.parent.name] = json.loads(file.read_text(encoding="utf-8"))
    stale = []
    for language, words in languages.items():
        file = LOCALES / language / "nodeDefs.json"
        text = json.dumps(node_defs(nodes, words), ensure_ascii=False, indent=2) + "\n"
        if not file.exists() or file.read_text(encoding="utf-8") != text:
            stale.append(language)
            if not check:
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(text, encoding="utf-8", newline="\n")
        if lacks := missing(nodes, words):
            print(f"{language} lacks {len(lacks)}: {', '.join(lacks)}")
    print(f"{len(stale)} files {'out of date' if check else 'written'}: {', '.join(stale) or '-'}")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
