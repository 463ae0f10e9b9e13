"""alpha as diffusers' adapter metadata declare it, whatever is written there."""

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

from ..errors import ModelError, cut, shown
from ..storage.reading import parse_json

ADAPTER_METADATA = "lora_adapter_metadata"

# Each is searched for in every layer's name.
MOST_PATTERNS = 20
_NAME = re.compile(r"[\w.]{1,200}", re.ASCII)
_PATTERN = re.compile(r"[\w.\\^$*+|()\[\]-]{1,200}", re.ASCII)
_SLOW = re.compile(r"\)[*+]|[*+].*[*+].*[*+]|[*+][*+]")


def declared_alphas(metadata: Mapping[str, str], where: str) -> Callable[[str, int], float]:
    """alpha by layer and rank, as diffusers' adapter metadata says; rank itself where there is none.

    A name there stands for the layers whose names it ends, and so does a simple pattern; with rslora
    the scale is alpha / sqrt(rank).

    Args:
        where: named in errors.

    Raises:
        ModelError: they can't be read.
    """
    try:
        given = parse_json(metadata.get(ADAPTER_METADATA) or "{}")
        if not isinstance(given, dict):
            raise ValueError("they are no object")
        values = {name.removeprefix("transformer."): value for name, value in given.items()}
        default = _number(values.get("lora_alpha"))
        declared = values.get("alpha_pattern") or {}
        if not isinstance(declared, dict):
            raise ValueError("alpha_pattern is no object")
        names = {name: _number(alpha) for name, alpha in declared.items() if _NAME.fullmatch(name)}
        others = {name: alpha for name, alpha in declared.items() if name not in names}
        if len(others) > MOST_PATTERNS:
            raise ValueError(f"alpha_pattern has more than {MOST_PATTERNS} patterns")
        patterns = [(_compiled(name), _number(alpha)) for name, alpha in others.items()]
    except ValueError as error:
        raise ModelError(
            f"{where}: its {ADAPTER_METADATA} can't be read ({cut(str(error), 200)})"
        ) from error
    root = bool(values.get("use_rslora"))

    def alpha_of(name: str, rank: int) -> float:
        parts = name.split(".")
        ends = (".".join(parts[first:]) for first in range(len(parts)))
        own = [names[end] for end in ends if end in names]
        own += [alpha for pattern, alpha in patterns if pattern.fullmatch(name)]
        alpha = own[0] if own else default
        if alpha is None:
            return float(rank)
        return alpha * rank**0.5 if root else alpha

    return alpha_of


def _number(value: Any) -> float | None:
    if value is None:
        return None
    if type(value) not in (int, float) or not abs(value) < 1e9 or math.isnan(value):
        raise ValueError(f"an alpha is {shown(value)}")
    return float(value)


def _compiled(pattern: str) -> re.Pattern[str]:
    """A regular expression of the kind that names of layers need: others could take for ever."""
    try:
        if _PATTERN.fullmatch(pattern) and not _SLOW.search(pattern):
            return re.compile(rf"(?:.*\.)?(?:{pattern})")
    except re.error:
        pass
    raise ValueError(f"alpha_pattern {shown(pattern)} is no name of a layer")
