"""Values stay what they were made as: every dataclass is frozen, but for two."""

import re
from pathlib import Path

import ltxv_train_core

CHANGING = {"DropoutSeed", "LTXVideoDenoiser"}
FOUND = re.compile(
    r"^ *@dataclass(?P<options>.*)\n(?: *@.*\n)*\ *class (?P<name>\w+)", re.MULTILINE
)


def test_every_dataclass_is_frozen():
    texts = [
        p.read_text(encoding="utf-8") for p in Path(ltxv_train_core.__file__).parent.rglob("*.py")
    ]
    found = [match for text in texts for match in FOUND.finditer(text)]
    assert len(found) == sum(text.count("@dataclass") for text in texts) > 100
    assert {match["name"] for match in found if "frozen=True" not in match["options"]} == CHANGING
