"""Whether a file holds the tensors of a part, by names and shapes alone. No torch."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from ...errors import ModelError
from ...formats.tensors import tensor_differences
from ...storage.safetensors_header import Header

if TYPE_CHECKING:
    from torch import nn

_SHOWN = 4


def require_match(
    header: Header,
    prefix: str,
    names: Mapping[str, str],
    module: nn.Module,
    besides: Collection[str] = (),
    elsewhere: tuple[str, ...] = (),
) -> None:
    """Compares a part of a file with a module, by names and shapes alone.

    Args:
        prefix: of the part's names.
        names: the file's names of the module's tensors, by the module's own.
        besides: names in the file that are not read.
        elsewhere: how names of other parts begin, where this one's have no prefix.

    Raises:
        ModelError: with the first differences.
    """
    expected = {names[name]: tuple(t.shape) for name, t in module.state_dict().items()}
    require_shapes(header, prefix, expected, besides, elsewhere)


def require_shapes(
    header: Header,
    prefix: str,
    expected: Mapping[str, tuple[int, ...]],
    besides: Collection[str] = (),
    elsewhere: tuple[str, ...] = (),
) -> None:
    """The same with shapes by the file's names. Raises `ModelError` with the first differences."""
    part = {
        name: info
        for name, info in header.tensors.items()
        if name.startswith(prefix) and (prefix or not name.startswith(elsewhere))
    }
    found = tensor_differences(part, expected, besides)
    if found:
        more = f" and {len(found) - _SHOWN} more" if found[_SHOWN:] else ""
        raise ModelError(
            f"{header.path}: doesn't hold the tensors that its sizes ask for: "
            f"{'; '.join(found[:_SHOWN])}{more}"
        )
