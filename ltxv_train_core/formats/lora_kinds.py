"""What a LoRA-like file is beside a plain LoRA, and of which model, by the names in its head."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from ..errors import cut

_FOREIGN_KEYS = {
    "FLUX or HunyuanVideo": r"(^|[._])(double_blocks|single_blocks|single_transformer_blocks)[._]",
    "Wan": r"(^|[._])blocks[._]\d+[._](self_attn|cross_attn|ffn)[._]",
    "Stable Diffusion": r"(^|[._])((down|up|mid|input|output|middle)_blocks?[._])",
}
_ANY_FOREIGN = re.compile("|".join(_FOREIGN_KEYS.values()))

_DIFFERENCE = r"\.(diff|diff_b|set_weight)$"


class HasShape(Protocol):
    """A tensor, or what a file's head says of one."""

    @property
    def shape(self) -> Sequence[int]:
        """The sizes of its axes."""
        ...


@dataclass(frozen=True)
class AdapterKind:
    """A way to change weights that is no plain LoRA.

    Attributes:
        keys: a pattern that finds its keys.
        does: what it does to the weights, after "it".
    """

    name: str
    keys: str
    does: str


_BOFT = AdapterKind("BOFT", r"\.boft_[A-Za-z]+(\.\w+)*$", "rotates the weights")
_OFT = AdapterKind("OFT", r"\.oft_(blocks|diag|[A-Z])(\.\w+)*$", "rotates the weights")
_KINDS = (
    AdapterKind(
        "DoRA",
        r"\.(dora_scale|lora_magnitude_vector(\.\w+)*)$",
        "also changes the weights' lengths",
    ),
    AdapterKind("LoKr", r"\.lokr_(w[12](_[ab])?|t2)$", "is a Kronecker product"),
    AdapterKind("LoHa", r"\.hada_(w[12]_[ab]|t[12])$", "is a product of two LoRAs, value by value"),
    _BOFT,
    _OFT,
    AdapterKind("GLoRA", r"\.[ab][12]\.weight$", "multiplies the weights"),
    AdapterKind("IA3", r"(\.ia3_l(\.\w+)*|\.on_input)$", "scales the layers' outputs"),
    AdapterKind("VeRA", r"\.vera_lambda_[bd](\.\w+)*$", "scales fixed random matrices"),
    AdapterKind("LoCon", r"\.lora_mid(\.\w+)*$", "has a third matrix for convolutions"),
)

_ANY_KIND = re.compile("|".join(kind.keys for kind in _KINDS))


def adapter_kind(tensors: Mapping[str, HasShape]) -> tuple[AdapterKind, str] | None:
    """What a file is instead of a plain LoRA, and the key that shows it; None for a LoRA."""
    suspects = [key for key in tensors if _ANY_KIND.search(key)]
    for kind in _KINDS:
        found = next((key for key in suspects if re.search(kind.keys, key)), None)
        if found is not None:
            # LyCORIS and ComfyUI name both alike; BOFT has one dimension more.
            is_boft = kind is _OFT and len(tensors[found].shape) == 4
            return (_BOFT if is_boft else kind), found
    return None


def foreign_model(keys: Iterable[str]) -> tuple[str, str] | None:
    """Of which model that no family here is a LoRA is, and the key that shows it."""
    suspects = [key for key in keys if _ANY_FOREIGN.search(key)]
    for model, pattern in _FOREIGN_KEYS.items():
        found = next((key for key in suspects if re.search(pattern, key)), None)
        if found is not None:
            return model, cut(found)
    return None


def why_not_plain(tensors: Mapping[str, HasShape]) -> str | None:
    """Why a file is no plain LoRA for LTX-Video, and what helps; None where nothing speaks against it."""
    if found := foreign_model(tensors):
        return (
            f"is a LoRA of {found[0]}, another model ({found[1]}); take one that was trained on "
            "LTX-Video"
        )
    if kind := adapter_kind(tensors):
        article = "an" if kind[0].name[0] in "IO" else "a"
        return (
            f"is {article} {kind[0].name} ({cut(kind[1])}): it {kind[0].does}, and read as a plain LoRA "
            f"does something else. Load it where {kind[0].name} is known, as in ComfyUI's LoRA loader"
        )
    return None


def is_difference(key: str) -> bool:
    """Whether a key holds a whole difference of a weight or a bias, as ComfyUI's Train LoRA node
    writes for norms and biases."""
    return re.search(_DIFFERENCE, key) is not None
