"""Prints, as JSON, what a ComfyUI (or its stand-in) offers of what this pack uses.

    python describe.py FOLDER NAME...

FOLDER is where `comfy`, `comfy_api`, ... lie; names are dotted. Runs in a process of its own.
"""

import importlib
import inspect
import json
import sys
from pathlib import Path
from typing import Any


def signature(name: str) -> list[Any]:
    """What a dotted name is, and its parameters with "*" before the first keyword-only one."""
    value = resolve(name)
    if inspect.isclass(value) and value.__init__ is object.__init__:
        return ["class", []]
    if inspect.isclass(value):
        return ["class", parameters(value.__init__)[1:]]
    if callable(value):
        return ["function", parameters(value)]
    return ["value", []]


def resolve(name: str) -> Any:
    """Imports as much of the name as is a module, and takes the rest as attributes."""
    parts = name.split(".")
    for end in range(len(parts), 0, -1):
        try:
            value = importlib.import_module(".".join(parts[:end]))
        except ModuleNotFoundError as error:
            if error.name is None or not name.startswith(error.name):
                raise
            continue
        for part in parts[end:]:
            value = getattr(value, part)
        return value
    raise ModuleNotFoundError(name)


def parameters(function: Any) -> list[str]:
    kinds = inspect.Parameter
    return [
        p.name
        for p in inspect.signature(function).parameters.values()
        if p.kind not in (kinds.VAR_POSITIONAL, kinds.VAR_KEYWORD)
    ]


def behaviour() -> dict[str, Any]:
    """Results of what the pack calls for its result."""
    import comfy.utils
    import node_helpers
    import torch
    from comfy.ldm.lightricks.symmetric_patchifier import (
        SymmetricPatchifier,
        latent_to_pixel_coords,
    )
    from comfy_execution.graph import ExecutionBlocker

    tokens, coords = SymmetricPatchifier(1).patchify(torch.arange(24.0).reshape(1, 2, 3, 2, 2))
    picture = torch.linspace(0, 1, 2 * 3 * 40 * 60).reshape(2, 3, 40, 60)
    return {
        "tokens": tokens.tolist(),
        "coords": coords.tolist(),
        "causal": latent_to_pixel_coords(coords, (8, 32, 32), causal_fix=True).tolist(),
        "plain": latent_to_pixel_coords(coords, (8, 32, 32)).tolist(),
        **{
            f"scaled {width}x{height}": comfy.utils.common_upscale(
                picture, width, height, "bilinear", "center"
            )[:, :, ::7, ::5].tolist()
            for width, height in ((32, 32), (96, 32), (33, 64))
        },
        "set": node_helpers.conditioning_set_values([["t", {"a": 1}]], {"a": 2, "b": 3}),
        "blocker": ExecutionBlocker(None).message,
    }


def main() -> None:
    folder, *names = sys.argv[1:]
    sys.path[0] = str(Path(folder).resolve())
    sys.argv = sys.argv[:1]
    try:
        # As ComfyUI's main does, before `nodes` puts a folder with another `utils` on the path.
        import utils.extra_config  # noqa: F401
        from comfy.cli_args import args

        args.cpu = True
    except ModuleNotFoundError:
        assert "standin" in folder
    told = {name: signature(name) for name in names}
    print("\n" + json.dumps({"signatures": told, "behaviour": behaviour()}))


if __name__ == "__main__":
    main()
