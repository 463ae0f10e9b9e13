"""Lint, format and types are part of the tests."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize(
    "command",
    [
        ["-m", "ruff", "check", "."],
        ["-m", "ruff", "format", "--check", "."],
        pytest.param(["tools/check_types.py"], marks=pytest.mark.long),
    ],
    ids=["ruff check", "ruff format", "mypy"],
)
def test_the_code_is_clean(command):
    ran = subprocess.run(
        [sys.executable, *command], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_comfyuis_managers_install_what_the_project_needs():
    tomllib = pytest.importorskip("tomllib", reason="part of Python since 3.11")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    extras = project["optional-dependencies"]
    optional = [line for name in ("bitsandbytes", "optimizers") for line in extras[name]]
    assert extras["all"] == ["ltxv-train[bitsandbytes,optimizers]"]
    assert [line for line in lines if not line.startswith("#")] == project[
        "dependencies"
    ] + optional
