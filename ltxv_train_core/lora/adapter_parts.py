"""The tensors of adapters that are no plain LoRA, by the names that LyCORIS gives them and ComfyUI reads.

Read are those of linear layers. Written they have their scale in them and no alpha, which is 1 for every reader then.
"""

from collections.abc import Callable, Mapping

from torch import Tensor

from .lora import AdapterLayer, DoRALayer, LoHaLayer, LoKrLayer, LoRALayer, OFTLayer

Parts = Mapping[str, Tensor]

MOST_NUMBERS = 2**26
"""Of the first matrix of a LoKr: four times the largest weight of the public models."""
PART_NAMES = (
    "dora_scale",
    *(f"lokr_w{n}{part}" for n in (1, 2) for part in ("", "_a", "_b")),
    *(f"hada_w{n}_{part}" for n in (1, 2) for part in "ab"),
    "oft_blocks",
)
"""Beside those of a LoRA."""


def read_parts(parts: Parts, alpha: float | None) -> AdapterLayer | None:
    """The adapter of a layer that is no plain LoRA; None where its tensors are none.

    Args:
        parts: by their names; those of a LoRA are called down and up.
        alpha: as the file says.
    """
    if any(value.numel() == 0 for value in parts.values()):
        return None
    names = frozenset(parts)
    return next((make(parts, alpha) for own, make in _READERS if own == names), None)


def layer_parts(layer: AdapterLayer) -> dict[str, Tensor]:
    """The tensors of a layer, with its scale in them, by their names in a file."""
    if isinstance(layer, LoRALayer):
        layer = layer.folded()
        return {"lora_A.weight": layer.down, "lora_B.weight": layer.up}
    if isinstance(layer, DoRALayer):
        return layer_parts(layer.lora) | {"dora_scale": layer.scale}
    if isinstance(layer, LoKrLayer):
        found = {
            "lokr_w1": layer.first,
            "lokr_w2": layer.second,
            "lokr_w2_a": layer.second_up,
            "lokr_w2_b": layer.second_down,
        }
        return {name: value for name, value in found.items() if value is not None}
    if isinstance(layer, LoHaLayer):
        return {
            "hada_w1_a": layer.first_up,
            "hada_w1_b": layer.first_down,
            "hada_w2_a": layer.second_up,
            "hada_w2_b": layer.second_down,
        }
    assert isinstance(layer, OFTLayer)
    return {"oft_blocks": layer.blocks}


def _dora(parts: Parts, alpha: float | None) -> AdapterLayer | None:
    down, up, scale = parts["down"], parts["up"], parts["dora_scale"]
    if not _is_product(up, down) or scale.shape not in ((up.shape[0], 1), (1, down.shape[1])):
        return None
    rank = down.shape[0]
    return DoRALayer(LoRALayer(down, up, float(rank) if alpha is None else alpha), scale)


def _lokr(parts: Parts, alpha: float | None) -> AdapterLayer | None:
    """alpha is divided by the rank of the second matrix, or else of the first; whole matrices have none."""
    first, second = parts.get("lokr_w1"), parts.get("lokr_w2")
    up, down = parts.get("lokr_w2_a"), parts.get("lokr_w2_b")
    scale = 1.0
    if first is None:
        left, right = parts["lokr_w1_a"], parts["lokr_w1_b"]
        if not _is_product(left, right) or left.shape[0] * right.shape[1] > MOST_NUMBERS:
            return None
        first = left.float() @ right.float()
        scale = 1.0 if alpha is None else alpha / parts["lokr_w1_b"].shape[0]
    if second is None:
        if up is None or down is None or not _is_product(up, down):
            return None
        scale = 1.0 if alpha is None else alpha / down.shape[0]
    elif second.ndim != 2:
        return None
    if first.ndim != 2:
        return None
    return LoKrLayer(_scaled(first, scale), second, up, down)


def _loha(parts: Parts, alpha: float | None) -> AdapterLayer | None:
    up, down = parts["hada_w1_a"], parts["hada_w1_b"]
    others = parts["hada_w2_a"], parts["hada_w2_b"]
    if not _is_product(up, down) or not _is_product(*others):
        return None
    if (up.shape[0], down.shape[1]) != (others[0].shape[0], others[1].shape[1]):
        return None
    scale = 1.0 if alpha is None else alpha / down.shape[0]
    return LoHaLayer(_scaled(up, scale), down, *others)


def _oft(parts: Parts, alpha: float | None) -> AdapterLayer | None:
    blocks = parts["oft_blocks"]
    if blocks.ndim != 3 or blocks.shape[1] != blocks.shape[2]:
        return None
    return OFTLayer(blocks, max(0.0, alpha or 0.0))


def _is_product(left: Tensor, right: Tensor) -> bool:
    return left.ndim == right.ndim == 2 and left.shape[1] == right.shape[0]


def _scaled(value: Tensor, scale: float) -> Tensor:
    return value if scale == 1 else value.float() * scale


_Reader = Callable[[Parts, float | None], AdapterLayer | None]
_READERS: list[tuple[frozenset[str], _Reader]] = [
    (frozenset({"down", "up", "dora_scale"}), _dora),
    (frozenset({"hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b"}), _loha),
    (frozenset({"oft_blocks"}), _oft),
    *(
        (frozenset({*first, *second}), _lokr)
        for first in (("lokr_w1",), ("lokr_w1_a", "lokr_w1_b"))
        for second in (("lokr_w2",), ("lokr_w2_a", "lokr_w2_b"))
    ),
]
