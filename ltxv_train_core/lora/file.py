"""LoRA files: read in every usual form, written in three.

comfy: `diffusion_model.<layer>.lora_A.weight`, `.lora_B.weight` with ComfyUI's layer names. What users
    are handed: ComfyUI reads it, and diffusers but for a few layers (`unknown_to_diffusers` in
    `families/layers.py`).
kohya: `lora_unet_<layer_with_underscores>.lora_down.weight`, `.lora_up.weight`, `.alpha`.
diffusers: `transformer.<layer>.lora_A.weight`, `.lora_B.weight` with diffusers' layer names, and its
    adapter metadata.

Adapters that are no LoRA have LyCORIS' names below the same layers (`lora/adapter_parts.py`), and no diffusers form.

A state dict that peft's model gives has its adapter's name in the keys (`.lora_A.default.weight`), which
are read as well.

comfy and diffusers have alpha / rank folded into lora_B and no alpha key: a loader that finds none
takes the scale for 1, which then is right. Rank and alpha of the training stand in the metadata.
"""

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Generic, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ..errors import ModelError, cut
from ..families.family import Family
from ..families.registry import comfy_name, family_of_lora, layer_name
from ..formats.lora_kinds import is_difference, kind_name, why_not_plain, why_not_read
from ..formats.tensors import READABLE
from ..models.sharded import whole
from ..models.transformer import Transformer
from ..storage.reading import read_text
from ..storage.safetensors_header import Header, read_header
from ..storage.tensors import is_finite, write_safetensors
from .adapter_parts import PART_NAMES, layer_parts, read_parts
from .declared_alpha import ADAPTER_METADATA, declared_alphas
from .forms import LoRAForm
from .lora import Adapter, AdapterLayer, LoRALayer, largest_rank

PREFIX = "diffusion_model."
_KOHYA = {"lora_A.weight": "lora_down.weight", "lora_B.weight": "lora_up.weight"}
LARGEST_ADAPTER_CONFIG_BYTES = 2**20
_OF_A_FORM = {ADAPTER_METADATA, "ss_network_module", "ss_network_dim", "ss_network_alpha"}

_PARTS = {"lora_A": "down", "lora_down": "down", "lora_B": "up", "lora_up": "up", None: "alpha"}
_KEY = re.compile(
    r"(?:(?:model\.)?diffusion_model\.|transformer\.|base_model\.model\.|lora_unet_|lycoris_)?"
    r"(?P<layer>.+?)\.(?:(?P<part>lora_(?:A|B|down|up))(?:\.(?P<adapter>\w+))?\.weight|alpha"
    rf"|(?P<other>{'|'.join(PART_NAMES)}))"
)
_DOWN_KEY = re.compile(r".+\.lora_(A|down)(\.\w+)?\.weight")


LayerT = TypeVar("LayerT", bound=AdapterLayer)


@dataclass(frozen=True)
class FoundLoRA(Generic[LayerT]):
    """A LoRA, or another adapter, as it was found.

    Attributes:
        lora: its layers, by diffusers' names.
        foreign: keys that are no part of a LoRA of a known transformer's linear layer.
    """

    lora: Mapping[str, LayerT]
    metadata: dict[str, str]
    foreign: tuple[str, ...]

    @property
    def family(self) -> Family | None:
        """The family that it is of, where that shows."""
        return family_of_lora(self.lora, self.metadata)

    def require_no_foreign(self, where: str) -> Mapping[str, LayerT]:
        """The LoRA. Raises `ModelError` that names foreign keys, if there are any."""
        if self.foreign:
            raise _foreign(where, self.foreign)
        return self.lora

    def require_pairs(self, where: str) -> Mapping[str, LayerT]:
        """The LoRA, without changes of biases and norms that stand beside it.

        Raises:
            ModelError: names other foreign keys, if there are any.
        """
        if others := [key for key in self.foreign if not is_difference(key)]:
            raise _foreign(where, others)
        return self.lora

    def notes(self, what: str) -> tuple[str, ...]:
        """Lines on foreign keys, if there are any.

        Args:
            what: was not done with them, for example "not converted".
        """
        differences = [key for key in self.foreign if is_difference(key)]
        others = [key for key in self.foreign if not is_difference(key)]
        return tuple(
            f"{f'{len(keys)} keys ' if len(keys) > 1 else ''}{what}, as {reason}: {name_some(keys)}"
            for keys, reason in (
                (others, "of no layer of LTX-Video or LTX-2"),
                (differences, "changes of biases and norms, which are no LoRA"),
            )
            if keys
        )


def _foreign(where: str, keys: Sequence[str]) -> ModelError:
    return ModelError(
        f"{where}: expected pairs *.lora_A.weight and *.lora_B.weight of layers of LTX-Video or LTX-2, "
        f"found {name_some(list(keys))}"
    )


def read_lora(path: Path) -> FoundLoRA[LoRALayer]:
    """Reads a plain LoRA of any form.

    Raises:
        ModelError: if it can't be read, is another adapter (DoRA, LoKr, ...), holds NaN or infinite
            numbers, or no key is a LoRA's of a known transformer.
    """
    header = read_header(path)
    require_plain_lora(header)
    found = _read(header)
    plain = {name: each for name, each in found.lora.items() if isinstance(each, LoRALayer)}
    return FoundLoRA(plain, found.metadata, found.foreign)


def read_adapter(path: Path) -> FoundLoRA[AdapterLayer]:
    """Reads a LoRA or another adapter of any form.

    Raises:
        ModelError: as `read_lora`, but for the adapters that are known.
    """
    header = read_header(path)
    if reason := why_not_read(header.tensors):
        raise ModelError(f"{path}: {reason}")
    return _read(header)


def _read(header: Header) -> FoundLoRA[AdapterLayer]:
    path, keys = header.path, list(header.tensors)
    wanted = [k for k in keys if header.tensors[k].dtype in READABLE and _KEY.fullmatch(k)]
    try:
        with safe_open(path, "pt") as file:
            tensors = {key: file.get_tensor(key) for key in wanted}
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{path}: can't be read as a safetensors file ({error})") from error
    metadata = _peft_config(path) | header.metadata
    lora, foreign = _layers(tensors, metadata, str(path))
    others = [key for key in keys if key not in tensors]
    found = FoundLoRA(lora, metadata, (*foreign, *others))
    if not found.lora:
        raise ModelError(
            f"{path}: is not a LoRA of an LTX-Video or LTX-2 transformer; expected keys such as "
            f"{PREFIX}transformer_blocks.0.attn1.to_q.lora_A.weight, found "
            f"{name_some(found.foreign) or 'none'}"
        )
    require_finite_lora(found.lora, str(path))
    return found


def require_plain_lora(header: Header) -> None:
    """Raises `ModelError` for a LoRA of another model, and for what is only like a LoRA."""
    if reason := why_not_plain(header.tensors):
        raise ModelError(f"{header.path}: {reason}")


def require_finite_lora(lora: Adapter, where: str) -> None:
    """Raises `ModelError` that names the layers whose numbers are NaN or infinite."""
    wrong = [n for n, each in lora.items() if not all(map(is_finite, each.tensors))]
    if wrong:
        raise ModelError(
            f"{where}: holds NaN or infinite numbers in {len(wrong)} of {len(lora)} layers "
            f"({name_some(wrong)}), from a training that went wrong; take the file of an earlier step"
        )


def lora_ranks(path: Path) -> set[int]:
    """The ranks of a LoRA file's layers from its head alone; none where it is no LoRA.

    Raises:
        ModelError: if it can't be read.
    """
    tensors = read_header(path).tensors.items()
    return {info.shape[0] for key, info in tensors if info.shape and _DOWN_KEY.fullmatch(key)}


def form_tensors(lora: Adapter, form: LoRAForm) -> dict[str, Tensor]:
    """The tensors of a LoRA or another adapter under the keys of a form.

    Raises:
        ModelError: the form has no place for it.
    """
    tensors: dict[str, Tensor] = {}
    for name, layer in lora.items():
        key = PREFIX + comfy_name(name) if form == "comfy" else f"transformer.{name}"
        if form == "kohya":
            key = f"lora_unet_{comfy_name(name).replace('.', '_')}"
        tensors |= {f"{key}.{part}": value for part, value in _parts_of(layer, form).items()}
    return tensors


def _parts_of(layer: AdapterLayer, form: LoRAForm) -> dict[str, Tensor]:
    if not isinstance(layer, LoRALayer):
        if form == "diffusers":
            raise ModelError(
                f"the form diffusers has no place for {kind_name(layer.kind)}: choose comfy or kohya, which ComfyUI "
                "loads"
            )
        parts = layer_parts(layer)
        return {_KOHYA.get(n, n): value for n, value in parts.items()} if form == "kohya" else parts
    if form == "kohya":
        alpha = torch.tensor(layer.alpha)
        return {"lora_down.weight": layer.down, "lora_up.weight": layer.up, "alpha": alpha}
    return layer_parts(layer)


def comfy_tensors(
    tensors: Mapping[str, Tensor], metadata: dict[str, str], where: str
) -> dict[str, Tensor]:
    """A LoRA's tensors of any form under ComfyUI's keys; foreign ones stay as they are.

    Args:
        where: named in errors.
    """
    lora, foreign = _layers(tensors, metadata, where)
    return form_tensors(lora, "comfy") | {key: tensors[key] for key in foreign}


def write_lora(
    path: Path, lora: Adapter, metadata: Mapping[str, str], form: LoRAForm = "comfy"
) -> None:
    """Writes a LoRA or another adapter in one of the forms, with the metadata and what the form itself says there."""
    facts = {k: v for k, v in metadata.items() if k not in _OF_A_FORM}
    write_safetensors(
        path, form_tensors(lora, form), {"format": "pt"} | facts | _form_metadata(lora, form)
    )


def lora_tensors(transformer: Transformer) -> dict[str, Tensor]:
    """The LoRA's tensors under diffusers' names: `<module>.lora_A.weight`, `.lora_B.weight`."""
    from peft.utils import get_peft_model_state_dict

    tensors = whole(get_peft_model_state_dict(transformer))
    return {name: value.detach().float().cpu().clone() for name, value in tensors.items()}


def write_lora_file(
    path: Path,
    tensors: dict[str, Tensor],
    rank: int,
    alpha: float,
    metadata: dict[str, str],
    dtype: torch.dtype = torch.float32,
) -> None:
    """Writes a trained LoRA in the form that users are handed (comfy).

    Args:
        tensors: as `lora_tensors` gives them.
        rank, alpha: their scale is that of layers of another rank too.
        metadata: written beside rank and alpha.
        dtype: of the weights in the file; they are rounded after alpha is folded in.
    """
    lora = {}
    for key, down in tensors.items():
        name, _, part = key.partition(".lora_A.")
        if part:
            own = alpha if len(down) == rank else alpha * len(down) / rank
            layer = LoRALayer(down, tensors[f"{name}.lora_B.{part}"], own).folded()
            lora[name] = replace(layer, down=layer.down.to(dtype), up=layer.up.to(dtype))
    write_lora(path, lora, {"rank": str(rank), "alpha": str(alpha)} | metadata)


def write_adapter_file(
    path: Path,
    layers: Adapter,
    metadata: Mapping[str, str],
    dtype: torch.dtype = torch.float32,
) -> None:
    """Writes a trained adapter that is no plain LoRA in the form that users are handed (comfy).

    Args:
        dtype: of the weights in the file.
    """
    # The lengths of a DoRA weigh a whole column each: rounded, they would change all of its weights.
    tensors = {
        key: value.detach().to("cpu", torch.float32 if key.endswith("dora_scale") else dtype)
        for key, value in form_tensors(layers, "comfy").items()
    }
    write_safetensors(path, tensors, {"format": "pt", **metadata})


def add_trained_lora(transformer: Transformer, path: Path, strength: float = 1.0) -> None:
    """Puts a file of a LoRA or another adapter into a transformer for sampling.

    Raises:
        ModelError: if the file isn't a LoRA, or doesn't fit the transformer.
    """
    lora = read_adapter(path).require_no_foreign(str(path))
    modules = dict(transformer.named_modules())
    with torch.no_grad():
        for name, layer in lora.items():
            if name not in modules:
                raise ModelError(f"{path}: the model has no layer {name}")
            weight = modules[name].weight
            if not layer.suits(weight.shape):
                raise ModelError(
                    f"{path}: {name} changes weights of shape {layer.shape}, the model's are {tuple(weight.shape)}"
                )
            weight.add_((layer.added(weight.float()) * strength).to(weight))


def name_some(names: tuple[str, ...] | list[str], count: int = 3) -> str:
    """The first of many names, and how many there are besides."""
    more = f" and {len(names) - count} more" if len(names) > count else ""
    return ", ".join(cut(name) for name in names[:count]) + more


def _peft_config(path: Path) -> dict[str, str]:
    """What peft writes beside a LoRA, as diffusers writes it into the file."""
    config = path.with_name("adapter_config.json")
    if path.name != "adapter_model.safetensors" or not config.is_file():
        return {}
    try:
        return {ADAPTER_METADATA: read_text(config, LARGEST_ADAPTER_CONFIG_BYTES)}
    except (OSError, UnicodeDecodeError) as error:
        raise ModelError(f"{config}: can't be read ({cut(str(error))})") from error


def _layers(
    tensors: Mapping[str, Tensor], metadata: dict[str, str], where: str
) -> tuple[Adapter, list[str]]:
    """The layers of a LoRA or another adapter, and the keys that are no part of one."""
    parts: dict[str, dict[str, Tensor]] = {}
    adapters: set[str] = set()
    keys: dict[str, list[str]] = {}
    foreign: list[str] = []
    twice: list[str] = []
    for key, tensor in tensors.items():
        found = _KEY.fullmatch(key)
        name = layer_name(found["layer"]) if found else None
        if found and name:
            part = found["other"] or _PARTS[found["part"]]
            twice += [name] if part in parts.setdefault(name, {}) else []
            parts[name][part] = tensor
            keys.setdefault(name, []).append(key)
            adapters |= {found["adapter"]} if found["part"] else set()
        else:
            foreign.append(key)
    if len(adapters) > 1:
        named = ", ".join(sorted(adapter or "unnamed" for adapter in adapters))
        raise ModelError(f"{where}: holds several LoRAs ({named}); expected a file with one")
    if twice:
        raise ModelError(f"{where}: holds {twice[0]} twice, under two names; remove one of them")
    alpha_of = declared_alphas(metadata, where)
    lora: dict[str, AdapterLayer] = {}
    for name, own in parts.items():
        alpha = _alpha(own.pop("alpha")) if "alpha" in own else None
        if _is_pair(own):
            rank = own["down"].shape[0]
            alpha = alpha_of(name, rank) if alpha is None else alpha
            lora[name] = LoRALayer(own["down"], own["up"], alpha)
        elif layer := read_parts(own, alpha):
            _require_own_scale(layer, metadata, where)
            lora[name] = layer
        elif others := sorted(own.keys() & set(PART_NAMES)):
            raise ModelError(
                f"{where}: the tensors of {name} ({', '.join(others)}) make no DoRA, LoKr, LoHa or OFT of a linear "
                "layer; take a whole file"
            )
        else:
            foreign += keys[name]
            continue
        if alpha is not None and not math.isfinite(alpha):
            raise ModelError(f"{where}: the alpha of {name} is no number")
    return lora, foreign


def _require_own_scale(layer: AdapterLayer, metadata: Mapping[str, str], where: str) -> None:
    if ADAPTER_METADATA in metadata:
        raise ModelError(
            f"{where}: is {kind_name(layer.kind)} of peft, whose scale stands beside it in words that are not read; "
            "merge it in the program that trained it, or save it in LyCORIS' format"
        )


def _is_pair(own: dict[str, Tensor]) -> bool:
    if set(own) != {"down", "up"}:
        return False
    down, up = own["down"], own["up"]
    empty = 0 in (*down.shape, *up.shape)
    return down.ndim == up.ndim == 2 and down.shape[0] == up.shape[1] and not empty


def _alpha(tensor: Tensor) -> float:
    return float(tensor.float().item()) if tensor.numel() == 1 else math.nan


def _form_metadata(adapter: Adapter, form: LoRAForm) -> dict[str, str]:
    """What readers of a form look for in a file's metadata."""
    lora = {name: each for name, each in adapter.items() if isinstance(each, LoRALayer)}
    if not lora:
        return {}
    rank = largest_rank(lora)
    if form == "kohya":
        alphas = {layer.alpha for layer in lora.values()}
        return {
            "ss_network_module": "networks.lora",
            "ss_network_dim": str(rank),
            **({"ss_network_alpha": f"{alphas.pop():g}"} if len(alphas) == 1 else {}),
        }
    if form == "diffusers":
        other = {n: layer.rank for n, layer in lora.items() if layer.rank != rank}
        described = {
            "r": rank,
            "lora_alpha": rank,
            "rank_pattern": other,
            "alpha_pattern": other,
            "target_modules": sorted(lora),
        }
        named = {f"transformer.{name}": value for name, value in described.items()}
        return {ADAPTER_METADATA: json.dumps(named, sort_keys=True)}
    return {}
