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
        is_read: whether this program can use one.
    """

    name: str
    keys: str
    does: str
    is_read: bool = False


_BOFT = AdapterKind("BOFT", r"\.boft_[A-Za-z]+(\.\w+)*$", "rotates the weights")
_OFT = AdapterKind("OFT", r"\.oft_blocks$", "rotates the weights", is_read=True)
_CONVOLUTION = "has a tensor for convolutions"
_KINDS = (
    AdapterKind("DoRA", r"\.lora_magnitude_vector(\.\w+)*$", "measures the weights as peft does"),
    AdapterKind("LoKr", r"\.lokr_t2$", _CONVOLUTION),
    AdapterKind("LoHa", r"\.hada_t[12]$", _CONVOLUTION),
    _BOFT,
    AdapterKind("OFT", r"\.(oft_(diag|[A-Z])(\.\w+)*|rescale)$", "rotates or scales the weights"),
    AdapterKind("DoRA", r"\.dora_scale$", "also changes the weights' lengths", is_read=True),
    AdapterKind("LoKr", r"\.lokr_w[12](_[ab])?$", "is a Kronecker product", is_read=True),
    AdapterKind(
        "LoHa", r"\.hada_w[12]_[ab]$", "is a product of two LoRAs, value by value", is_read=True
    ),
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
    if reason := why_not_read(tensors):
        return reason
    if kind := adapter_kind(tensors):
        return (
            f"is {_with_article(kind[0])} ({cut(kind[1])}), and only a plain LoRA will do here. It can be converted, "
            "merged, loaded and trained on"
        )
    return None


def why_not_read(tensors: Mapping[str, HasShape]) -> str | None:
    """Why a file is no LoRA or other adapter that this program can use, and what helps."""
    if found := foreign_model(tensors):
        return (
            f"is a LoRA of {found[0]}, another model ({found[1]}); take one that was trained on "
            "LTX-Video"
        )
    kind = adapter_kind(tensors)
    if kind and not kind[0].is_read:
        return (
            f"is {_with_article(kind[0])} ({cut(kind[1])}): it {kind[0].does}, and read as a plain LoRA "
            f"does something else. Load it where {kind[0].name} is known, as in ComfyUI's LoRA loader"
        )
    return None


def kind_name(adapter: str) -> str:
    """What an adapter of `lora.adapter` is called."""
    return {"lora": "LoRA", "dora": "DoRA", "lokr": "LoKr", "loha": "LoHa", "oft": "OFT"}[adapter]


def _with_article(kind: AdapterKind) -> str:
    return f"{'an' if kind.name[0] in 'IO' else 'a'} {kind.name}"


def is_difference(key: str) -> bool:
    """Whether a key holds a whole difference of a weight or a bias, as ComfyUI's Train LoRA node
    writes for norms and biases."""
    return re.search(_DIFFERENCE, key) is not None
