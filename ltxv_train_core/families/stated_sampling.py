from collections.abc import Mapping
from typing import Any

from .family import Sampling


def stated_sampling(config: Mapping[str, Any]) -> Sampling | None:
    """Of a distilled model, whose file names the only noise levels that it was made to be sampled at.

    Args:
        config: the file's metadata `config`.
    """
    levels = config.get("allowed_inference_steps")
    if not isinstance(levels, list) or not all(
        isinstance(level, int | float) and 0 < level <= 1 for level in levels
    ):
        return None
    ordered = tuple(sorted({float(level) for level in levels}, reverse=True))
    return Sampling(len(ordered), 1.0, ordered) if ordered[:1] == (1.0,) else None
