"""Writes the YAML files in recipes/ from the recipes of the core.

python tools/write_recipes.py          # write
python tools/write_recipes.py --check  # exit code 1 if a file is out of date
"""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "recipes"

if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))

from ltxv_train_core.recipes.propose import propose  # noqa: E402
from ltxv_train_core.recipes.shipped import recipe_file, shipped_recipes  # noqa: E402
from tools.generated import write_or_check  # noqa: E402


def contents() -> dict[Path, str | None]:
    """The file of each recipe; none of others."""
    recipes = shipped_recipes().items()
    texts = {FOLDER / f"{name}.yaml": recipe_file(propose(asked)) for name, asked in recipes}
    return dict.fromkeys(FOLDER.glob("*.yaml")) | texts


if __name__ == "__main__":
    write_or_check(__doc__, contents)
