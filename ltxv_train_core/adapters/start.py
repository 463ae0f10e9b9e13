"""A LoRA file to start from: ours, LTX-Video-Trainer's, or another with the usual keys."""

import re
from pathlib import Path

import torch
from diffusers import LTXVideoTransformer3DModel
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from ..config import LoRAConfig
from ..errors import ModelError
from ..layout.names import comfy_name

_KEY = re.compile(
    r"^(?:(?:diffusion_model|transformer)\.)?(?P<layer>.+?)\.(?P<part>lora_[AB]\.weight|alpha)$"
)
_STEP = re.compile(r"(\d+)(-ema)?$")
_DOWN, _UP = "lora_A.weight", "lora_B.weight"


def find_start(path: Path) -> Path:
    """The LoRA file to start from.

    Args:
        path: a LoRA file, or a folder (a run's, or any other) that has some in it. Of those the
            one whose name ends in the highest step is taken; at the same step the trained
            weights win over their average (-ema).

    Raises:
        ModelError: if there is none.
    """
    path = path.expanduser()
    if path.is_file():
        return path
    found = [file for file in path.rglob("*.safetensors") if _is_lora(file)]
    if not found:
        raise ModelError(
            f"model.load_checkpoint {str(path)!r}: expected a LoRA file (.safetensors with keys "
            "*.lora_A.weight and *.lora_B.weight), or a folder that holds one"
        )
    return max(found, key=_age)


def require_rank(path: Path, rank: int) -> None:
    """Compares a file's rank with the run's, reading only the file's head.

    Raises:
        ModelError: if it isn't a LoRA, or its rank is another.
    """
    shapes = _shapes(path)
    ranks = sorted({shape[0] for key, shape in shapes.items() if key.endswith(_DOWN)})
    if not ranks:
        raise ModelError(
            f"model.load_checkpoint {str(path)!r}: is not a LoRA file; expected keys "
            f"*.lora_A.weight and *.lora_B.weight, found {list(shapes)[:3] or 'none'}"
        )
    if ranks != [rank]:
        raise ModelError(
            f"model.load_checkpoint {str(path)!r}: has rank {', '.join(map(str, ranks))} and "
            f"lora.rank is {rank}; set lora.rank to the file's, or start from another"
        )


def start_from(transformer: LTXVideoTransformer3DModel, path: Path, config: LoRAConfig) -> int:
    """Copies a LoRA file into the LoRA that `add_lora` has put in.

    The effect that the file has when it is sampled with is where training starts: alpha / rank of
    the file (1 where it names no alpha, as samplers take it) is kept, whatever this run's is.

    Returns:
        The number of layers that the run trains and the file lacks; they start as new ones do.

    Raises:
        ModelError: if the file isn't a LoRA, its rank is another, or it changes a layer that this
            run doesn't train.
    """
    require_rank(path, config.rank)
    layers = _read_layers(path)
    trained = _trained_layers(transformer)
    names = {alias: name for name in trained for alias in (name, comfy_name(name))}
    foreign = sorted(set(layers) - set(names))
    if foreign:
        raise ModelError(
            f"model.load_checkpoint {str(path)!r}: changes {len(foreign)} layers that "
            f"lora.target_modules doesn't name, the first is {foreign[0]}; add them to "
            "lora.target_modules"
        )
    with torch.no_grad():
        for layer, (down, up, scale) in layers.items():
            own_down, own_up = trained[names[layer]]
            if (down.shape, up.shape) != (own_down.shape, own_up.shape):
                raise ModelError(
                    f"model.load_checkpoint {str(path)!r}: {layer} has the shapes "
                    f"{tuple(down.shape)} and {tuple(up.shape)}, the model's are "
                    f"{tuple(own_down.shape)} and {tuple(own_up.shape)}"
                )
            own_down.copy_(down)
            own_up.copy_(up * (scale * config.rank / config.alpha))
    return len(trained) - len(layers)


def _read_layers(path: Path) -> dict[str, tuple[Tensor, Tensor, float]]:
    """lora_A, lora_B and scale of each layer, by its name in the file without prefix."""
    parts: dict[str, dict[str, Tensor]] = {}
    foreign = []
    for key, tensor in load_file(path).items():
        found = _KEY.match(key)
        if found:
            parts.setdefault(found["layer"], {})[found["part"]] = tensor.float()
        else:
            foreign.append(key)
    broken = [layer for layer, own in parts.items() if not {_DOWN, _UP} <= set(own)]
    if foreign or broken:
        raise ModelError(
            f"model.load_checkpoint {str(path)!r}: expected pairs *.lora_A.weight and "
            f"*.lora_B.weight, found {[*foreign, *broken][:3]}"
        )
    return {
        layer: (
            own[_DOWN],
            own[_UP],
            float(own["alpha"]) / len(own[_DOWN]) if "alpha" in own else 1,
        )
        for layer, own in parts.items()
    }


def _trained_layers(
    transformer: LTXVideoTransformer3DModel,
) -> dict[str, tuple[torch.nn.Parameter, torch.nn.Parameter]]:
    """lora_A and lora_B that are in the transformer, by the layer's name."""
    parameters = dict(transformer.named_parameters())
    return {
        name.split(".lora_A.")[0]: (parameter, parameters[name.replace(".lora_A.", ".lora_B.")])
        for name, parameter in parameters.items()
        if ".lora_A." in name
    }


def _age(path: Path) -> tuple[int, bool, float]:
    step = _STEP.search(path.stem)
    return int(step[1]) if step else -1, not (step and step[2]), path.stat().st_mtime


def _is_lora(path: Path) -> bool:
    try:
        return any(key.endswith(_DOWN) for key in _shapes(path))
    except ModelError:
        return False


def _shapes(path: Path) -> dict[str, list[int]]:
    try:
        with safe_open(path, "pt") as file:
            return {key: file.get_slice(key).get_shape() for key in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise ModelError(
            f"model.load_checkpoint {str(path)!r}: can't be read as a safetensors file ({error})"
        ) from error
