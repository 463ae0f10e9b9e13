"""The stand-in says what the real ComfyUI says, so that tests over it mean something."""

import ast
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import PACK, PROBES
from tests.host import Host

MODULES = PACK / "tests" / "standin" / "modules"
DESCRIBE = PACK / "tests" / "comfyui" / "describe.py"
CALLED_ON_INSTANCES = (
    "comfy.utils.ProgressBar.update_absolute",
    "server.PromptServer.send_sync",
    "server.PromptServer.send_progress_text",
)
LISTS_FILES = {
    "base_name",
    "file",
    "lora_name",
    "model_file",
    "model_name",
    "text_encoder_file",
    "tuned_name",
    "vae_file",
}

NEW_PARAMETERS = {"search_aliases"}
"""nodes/comfy/schema.py leaves them out where ComfyUI does not know them."""

LOADS_MODELS = "model_parts.py"
"""ComfyUI's own classes of models are in no stand-in: tests/nodes/test_base_model.py has the real ones."""

pytestmark = [
    pytest.mark.comfyui,
    pytest.mark.parametrize("host", ["comfyui"], indirect=True),
]


def test_nodes_are_described_alike(host: Host, tmp_path: Path) -> None:
    """What `GET /object_info` tells; newer versions tell more of each node, and the stand-in is new."""
    from tests.standin.host import StandInHost

    standin = StandInHost(tmp_path / "base", [PACK, PROBES])
    expected = standin.object_info()
    standin.close()
    real = host.object_info()
    is_new = "search_aliases" in next(iter(real.values()))
    for name, node in expected.items():
        for key, value in json.loads(json.dumps(node if is_new else _as_before(node))).items():
            assert _without_files(real[name][key]) == _without_files(value), f"{name}: {key}"


def test_what_the_pack_uses_is_there_alike(host: Host) -> None:
    names = [*used_names(), *CALLED_ON_INSTANCES]
    assert "comfy.utils.ProgressBar" in names
    assert "comfy_api.latest.io.Float.Input" in names
    standin = _describe(sys.executable, MODULES, names)
    python = os.environ.get("COMFYUI_PYTHON", sys.executable)
    real = _describe(python, Path(os.environ["COMFYUI_PATH"]), names)
    for name in names:
        kind, ours = standin["signatures"][name]
        real_kind, theirs = real["signatures"][name]
        assert kind == real_kind, name
        known = [each for each in ours if each in theirs or each not in NEW_PARAMETERS]
        assert known == [parameter for parameter in theirs if parameter in ours], name
    for name, value in standin["behaviour"].items():
        assert _close(value, real["behaviour"][name]), name


def used_names() -> list[str]:
    """Every dotted name of ComfyUI that appears in this pack's nodes, except where models are loaded."""
    hosts = {path.stem for path in MODULES.iterdir()}
    found: set[str] = set()
    for path in sorted((PACK / "nodes").rglob("*.py")):
        if path.name == LOADS_MODELS:
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        known: dict[str, str] = {}
        blocks = [n for n in ast.walk(tree) if isinstance(n, ast.If)]
        types = [b for b in blocks if ast.unparse(b.test) == "TYPE_CHECKING"]
        of_types = {node for block in types for node in ast.walk(block)}
        for node in ast.walk(tree):
            if node in of_types:
                continue
            if isinstance(node, ast.Import):
                known |= {a.name.split(".")[0]: a.name.split(".")[0] for a in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                known |= {a.name: f"{node.module}.{a.name}" for a in node.names}
        known = {name: full for name, full in known.items() if full.split(".")[0] in hosts}
        found |= {full for full in known.values() if full not in hosts}
        found |= {
            known[chain[0]] + "".join(f".{part}" for part in chain[1:])
            for chain in map(_chain, ast.walk(tree))
            if len(chain) > 1 and chain[0] in known
        }
    modules = {name.rsplit(".", 1)[0] for name in found} & found
    instance = {name for name in found if "PromptServer." in name}
    return sorted(found - modules - instance)


def _chain(node: ast.AST) -> list[str]:
    """`a.b.c` as its names; empty for anything else."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.insert(0, node.attr)
        node = node.value
    return [node.id, *parts] if isinstance(node, ast.Name) and parts else []


def _describe(python: str, folder: Path, names: list[str]) -> Any:
    done = subprocess.run(
        [python, str(DESCRIBE), str(folder), *names],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def _without_files(value: Any) -> Any:
    """The LoRA files and checkpoints that a host happens to have are left out."""
    for name in LISTS_FILES & (value.keys() if isinstance(value, dict) else set()):
        kind, settings = value[name]
        value = {**value, name: [kind, {**settings, "options": []}]}
    if isinstance(value, dict):
        return {key: _without_files(item) for key, item in value.items()}
    return value


def _as_before(node: Any) -> Any:
    """A node's description without what only newer versions tell."""
    if isinstance(node, dict):
        return {name: _as_before(v) for name, v in node.items() if name not in NEW_PARAMETERS}
    return [_as_before(each) for each in node] if isinstance(node, list) else node


def _close(ours: Any, theirs: Any) -> bool:
    if isinstance(ours, list):
        return len(ours) == len(theirs) and all(map(_close, ours, theirs))
    if isinstance(ours, float):
        return abs(ours - theirs) < 1e-6
    return ours == theirs
