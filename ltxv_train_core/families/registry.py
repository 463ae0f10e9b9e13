"""The families that this program knows: a new one is a room, a line here and its cases in `open.py`. No
torch."""

import re
from collections.abc import Callable, Iterable, Mapping

from ..errors import ModelError, shown
from ..storage.atomic import sha256_json
from .family import Family, PublishedVersion
from .layers import TransformerLayers
from .ltx2.family import LTX2
from .ltxv.family import LTXV

_NAMING = ("modelspec.architecture", "ss_base_model_version", "base_model")
"""Metadata in which trainers name the base model of a LoRA."""
# A name of a model, in metadata that may hold whole files.
_LONGEST_NAME = 200

FAMILIES: list[Family] = [LTXV, LTX2]

EARLIEST = LTXV
"""Of data sets and encoders that name no family: there was no other one."""


def family_named(name: str) -> Family:
    """A family by its name. Raises `ModelError` where there is none of that name."""
    for family in FAMILIES:
        if family.name == name:
            return family
    known = ", ".join(family.name for family in FAMILIES)
    raise ModelError(f"model family {shown(name)}: this program knows {known}")


def family_with(stream: str) -> Family:
    """The first family whose models denoise a stream."""
    return next(family for family in FAMILIES if stream in family.streams)


def family_of_source(name: str) -> Family | None:
    """The family that a model is of whose `model_source` is a name: one that ships, a version, a known
    repository."""
    for family in FAMILIES:
        if name == family.miniature or name in family.versions or name in family.repositories:
            return family
    return None


def published_version(name: str) -> PublishedVersion | None:
    """The version that `model_source` calls so."""
    return next((each.versions[name] for each in FAMILIES if name in each.versions), None)


def a_version_of_each_size() -> list[str]:
    """Published versions, the first of each size: the others train in the same time and memory."""
    found: dict[str, str] = {}
    for family in FAMILIES:
        for name, version in family.versions.items():
            found.setdefault(sha256_json(dict(version.transformer)), name)
    return list(found.values())


def layer_name(written: str) -> str | None:
    """diffusers' name of a linear layer; None where no family has such a layer."""
    found = (family.layers.layer_name(written) for family in FAMILIES)
    return next((name for name in found if name), None)


def comfy_name(name: str) -> str:
    """ComfyUI's name of a transformer's module or tensor, from diffusers' name."""
    return _translated(name, lambda layers: layers.comfy_name(name))


def diffusers_name(name: str) -> str:
    """diffusers' name of a transformer's module or tensor, from ComfyUI's name."""
    return _translated(name, lambda layers: layers.diffusers_name(name))


def _translated(name: str, by: Callable[[TransformerLayers], str]) -> str:
    """What a family makes of a name that the others leave as it is: none calls a layer of another one's
    by another name. The one that changes most of it knows all of it."""
    found = [by(family.layers) for family in FAMILIES]
    return max(found, key=lambda other: sum(map(str.__ne__, other.split("."), name.split("."))))


def is_of_another_part(name: str) -> bool:
    """Whether a tensor below the transformer's prefix belongs to another part of a model."""
    return name.startswith(tuple(part for each in FAMILIES for part in each.layers.other_parts))


def family_of_lora(layers: Iterable[str], metadata: Mapping[str, str]) -> Family | None:
    """The family that a LoRA is of; None where neither layers nor metadata tell.

    Args:
        layers: diffusers' names of linear layers.
    """
    names = list(layers)
    able = [f for f in FAMILIES if all(f.layers.layer_name(name) == name for name in names)]
    if len(able) == 1:
        return able[0]
    texts = [metadata.get(name, "")[:_LONGEST_NAME] for name in _NAMING]
    return next(
        (f for f in able if any(re.search(f.called, text, re.IGNORECASE) for text in texts)), None
    )
