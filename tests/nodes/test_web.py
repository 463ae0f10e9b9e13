"""The panel's JavaScript, as far as it runs without a browser."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODULES = sorted((ROOT / "nodes" / "web").glob("*.js"))


def _node() -> tuple[str, tuple[int, ...]]:
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not on the path")
    version = subprocess.run([node, "--version"], capture_output=True, text=True, check=True)
    return node, tuple(map(int, re.findall(r"\d+", version.stdout)))


def test_numbers_behind_the_charts() -> None:
    node, version = _node()
    if version < (20, 19):
        pytest.skip("node before 20.19 takes .js files for CommonJS")
    tests = [str(path) for path in (ROOT / "tests" / "web").glob("*.mjs")]
    ran = subprocess.run(
        [node, "--test", *tests], capture_output=True, encoding="utf-8", check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert re.search(r"pass [1-9]", ran.stdout)


def test_imports_lead_to_modules_that_are_there() -> None:
    assert len(MODULES) > 10
    for module in MODULES:
        names = re.findall(r'from "(\./[^"]+)"', module.read_text(encoding="utf-8"))
        assert {name for name in names if not (module.parent / name).is_file()} == set(), module


def test_text_of_users_never_becomes_html() -> None:
    for module in MODULES:
        text = module.read_text(encoding="utf-8")
        assert not re.search(r"(inner|outer)HTML|insertAdjacentHTML|document\.write|eval\(", text)


def test_names_of_runs_never_become_markup() -> None:
    for module in MODULES:
        text = module.read_text(encoding="utf-8")
        assert not re.search(r"(inner|outer)HTML|insertAdjacentHTML|document\.write", text), module
