"""The weights in a part's folder, looked at by the heads of their files."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import nn

from ...errors import ModelError, cut
from ...formats.quantized import quantization
from ...storage.reading import is_regular
from ...storage.safetensors_header import TensorInfo, read_header
from .meta_loading import on_meta
from .part_config import part_config, require_shards, shards

_STEMS = {"text_encoder": "model"}
_PICKLED_STEMS = {"text_encoder": "pytorch_model"}
_DIFFUSERS_STEM = "diffusion_pytorch_model"
_SHOWN = 3
# Either is enough: the library ties them.
_TIED = {"encoder.embed_tokens.weight": "shared.weight"}


def require_weights(folder: Path, part: str, build: Callable[[dict[str, Any]], nn.Module]) -> None:
    """Compares the weights of a part with its configuration, by names and shapes.

    Args:
        part: transformer, vae or text_encoder.
        build: makes the part's module of its configuration.

    Raises:
        ModelError: a file is missing, cut or quantized, or a tensor is missing or has another shape.
    """
    require_shards(folder)
    stem = _STEMS.get(part, _DIFFUSERS_STEM)
    files = _files(folder, stem)
    if not files:
        pickled = _PICKLED_STEMS.get(part, _DIFFUSERS_STEM)
        if not any(is_regular(folder / f"{pickled}.bin{end}") for end in ("", ".index.json")):
            raise ModelError(
                f"{folder}: holds no weights; expected {stem}.safetensors, or its shards"
            )
        return  # what is pickled is looked at when it is loaded
    found: dict[str, TensorInfo] = {}
    for path in files:
        header = read_header(path)
        if how := quantization(header):
            raise ModelError(f"{path}: is quantized ({how}), which is not read; use one in bf16")
        found |= header.tensors
    _require_tensors(folder, found, _expected(build, part_config(folder)))


def _files(folder: Path, stem: str) -> list[Path]:
    whole, index = folder / f"{stem}.safetensors", folder / f"{stem}.safetensors.index.json"
    # Of both, transformers reads the one file and diffusers the shards.
    if is_regular(index) and (stem == _DIFFUSERS_STEM or not is_regular(whole)):
        return [folder / name for name in shards(index)]
    return [whole] if is_regular(whole) else []


def _require_tensors(
    folder: Path, found: dict[str, TensorInfo], expected: dict[str, tuple[int, ...]]
) -> None:
    known = {name for name in expected if name in found or _TIED.get(name) in found}
    problems = [f"no {name}" for name in expected if name not in known]
    problems += [
        f"{name} has the shape {cut(str(list(found[name].shape)))} instead of {list(shape)}"
        for name, shape in expected.items()
        if name in found and found[name].shape != shape
    ]
    if problems:
        more = f" and {len(problems) - _SHOWN} more" if problems[_SHOWN:] else ""
        raise ModelError(
            f"{folder}: its weights are not all that its config.json asks for: "
            f"{'; '.join(problems[:_SHOWN])}{more}; download it again"
        )


def _expected(
    build: Callable[[dict[str, Any]], nn.Module], config: dict[str, Any]
) -> dict[str, tuple[int, ...]]:
    """Shapes of the parameters, by name."""
    module = on_meta(lambda: build(config))
    return {name: tuple(p.shape) for name, p in module.named_parameters()}
