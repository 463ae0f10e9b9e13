"""Writes the YAML files in recipes/ from the recipes of the core.

python tools/write_recipes.py          # write
python tools/write_recipes.py --check  # exit code 1 if a file is out of date
"""

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "recipes"

if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))

from ltxv_train_core.recipes.propose import propose  # noqa: E402
from ltxv_train_core.recipes.shipped import recipe_file, shipped_recipes  # noqa: E402


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing")
    check = parser.parse_args().check
    texts = {f"{n}.yaml": recipe_file(propose(r)) for n, r in shipped_recipes().items()}
    there = {path.name: path.read_text(encoding="utf-8") for path in FOLDER.glob("*.yaml")}
    stale = sorted(n for n in texts.keys() | there.keys() if texts.get(n) != there.get(n))
    if not check:
        FOLDER.mkdir(exist_ok=True)
        for name in stale:
            path = FOLDER / name
            if name in texts:
                path.write_text(texts[name], encoding="utf-8", newline="\n")
            else:
                path.unlink()
    print(f"{len(stale)} files {'out of date' if check else 'written'}: {', '.join(stale) or '-'}")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
