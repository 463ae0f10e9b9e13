"""What a public repository and the Comfy Registry need is there, and says the same everywhere."""

import re
import shutil
import subprocess
from typing import Any

import pytest
import yaml
from PIL import Image

from tests.helpers.markdown import ROOT

PLACEHOLDER = "YOUR_" + "ACCOUNT"
NAMED_IN = {"pyproject.toml", "CONTRIBUTING.md", ".github/workflows/publish.yml"}
"""The second says what to put in its place, the third refuses to publish with it."""


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def project() -> dict[str, Any]:
    tomllib = pytest.importorskip("tomllib", reason="part of Python since 3.11")
    return tomllib.loads(read("pyproject.toml"))


def test_the_address_that_is_not_known_yet_stands_in_one_place() -> None:
    texts = (".md", ".toml", ".yml", ".yaml", ".cff", ".py", ".json", ".js")
    files = [f for f in ROOT.rglob("*") if f.suffix in texts and f.is_file()]
    holding = {
        f.relative_to(ROOT).as_posix()
        for f in files
        if not {".git", "outputs", "build"} & set(f.relative_to(ROOT).parts)
        and PLACEHOLDER in f.read_text(encoding="utf-8", errors="replace")
    }
    assert holding == NAMED_IN


def test_the_registry_gets_what_it_asks_for() -> None:
    found = project()
    comfy, urls = found["tool"]["comfy"], found["project"]["urls"]
    assert set(comfy) == {"PublisherId", "DisplayName", "Icon", "Banner", "requires-comfyui"}
    assert re.fullmatch(r"[a-z][a-z0-9-]+", found["project"]["name"])
    assert urls["Repository"].startswith("https://github.com/")
    for kind in ("Icon", "Banner"):
        base, _, path = comfy[kind].partition("/main/")
        assert base.endswith("/ltxv-train")
        with Image.open(ROOT / path) as picture:
            width, height = picture.size
        if kind == "Icon":
            assert width == height <= 400
        else:
            assert abs(width / height - 21 / 9) < 0.01


def test_the_registrys_package_holds_all_that_runs() -> None:
    lines = [line for line in read(".comfyignore").splitlines() if not line.startswith("#")]
    # A name without a slash before it would leave out folders of the core that are called so.
    assert all(line.startswith("/") and (ROOT / line.strip("/")).exists() for line in lines)
    left_out = [line.strip("/") for line in lines]
    assert {"tests", "tools"} <= set(left_out)
    names = "|".join(map(re.escape, left_out))
    imported = re.compile(rf"^\s*(?:from|import) (?:{names})\b", re.MULTILINE)
    files = [ROOT / "__init__.py", *(ROOT / "nodes").rglob("*.py")]
    files += (ROOT / "ltxv_train_core").rglob("*.py")
    assert [f for f in files if imported.search(f.read_text(encoding="utf-8"))] == []


def test_versions_and_licence_are_the_same_everywhere() -> None:
    found, citation = project()["project"], yaml.safe_load(read("CITATION.cff"))
    assert citation["version"] == found["version"]
    assert citation["license"] == found["license"]["text"] == "Apache-2.0"
    assert f"will be {found['version']}" in read("CHANGELOG.md")
    assert "## [Unreleased]" in read("CHANGELOG.md")


def test_workflows_run_the_readmes_command_on_three_systems() -> None:
    job = yaml.safe_load(read(".github/workflows/test.yml"))["jobs"]["test"]
    systems = {name.split("-")[0] for name in job["strategy"]["matrix"]["os"]}
    assert systems == {"ubuntu", "windows", "macos"}
    assert any("test-command" in step.get("run", "") for step in job["steps"])
    assert any("whl/cpu" in step.get("run", "") for step in job["steps"])
    between = read("README.md").split("<!-- test-command -->")[1].split("<!-- /test-command -->")
    assert between[0].count("\n") == 4
    assert 'pip install -e ".[test]" && python -m pytest' in between[0]
    assert "has never run" in read(".github/workflows/test.yml")


@pytest.mark.parametrize(
    ("schema", "files"),
    [
        ("vendor.github-workflows", "workflows/*.yml"),
        ("vendor.github-issue-forms", "ISSUE_TEMPLATE/[!c]*.yml"),
        ("vendor.github-issue-config", "ISSUE_TEMPLATE/config.yml"),
    ],
)
def test_files_for_github_keep_to_its_schemas(schema: str, files: str) -> None:
    tool = shutil.which("check-jsonschema")
    if tool is None:
        pytest.skip("no check-jsonschema on the path")
    paths = [str(path) for path in sorted((ROOT / ".github").glob(files))]
    assert paths
    ran = subprocess.run(
        [tool, "--builtin-schema", schema, *paths], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stdout


def test_the_citation_keeps_to_its_schema() -> None:
    tool = shutil.which("cffconvert")
    if tool is None:
        pytest.skip("no cffconvert on the path")
    ran = subprocess.run(
        [tool, "--validate"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
