"""What any model or LoRA file is, from its head: kind, version, number formats, rank, metadata."""

import json
import re
import struct
from collections import Counter
from pathlib import Path
from typing import Any

from ..errors import cut
from ..formats.lora_kinds import adapter_kind, foreign_model, is_difference
from ..formats.rotated import ROTATED, is_rotated
from ..formats.tensors import READABLE
from ..storage.reading import open_regular, parse_json
from ..storage.safetensors_header import Header
from .ltx2.detect import Contents as LTX2Contents
from .ltx2.detect import read_contents as read_ltx2
from .ltxv.detect import LORA, Contents, read_contents
from .registry import family_of_lora, layer_name

_DOWN = re.compile(r"\.(lora_A(\.\w+)?|lora_down)\.weight$")
_LORA_PREFIX = re.compile(
    r"^((model\.)?diffusion_model\.|transformer\.|base_model\.model\.|lora_unet_|lycoris_)"
)
_FORMS = {
    "ComfyUI": r"diffusion_model\..*\.lora_[AB]\.weight$",
    "kohya": r".*\.lora_(down|up)\.weight$",
    "diffusers": r"transformer\..*\.lora_[AB]\.weight$",
}
_OTHER_FORMS = {"ComfyUI": r"diffusion_model\.", "kohya": r"lora_unet_|lycoris_"}
"""Of adapters that are no plain LoRA."""
_OTHER_RANKS = {".hada_w1_b": 0, ".lokr_w2_b": 0, ".oft_blocks": 1}
"""The tensors that have the rank of such an adapter, of an OFT the size of its blocks, and its axis."""
_NUMBERS = {"F64": "<d", "F32": "<f", "F16": "<e", "I64": "<q", "I32": "<i"}
# A training tool may have stored whole files in the metadata.
_SHOWN_LETTERS = 300
_SHOWN_METADATA = 100


def inspect_file(path: Path) -> dict[str, Any]:
    """Facts of a file, ready for JSON. The weights aren't read.

    Raises:
        ModelError: if it is no safetensors file, or a damaged one.
    """
    contents = read_contents(path)
    header = contents.header
    later = read_ltx2(header)
    facts: dict[str, Any] = {
        "file": path.name,
        "kind": str(later) if later else contents.kind,
        "size_bytes": header.size_bytes,
        "tensors": len(header.tensors),
        "dtypes": contents.dtypes,
        **(_ltx2_parts(later) if later else _parts(contents)),
    }
    if contents.kind == LORA:
        facts |= _lora(header)
    return facts | {"metadata": {key: _value(text) for key, text in header.metadata.items()}}


def as_text(facts: dict[str, Any]) -> str:
    """The same facts for people to read."""
    lines = []
    for name, value in facts.items():
        if name == "metadata":
            continue
        lines.append(f"{name.replace('_', ' ')}: {_words(name, value)}")
    if facts["metadata"]:
        lines.append("metadata:")
        shown = list(facts["metadata"].items())
        lines += [f"  {cut(key)}: {_short(value)}" for key, value in shown[:_SHOWN_METADATA]]
        if shown[_SHOWN_METADATA:]:
            lines.append(f"  and {len(shown) - _SHOWN_METADATA} more")
    return "\n".join(lines)


def _ltx2_parts(contents: LTX2Contents) -> dict[str, Any]:
    if contents.quantization:
        return {}
    sizes = ("num_layers", "num_attention_heads", "attention_head_dim", "audio_attention_head_dim")
    return {
        "versions": [f"LTX-{contents.generation}"],
        "transformer": {**{n: contents.config[n] for n in sizes}, "prefix": contents.prefix},
        "parts": sorted(contents.parts),
    }


def _parts(contents: Contents) -> dict[str, Any]:
    facts: dict[str, Any] = {}
    if contents.versions:
        facts["versions"] = contents.versions
    if part := contents.transformer:
        facts["transformer"] = {
            "size": part.size,
            **{n: part.config[n] for n in ("num_layers", "num_attention_heads")},
            "attention_head_dim": part.config["attention_head_dim"],
            "prefix": part.prefix,
        }
        if is_rotated(contents.header):
            facts["rotated"] = ROTATED
        facts["causal_positions"] = part.causal_positions
    if vae := contents.vae:
        facts["vae"] = {"layout": vae.layout, "prefix": vae.prefix}
    return facts


def _lora(header: Header) -> dict[str, Any]:
    kind, foreign = adapter_kind(header.tensors), foreign_model(header.tensors)
    downs = {name: info for name, info in header.tensors.items() if _DOWN.search(name)}
    ranks = Counter(info.shape[0] for info in downs.values() if info.shape)
    ranks += _other_ranks(header)
    layers = {_DOWN.sub("", name) for name in downs}
    if kind and kind[0].is_read:
        layers |= {
            re.sub(kind[0].keys, "", n) for n in header.tensors if re.search(kind[0].keys, n)
        }
    changes = sum(map(is_difference, header.tensors))
    named = (f"{layer}.alpha" for layer in layers if f"{layer}.alpha" in header.tensors)
    alphas = {alpha for name in named if (alpha := _number(header, name)) is not None}
    kinds = Counter(re.sub(r"^.*blocks[._]\d+[._]", "", layer) for layer in layers)
    first = next(iter(downs), "")
    forms, first = (_FORMS, first) if first else (_OTHER_FORMS, next(iter(layers), ""))
    known = {name for layer in layers if (name := layer_name(_LORA_PREFIX.sub("", layer)))}
    family = family_of_lora(known, header.metadata) if known else None
    form = next((f for f, keys in forms.items() if re.match(keys, first)), "other")
    return {
        **({"adapter": f"{kind[0].name}: it {kind[0].does}"} if kind else {}),
        **({"model": f"{foreign[0]}, not LTX-Video ({foreign[1]})"} if foreign else {}),
        **({"model": family.name} if family else {}),
        "form": form,
        "rank": next(iter(ranks)) if len(ranks) == 1 else sorted(ranks),
        # None: the file has no alpha, and samplers apply it at scale 1.
        "alpha": next(iter(alphas)) if len(alphas) == 1 else sorted(alphas) or None,
        "layers": len(layers),
        "layer_kinds": dict(sorted(kinds.items())),
        **({"biases_and_norms": changes} if changes else {}),
    }


def _other_ranks(header: Header) -> Counter[int]:
    found = (
        info.shape[axis]
        for name, info in header.tensors.items()
        for end, axis in _OTHER_RANKS.items()
        if name.endswith(end) and len(info.shape) > axis
    )
    return Counter(found)


def _number(header: Header, name: str) -> float | None:
    """A tensor of one number; None where it is none."""
    info = header.tensors[name]
    if info.elements != 1 or info.dtype not in READABLE | {"I64", "I32"}:
        return None
    with open_regular(header.path) as file:
        file.seek(info.start)
        content = file.read(info.end - info.start)
    if info.dtype == "BF16":
        return float(struct.unpack("<f", b"\0\0" + content[:2])[0])
    if info.dtype == "F8_E5M2":
        return float(struct.unpack("<e", b"\0" + content[:1])[0])
    if info.dtype == "F8_E4M3":  # as float16 the exponent counts 8 more
        bits = (content[0] & 0x80) << 8 | (content[0] & 0x7F) << 7
        return float(struct.unpack("<e", bits.to_bytes(2, "little"))[0]) * 2**8
    form = _NUMBERS[info.dtype]
    return float(struct.unpack(form, content[: struct.calcsize(form)])[0])


def _value(text: str) -> Any:
    """Metadata are texts; what is JSON in them is read."""
    try:
        return parse_json(text)
    except ValueError:
        return text


def _words(name: str, value: Any) -> str:
    if name == "size_bytes":
        return f"{value:,}"
    if name == "dtypes":
        total = sum(value.values()) or 1
        return ", ".join(f"{kind} {count / total:.1%}" for kind, count in value.items())
    if isinstance(value, dict):
        return cut(", ".join(f"{k.replace('_', ' ')} {v!r}" for k, v in value.items()), 500)
    if isinstance(value, list):
        return cut(", ".join(map(str, value)), 500)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "none" if value is None else str(value)


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return cut(text, _SHOWN_LETTERS)
