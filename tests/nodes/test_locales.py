"""What the nodes are called in every language (locales/README.md)."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.host import Host

ROOT = Path(__file__).parents[2]
LOCALES = ROOT / "locales"
LANGUAGES = ("zh", "ja", "ko", "de", "fr", "es")
SPECIAL = set("{}@|")
"""Of the messages of vue-i18n, which translates ComfyUI's interface."""


def _node_defs(language: str) -> dict[str, Any]:
    text = (LOCALES / language / "nodeDefs.json").read_text(encoding="utf-8")
    return json.loads(text)


def _texts(value: Any, path: tuple[str, ...] = ()) -> dict[tuple[str, ...], str]:
    """Every text by its path."""
    if isinstance(value, str):
        return {path: value}
    return {
        key: text for name, v in value.items() for key, text in _texts(v, (*path, name)).items()
    }


def test_files_are_up_to_date() -> None:
    tool = ROOT / "tools" / "write_locales.py"
    command = [sys.executable, str(tool), "--check"]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 0, f"run python {tool.name}: {done.stdout}{done.stderr}"


def test_english_is_complete_and_says_what_the_nodes_say(host: Host) -> None:
    nodes = {k: v for k, v in host.object_info().items() if k.startswith("LTXVTrain")}
    english = _node_defs("en")
    assert english.keys() - {"about"} == nodes.keys()
    for name, node in nodes.items():
        shown = english[name]
        assert (shown["display_name"], shown["description"]) == (
            node["display_name"],
            node["description"],
        )
        inputs = {**node["input"]["required"], **node["input"].get("optional", {})}
        assert shown["inputs"].keys() == inputs.keys()
        labels = {
            key: each["display_name"] for key, (_, each) in inputs.items() if "display_name" in each
        }
        assert (
            labels.items() <= {key: each["name"] for key, each in shown["inputs"].items()}.items()
        )
        assert len(shown["outputs"]) == len(node["output"])


def test_languages_are_those_of_the_folders() -> None:
    assert {path.name for path in LOCALES.iterdir() if path.is_dir()} == {"en", *LANGUAGES}


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_language_has_every_text_of_english_and_no_other(language: str) -> None:
    """Where one was missing, the interface would show English; tools/write_locales.py names it."""
    english, texts = _texts(_node_defs("en")), _texts(_node_defs(language))
    assert texts.keys() == english.keys()
    descriptions = [key for key in english if key[-1] in ("description", "display_name")]
    assert len(descriptions) >= 72
    assert not [key for key in descriptions if texts[key] == english[key]]


@pytest.mark.parametrize("language", LANGUAGES)
def test_words_belong_to_nodes_that_are_there(language: str) -> None:
    words = json.loads((LOCALES / language / "words.json").read_text(encoding="utf-8"))
    assert words["nodes"].keys() <= _node_defs("en").keys()
    assert "machine" in words["about"]
    assert "locales/README.md" in words["about"]
    shown = set(_texts(_node_defs(language)).values())
    assert not {name for name in words["names"].values() if name not in shown}


@pytest.mark.parametrize("language", ["en", *LANGUAGES])
def test_no_text_means_something_to_the_interface(language: str) -> None:
    texts = _texts(_node_defs(language))
    assert not {key: text for key, text in texts.items() if SPECIAL & set(text)}
    assert not [key for key, text in texts.items() if text != text.strip() or not text]
