"""The families that this program knows: a new one is a room, a line here and its cases in `open.py`. No
torch."""

from collections.abc import Mapping
from typing import Any

from ..errors import ModelError, shown
from .family import Family, PublishedVersion
from .ltx2.family import LTX2
from .ltxv.family import LTXV

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


def family_of_layer(written: str) -> Family | None:
    """The family whose transformers have a linear layer of that name, in any form."""
    return next((each for each in FAMILIES if each.layers.layer_name(written)), None)


def layer_name(written: str) -> str | None:
    """diffusers' name of a linear layer; None where no family has such a layer."""
    family = family_of_layer(written)
    return family.layers.layer_name(written) if family else None


def comfy_name(name: str) -> str:
    """ComfyUI's name of a transformer's linear layer, from diffusers' name."""
    return (family_of_layer(name) or EARLIEST).layers.comfy_name(name)


def diffusers_name(name: str) -> str:
    """diffusers' name of a transformer's module or tensor, from ComfyUI's name."""
    return EARLIEST.layers.diffusers_name(name)


def new_transformer(config: Mapping[str, object]) -> Any:
    """A transformer of a configuration in diffusers' words; to be called on the meta device."""
    return EARLIEST.layers.new_transformer(config)
