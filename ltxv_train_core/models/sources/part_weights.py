"""The weights in a part's folder, looked at by the heads of their files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import ModelError, cut
from ...formats.quantized import quantization
from ...storage.reading import is_regular
from ...storage.safetensors_header import Header, read_header
from ...storage.torch_files import read_torch_file, require_stored
from .part_config import part_config, require_shards, shards

if TYPE_CHECKING:
    from torch import nn


Shape = tuple[int, ...]

_STEMS = {"text_encoder": "model"}
_PICKLED_STEMS = {"text_encoder": "pytorch_model"}
_DIFFUSERS_STEM = "diffusion_pytorch_model"
_SHOWN = 3
# Either is enough: the library ties them.
_TIED = {"encoder.embed_tokens.weight": "shared.weight"}


def require_weights(
    folder: Path,
    part: str,
    build: Callable[[dict[str, Any]], nn.Module],
    known: Callable[[dict[str, Any]], dict[str, Shape] | None] = lambda config: None,
) -> None:
    """Compares the weights of a part with its configuration, by names and shapes.

    Args:
        part: transformer, vae or text_encoder.
        build: makes the part's module of its configuration.
        known: the shapes of its tensors, where they are known without building it.

    Raises:
        ModelError: a file is missing, cut, quantized or can't be read safely, or a tensor is missing or has another shape.
    """
    require_shards(folder)
    stem = _STEMS.get(part, _DIFFUSERS_STEM)
    files = _files(folder, stem)
    found = _pickled_shapes(folder, part, stem) if not files else _shapes(files)
    config = part_config(folder)
    _require_tensors(folder, found, known(config) or _expected(build, config))


def weight_headers(folder: Path, part: str) -> tuple[Header, ...]:
    """The heads of the safetensors files that a part's weights lie in.

    Raises:
        ModelError: there are none, or one is missing or damaged.
    """
    require_shards(folder)
    stem = _STEMS.get(part, _DIFFUSERS_STEM)
    files = _files(folder, stem)
    if not files:
        raise ModelError(f"{folder}: holds no weights; expected {stem}.safetensors, or its shards")
    return tuple(read_header(path) for path in files)


def _shapes(files: list[Path]) -> dict[str, Shape]:
    found: dict[str, Shape] = {}
    for path in files:
        header = read_header(path)
        if how := quantization(header):
            raise ModelError(f"{path}: is quantized ({how}), which is not read; use one in bf16")
        found |= {name: info.shape for name, info in header.tensors.items()}
    return found


def _pickled_shapes(folder: Path, part: str, stem: str) -> dict[str, Shape]:
    """Of weights that torch.save has written, which are mapped for that and not read."""
    from torch import Tensor

    pickled = _PICKLED_STEMS.get(part, _DIFFUSERS_STEM)
    whole, index = folder / f"{pickled}.bin", folder / f"{pickled}.bin.index.json"
    files = [whole] if is_regular(whole) else []
    if not files and is_regular(index):
        files = [folder / name for name in shards(index)]
    if not files:
        raise ModelError(f"{folder}: holds no weights; expected {stem}.safetensors, or its shards")
    found: dict[str, Shape] = {}
    for path in files:
        try:
            value = read_torch_file(path, mmap=True)
            tensors = value if isinstance(value, dict) else {}
            for name, tensor in tensors.items():
                if isinstance(tensor, Tensor):
                    require_stored(path, tensor)
                    found[str(name)] = tuple(tensor.shape)
        except (OSError, RuntimeError, ValueError) as error:
            raise ModelError(
                f"{path}: can't be read safely ({cut(str(error), 200)}); use a folder or repository "
                f"with {stem}.safetensors"
            ) from error
    return found


def _files(folder: Path, stem: str) -> list[Path]:
    whole, index = folder / f"{stem}.safetensors", folder / f"{stem}.safetensors.index.json"
    # Of both, transformers reads the one file and diffusers the shards.
    if is_regular(index) and (stem == _DIFFUSERS_STEM or not is_regular(whole)):
        return [folder / name for name in shards(index)]
    return [whole] if is_regular(whole) else []


def _require_tensors(folder: Path, found: dict[str, Shape], expected: dict[str, Shape]) -> None:
    known = {name for name in expected if name in found or _TIED.get(name) in found}
    problems = [f"no {name}" for name in expected if name not in known]
    problems += [
        f"{name} has the shape {cut(str(list(found[name])))} instead of {list(shape)}"
        for name, shape in expected.items()
        if name in found and found[name] != shape
    ]
    if problems:
        more = f" and {len(problems) - _SHOWN} more" if problems[_SHOWN:] else ""
        raise ModelError(
            f"{folder}: its weights are not all that its config.json asks for: "
            f"{'; '.join(problems[:_SHOWN])}{more}; download it again"
        )


def _expected(
    build: Callable[[dict[str, Any]], nn.Module], config: dict[str, Any]
) -> dict[str, Shape]:
    """Shapes of the parameters, by name."""
    from .meta_loading import on_meta

    module = on_meta(lambda: build(config))
    return {name: tuple(p.shape) for name, p in module.named_parameters()}
