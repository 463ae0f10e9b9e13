"""Loads packs over the stand-in the way ComfyUI does: by the folder's path, with no other name."""

import asyncio
import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

MODULES = Path(__file__).parent / "modules"
PACK_PREFIX = "/standin/"
NAMES = {path.stem for path in MODULES.iterdir()}


@contextmanager
def standin_modules() -> Iterator[None]:
    """`comfy`, `comfy_api`, `folder_paths`, ... can be imported inside this block alone."""
    before = set(sys.modules)
    assert not {name for name in before if name.split(".")[0] in NAMES}, "ComfyUI is imported"
    sys.path.insert(0, str(MODULES))
    try:
        yield
    finally:
        sys.path.remove(str(MODULES))
        for name in set(sys.modules) - before:
            if name.split(".")[0] in NAMES or name.startswith(PACK_PREFIX):
                del sys.modules[name]


def load_pack(folder: Path) -> ModuleType:
    name = PACK_PREFIX + str(folder).replace(".", "_x_")
    spec = importlib.util.spec_from_file_location(
        name, folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def load_nodes(folder: Path) -> dict[str, Any]:
    """The node classes of a pack, by id."""

    async def ask() -> list[Any]:
        extension = await load_pack(folder).comfy_entrypoint()
        return await extension.get_node_list()

    return {node.define_schema().node_id: node for node in asyncio.run(ask())}
