"""Imports go one way: each room of the core uses only rooms before it."""

import ast
import importlib
import importlib.util
import re
from pathlib import Path

import ltxv_train_core

CORE = Path(ltxv_train_core.__file__).parent
ORDER = [
    {"errors", "memory_errors", "units"},
    {"events", "geometry", "team"},
    {"families/grids", "background", "storage"},
    {"permissions"},
    {"media"},
    {"config"},
    {"formats", "trackers"},
    {"models"},
    {"families"},
    {"lora", "diffusion", "datasets", "optim"},
    {"manifests", "strategies", "runs"},
    {"voice"},
    {"preprocessing", "publish"},
    {"training"},
    {"recipes"},
    {"jobs", "demo", "sweep"},
    {"gpu_check"},
    {"benchmark"},
    {"cli"},
    {"__main__"},
]
FORBIDDEN = {
    "comfy",
    "comfy_api",
    "comfy_execution",
    "folder_paths",
    "server",
    "execution",
    "nodes",
}
FAMILY_CLASS = re.compile(
    r"LTX\w*(Transformer|Pipeline|VAE)|AutoencoderKLLTX|T5(Encoder|Config)|Gemma"
)
LEVEL = {room: number for number, rooms in enumerate(ORDER) for room in rooms}


def imported_modules(path: Path):
    """Absolute names of what a file imports; of this package, its rooms."""
    package = ("ltxv_train_core", *path.relative_to(CORE).parent.parts)
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = list(package[: len(package) - node.level + 1]) if node.level else []
            module = base + (node.module or "").split(".") if node.module else base
            if len(module) == 1 and node.level:
                yield from ([*module, alias.name] for alias in node.names)
            else:
                yield module


def room_of(parts) -> str:
    """The first folder or file of a path; the table of grids is a room by itself, below the configuration."""
    both = "/".join(parts[:2])
    return both if both in LEVEL else parts[0]


def test_every_room_has_its_place():
    rooms = {p.stem for p in CORE.iterdir() if p.suffix == ".py" or (p / "__init__.py").is_file()}
    assert rooms - {"__init__"} | {"families/grids"} == set(LEVEL)


def test_imports_go_one_way():
    wrong = []
    for path in CORE.rglob("*.py"):
        room = room_of(path.relative_to(CORE).with_suffix("").parts)
        for module in imported_modules(path):
            if module[0] in FORBIDDEN:
                wrong.append(f"{path.relative_to(CORE)} imports {module[0]}")
            if module[0] == "ltxv_train_core" and len(module) > 1 and module[1] in LEVEL:
                other = room_of(module[1:])
                if other != room and LEVEL[other] >= LEVEL.get(room, len(ORDER)):
                    wrong.append(f"{path.relative_to(CORE)} imports {other}")
    assert wrong == []


def test_only_families_name_what_belongs_to_one():
    """Of a family's room others use the miniature alone, which the demo is made of."""
    nodes = CORE.parent / "nodes"
    wrong = []
    for path in [*CORE.rglob("*.py"), *nodes.rglob("*.py")]:
        if path.is_relative_to(CORE / "families"):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom):
                module = (node.module or "").split(".")
                inside = module[module.index("families") + 1 :] if "families" in module else []
                names = [alias.name for alias in node.names]
                if inside[:1] in (["ltxv"], ["ltx2"]) and inside[1:2] != ["miniature"]:
                    wrong.append(f"{path.name} imports {node.module}")
                wrong += [f"{path.name} imports {n}" for n in names if FAMILY_CLASS.search(n)]
    assert wrong == []


def test_tools_and_benchmarks_import_what_is_there():
    root = CORE.parent
    missing = []
    for path in [*(root / "tools").glob("*.py"), *(root / "benchmarks").glob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(CORE.name):
                module = importlib.util.find_spec(node.module) and importlib.import_module(
                    node.module
                )
                for alias in node.names:
                    if not hasattr(module, alias.name):
                        try:
                            importlib.import_module(f"{node.module}.{alias.name}")
                        except ImportError:
                            missing.append(f"{path.name}: {node.module}.{alias.name}")
    assert missing == []
