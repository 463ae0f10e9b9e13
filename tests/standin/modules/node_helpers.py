"""Stand-in for ComfyUI's conditioning helper."""

from typing import Any


def conditioning_set_values(conditioning: list, values: dict[str, Any]) -> list:
    return [[tensor, {**known, **values}] for tensor, known in conditioning]
