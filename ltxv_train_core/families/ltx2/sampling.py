"""How distilled models of LTX-2.x are sampled, and which ones they are."""

import re
from collections.abc import Mapping
from typing import Any

from ..family import Sampling
from ..stated_sampling import stated_sampling

_LEVELS = (1.0, 0.99375, 0.9875, 0.98125, 0.975, 0.909375, 0.725, 0.421875)
"""Of the first pass of Lightricks' pipelines for distilled models."""
DISTILLED = Sampling(len(_LEVELS), 1.0, _LEVELS)
_PUBLISHED = re.compile(r"ltx-?2(\.\d+)?-(.*[-_])?distilled(?![-_]lora)", re.IGNORECASE)


def sampling_of(name: str, config: Mapping[str, Any]) -> Sampling | None:
    """How a model is meant to be sampled, where it is a distilled one.

    Published models differ from their dev versions in their weights and in their names alone; a file may say it.

    Args:
        name: of its file or folder.
        config: what the file's metadata say.
    """
    return stated_sampling(config) or (DISTILLED if _PUBLISHED.match(name) else None)
