"""A file to start from: a LoRA (ours, LTX-Video-Trainer's, or another with the usual keys), or
for full training a transformer."""

import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Literal

import torch
from safetensors import safe_open
from torch import Tensor

from ..config import LoRAConfig, ModelConfig, TrainingConfig
from ..errors import ModelError, cut, shown
from ..events import Progress, Reporter, ignore
from ..families.base import Denoiser
from ..families.family import Family
from ..families.names import TRANSFORMER_PREFIX
from ..families.registry import diffusers_name, is_of_another_part
from ..formats.lora_kinds import kind_name
from ..models.transformer import Transformer
from ..permissions import policy
from ..storage.paths import as_path
from ..storage.safetensors_header import read_header
from ..storage.tensors import is_finite
from .adapter_modules import AdaptedLinear
from .adapter_parts import PART_NAMES, layer_parts
from .adapter_shapes import PLAIN, adapter_shapes
from .file import lora_ranks, read_adapter, read_lora, require_plain_lora
from .lora import Adapter, DoRALayer, LoRALayer, OFTLayer
from .model_sizes import ModelSizes, require_lora_of, require_transformer_of

_ADAPTER_KEY = re.compile(rf"\.(lora_(A|down)\.weight|{'|'.join(PART_NAMES)})$")
_STEP = re.compile(r"(\d+)(-ema)?$")


def find_start(path: Path, training_mode: Literal["lora", "full"]) -> Path:
    """The file to start from.

    Args:
        path: a file, or a folder (a run's, or any other) that has some in it. Of those that suit
            the training mode the one whose name ends in the highest step is taken; at the same
            step the trained weights win over their average (-ema).

    Raises:
        ModelError: if there is none.
        NotAllowedError: it may not be read.
    """
    path = as_path(path)
    policy().require_read(path)
    if path.is_file():
        return path
    suits = {"lora": _is_lora, "full": _is_transformer}[training_mode]
    found = [file for file in path.rglob("*.safetensors") if suits(file)]
    if not found:
        wanted = {
            "lora": "a LoRA file (.safetensors with keys *.lora_A.weight and *.lora_B.weight)",
            "full": f"a transformer file (.safetensors with keys {TRANSFORMER_PREFIX}*)",
        }[training_mode]
        raise ModelError(
            f"model.load_checkpoint {shown(str(path), 300)}: expected {wanted}, or a folder that holds one"
        )
    return max(found, key=_age)


def require_start(
    config: TrainingConfig,
    layers: Mapping[str, int] | None = None,
    model: ModelSizes | None = None,
    report: Reporter = ignore,
) -> None:
    """Looks at the file to start from, if the run has one, to its end.

    Args:
        layers: that get a LoRA; None where that isn't known.
        model: that is trained; None where its sizes aren't known.
        report: gets how much of a transformer has been read.

    Raises:
        ModelError: if it doesn't suit what the run trains or the model, or its numbers are not finite.
    """
    if config.model.load_checkpoint is None:
        return
    path = find_start(Path(config.model.load_checkpoint), config.model.training_mode)
    where = f"model.load_checkpoint {shown(str(path), 300)}"
    if config.model.training_mode == "lora":
        lora, family = _read_start(path, config.lora)
        if layers is not None:
            _require_ranks(path, lora, config.lora, layers)
        if model is not None:
            if family not in (None, model.family):
                raise ModelError(
                    f"{where}: is a LoRA of {family.name}, and model.model_source {cut(model.name)} is a "
                    f"model of {model.family.name}; take a LoRA that was trained on {model.family.name}"
                )
            shapes = {n: one.shape for n, one in lora.items() if not isinstance(one, OFTLayer)}
            require_lora_of(where, shapes, model)
        if layers is not None:
            _require_trained(path, lora, layers)
    else:
        keys = _transformer_keys(path)
        if model is not None:
            tensors = read_header(path).tensors
            require_transformer_of(where, {_own(key): tensors[key].shape for key in keys}, model)
        _require_finite(path, keys, report)


def start_notes(model: ModelConfig) -> tuple[str, ...]:
    """What of the file to start from isn't used. Raises as `require_start` does."""
    if model.load_checkpoint is None or model.training_mode != "lora":
        return ()
    path = find_start(Path(model.load_checkpoint), "lora")
    return tuple(f"model.load_checkpoint: {line}" for line in read_adapter(path).notes("left out"))


def load_transformer_file(denoiser: Denoiser, path: Path) -> None:
    """Loads a transformer file in ComfyUI's layout, as full training writes it.

    Raises:
        ModelError: if the file isn't one, is one of another model, or holds NaN or infinite numbers.
    """
    own = denoiser.transformer.state_dict()
    keys = {_own(key): key for key in _transformer_keys(path)}
    with safe_open(path, "pt") as file:
        wrong = sorted(
            name
            for name in own.keys() | keys.keys()
            if name not in own
            or name not in keys
            or list(own[name].shape) != file.get_slice(keys[name]).get_shape()
        )
        if wrong:
            raise ModelError(
                f"model.load_checkpoint {shown(str(path), 300)}: is of another model than "
                f"model.model_source; {len(wrong)} tensors are missing, too many or of another shape, "
                f"the first is {wrong[0]}"
            )
        for name, key in keys.items():
            tensor = file.get_tensor(key)
            _require_finite_tensor(path, key, tensor)
            own[name].copy_(tensor)


def _require_finite(path: Path, keys: list[str], report: Reporter) -> None:
    """Reads all of a transformer: a part of it would say nothing of the rest."""
    tensors = read_header(path).tensors
    sizes = {key: tensors[key].end - tensors[key].start for key in keys}
    total, done = sum(sizes.values()), 0
    with safe_open(path, "pt") as file:
        for key in sorted(keys, key=lambda key: tensors[key].start):
            _require_finite_tensor(path, key, file.get_tensor(key))
            done += sizes[key]
            report(Progress("check start file", done, total, "byte", path.name))


def _require_finite_tensor(path: Path, key: str, tensor: Tensor) -> None:
    if not is_finite(tensor):
        raise ModelError(
            f"model.load_checkpoint {shown(str(path), 300)}: {key} holds NaN or infinite "
            "numbers; take another file"
        )


def _own(key: str) -> str:
    """diffusers' name of a tensor in a transformer file."""
    return diffusers_name(key.removeprefix(TRANSFORMER_PREFIX))


def require_rank(path: Path, rank: int) -> None:
    """Compares a file's rank with the run's, reading only the file's head.

    Raises:
        ModelError: if it isn't a LoRA, or its rank is another.
    """
    where = f"model.load_checkpoint {shown(str(path), 300)}"
    try:
        require_plain_lora(read_header(path))
        ranks = sorted(lora_ranks(path))
    except ModelError as error:
        raise ModelError(f"{where}: {error}") from error
    if not ranks:
        raise ModelError(
            f"{where}: is not a LoRA file; expected keys *.lora_A.weight and *.lora_B.weight"
        )
    if len(ranks) > 1:
        new = min(rank, ranks[-1])
        raise ModelError(
            f"{where}: its layers have the ranks {cut(', '.join(map(str, ranks)))}, and a run trains "
            f"one for all; give them one with `resize {path.name} --rank {new} --output "
            f"{path.stem}-{new}.safetensors`, and start from that with lora.rank {new}"
        )
    if ranks != [rank]:
        raise ModelError(
            f"{where}: has rank {ranks[0]} and "
            f"lora.rank is {rank}; set lora.rank to the file's, or start from another"
        )


def start_from(transformer: Transformer, path: Path, config: LoRAConfig) -> int:
    """Copies a LoRA file into the LoRA that `add_lora` has put in.

    The effect that the file has when it is sampled with is where training starts: alpha / rank of
    the file (1 where it names no alpha, as samplers take it) is kept, whatever this run's is.

    Returns:
        The number of layers that the run trains and the file lacks; they start as new ones do.

    Raises:
        ModelError: if the file isn't a LoRA, its rank is another, or it changes a layer that this
            run doesn't train.
    """
    lora, _ = _read_start(path, config)
    if config.adapter not in PLAIN:
        return _start_other(transformer, path, lora, config)
    where = f"model.load_checkpoint {shown(str(path), 300)}"
    trained = trained_layers(transformer)
    _require_trained(path, lora, trained)
    with torch.no_grad():
        for name, layer in lora.items():
            assert isinstance(layer, LoRALayer)
            own_down, own_up = trained[name]
            if (layer.down.shape, layer.up.shape) != (own_down.shape, own_up.shape):
                raise ModelError(
                    f"{where}: {name} has the shapes {tuple(layer.down.shape)} and "
                    f"{tuple(layer.up.shape)}, the model's are {tuple(own_down.shape)} and "
                    f"{tuple(own_up.shape)}"
                )
            own_down.copy_(layer.down)
            own_up.copy_(layer.up.float() * (layer.scale / config.scale))
    return len(trained) - len(lora)


def _start_other(transformer: Transformer, path: Path, adapter: Adapter, config: LoRAConfig) -> int:
    """As `start_from`, of an adapter that is no plain LoRA."""
    trained = adapted_layers(transformer)
    _require_trained(path, adapter, trained)
    choices = {name: each.rank for name, each in trained.items()}
    _require_ranks(path, adapter, config, choices)
    for name, layer in adapter.items():
        if not layer.suits((trained[name].out_features, trained[name].in_features)):
            raise ModelError(
                f"model.load_checkpoint {shown(str(path), 300)}: {name} changes weights of shape {layer.shape}, the "
                f"model's are {(trained[name].out_features, trained[name].in_features)}"
            )
        trained[name].take(layer)
    return len(trained) - len(adapter)


def adapted_layers(transformer: Transformer) -> dict[str, AdaptedLinear]:
    """The layers with an adapter that is no plain LoRA, by name."""
    modules = transformer.named_modules()
    return {name: each for name, each in modules if isinstance(each, AdaptedLinear)}


def _require_trained(path: Path, lora: Adapter, layers: Collection[str]) -> None:
    missing = sorted(set(lora) - set(layers))
    if missing:
        raise ModelError(
            f"model.load_checkpoint {shown(str(path), 300)}: changes {len(missing)} layers that "
            f"lora.target_modules doesn't name, the first is {missing[0]}; add them to "
            "lora.target_modules"
        )


def _read_start(path: Path, config: LoRAConfig) -> tuple[Adapter, Family | None]:
    """The LoRA or other adapter, and the family that it is of, where that shows.

    Raises:
        ModelError: it is another adapter than the run trains or of another rank, has keys without a place, or
            numbers that are not finite.
    """
    where = f"model.load_checkpoint {shown(str(path), 300)}"
    try:
        if config.adapter in PLAIN:
            if all(rule.rank is None for rule in config.rules):
                require_rank(path, config.rank)
            plain = read_lora(path)
            return plain.require_pairs(where), plain.family
        found = read_adapter(path)
    except ModelError as error:
        text = str(error)
        raise ModelError(
            text if text.startswith(where) else f"model.load_checkpoint {text}"
        ) from error
    adapter = found.require_no_foreign(where)
    _require_trained_kind(where, adapter, config)
    return adapter, found.family


def _require_trained_kind(where: str, adapter: Adapter, config: LoRAConfig) -> None:
    kinds = sorted({kind_name(layer.kind) for layer in adapter.values()})
    if kinds != [kind_name(config.adapter)]:
        raise ModelError(
            f"{where}: is a file of {', '.join(kinds)}, and lora.adapter is {config.adapter}; choose the adapter of "
            "the file, or start from another"
        )
    for name, layer in adapter.items():
        if isinstance(layer, DoRALayer) and not layer.has_columns:
            raise ModelError(
                f"{where}: {name} holds the lengths of rows, and those of columns are trained; start from a DoRA "
                "that was trained here"
            )
        if isinstance(layer, OFTLayer) and layer.limit:
            raise ModelError(
                f"{where}: {name} has a limit of its rotation (alpha {layer.limit:g}), which is not trained with; start "
                "from an OFT that was trained here"
            )


def _require_ranks(
    path: Path, adapter: Adapter, config: LoRAConfig, layers: Mapping[str, int]
) -> None:
    """Raises `ModelError` for a layer whose tensors are of other shapes than this run trains."""
    for name, layer in adapter.items():
        rank = layers.get(name)
        if rank is None:
            continue  # told as a layer that isn't trained
        parts = {n: tuple(value.shape) for n, value in layer_parts(layer).items()}
        wanted = dict(adapter_shapes(config, *layer.shape, rank))
        if parts != wanted:
            raise ModelError(
                f"model.load_checkpoint {shown(str(path), 300)}: {name} has the shapes {cut(str(parts), 200)}, and with "
                f"rank {rank} this run trains {cut(str(wanted), 200)}; set lora.rank and lora.layer_rules (of a "
                "LoKr, lokr_factor too) to the file's, or start from another"
            )


def trained_layers(
    transformer: Transformer,
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
    """Not the weights in a run's checkpoints: their keys have the adapter's name, and no file beside
    them tells alpha."""
    try:
        return any(map(_ADAPTER_KEY.search, read_header(path).tensors))
    except ModelError:
        return False


def _is_transformer(path: Path) -> bool:
    try:
        return bool(_transformer_keys(path))
    except ModelError:
        return False


def _transformer_keys(path: Path) -> list[str]:
    where = f"model.load_checkpoint {shown(str(path), 300)}"
    try:
        keys = [
            key
            for key in read_header(path).tensors
            if key.startswith(TRANSFORMER_PREFIX)
            and not is_of_another_part(key.removeprefix(TRANSFORMER_PREFIX))
        ]
    except ModelError as error:
        raise ModelError(f"{where}: {error}") from error
    if not keys:
        raise ModelError(
            f"{where}: has no tensors {TRANSFORMER_PREFIX}*; full training starts from a "
            "transformer, not from a LoRA"
        )
    return keys
