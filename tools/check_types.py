"""Checks the types of the core and of the nodes with mypy.

The nodes import the core relatively, as parts of one package. ComfyUI names that package after the
repository's folder, which may be no name for Python, and then mypy takes the core for Any. So a copy
is checked whose folder has a fixed name.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGE = "pack"


def main() -> int:
    """Returns mypy's exit status; paths in its messages begin with `pack/`."""
    with tempfile.TemporaryDirectory() as folder:
        package = Path(folder, PACKAGE)
        package.mkdir()
        shutil.copy2(ROOT / "__init__.py", package)
        for name in ("ltxv_train_core", "nodes"):
            copied = shutil.ignore_patterns("__pycache__", "weights", "web")
            shutil.copytree(ROOT / name, package / name, ignore=copied)
        command = ["mypy", "-p", f"{PACKAGE}.ltxv_train_core", "-p", f"{PACKAGE}.nodes"]
        settings = ["--config-file", str(ROOT / "pyproject.toml")]
        settings += ["--cache-dir", str(ROOT / ".mypy_cache")]
        return subprocess.run(
            [sys.executable, "-m", *command, *settings], cwd=folder, check=False
        ).returncode


if __name__ == "__main__":
    sys.exit(main())
