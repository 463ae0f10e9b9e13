"""Writes the example workflows: example_workflows/*.json.

python tools/write_templates.py          # write
python tools/write_templates.py --check  # exit code 1 if a file is out of date
"""

import json
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "example_workflows"

if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))

from tools.generated import write_or_check  # noqa: E402
from tools.templates.graphs import TEMPLATES  # noqa: E402
from tools.templates.stock import STOCK, Combo, Stock  # noqa: E402

_WIDGETS = {"BOOLEAN", "COMBO", "FLOAT", "INT", "STRING"}


def schemas() -> dict[str, Stock]:
    """The sockets and widgets of all nodes, by kind."""
    from tests.standin.pack import load_nodes, standin_modules

    found = dict(STOCK)
    with standin_modules(), tempfile.TemporaryDirectory() as base:
        import folder_paths

        folder_paths.base_path = base
        for name, node in load_nodes(ROOT).items():
            schema = node.define_schema()
            found[name] = Stock(
                {i.id: i.io_type for i in schema.inputs if i.io_type not in _WIDGETS},
                {o.display_name or o.io_type: o.io_type for o in schema.outputs},
                {i.id: _default(i) for i in schema.inputs if i.io_type in _WIDGETS},
            )
    return found


def contents() -> dict[Path, str]:
    """The text of each file."""
    known = schemas()
    return {
        FOLDER / f"{name}.json": json.dumps(build(known).to_json(), indent=1) + "\n"
        for name, build in TEMPLATES.items()
    }


def _default(item: object) -> object:
    value = getattr(item, "default", None)
    if getattr(item, "io_type", "") == "COMBO":
        options = getattr(item, "options", None) or [""]
        return Combo(value if value is not None else options[0])
    return value


if __name__ == "__main__":
    write_or_check(__doc__, contents)
