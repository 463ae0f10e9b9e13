"""Self-attention left out of a forward pass, which spatio-temporal guidance leads away from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ..errors import ConfigurationError

if TYPE_CHECKING:
    from torch import Tensor


class _PassValues:
    """A processor of diffusers' attention: each token sees itself alone, so that its value is the result."""

    def __call__(self, attention: Any, hidden_states: Tensor, *others: Any) -> Tensor:
        out: Tensor = attention.to_out[1](attention.to_out[0](attention.to_v(hidden_states)))
        return out


def is_left_out(attention: Any) -> bool:
    """Whether an attention layer passes on its values now."""
    return isinstance(attention.processor, _PassValues)


@contextmanager
def left_out(blocks: Sequence[Any], numbers: Iterable[int], names: Sequence[str]) -> Iterator[None]:
    """Leaves attention layers out of all forward passes within the block.

    Args:
        blocks: of a transformer.
        numbers: of those whose layers are left out.
        names: of their layers.

    Raises:
        ConfigurationError: there are no such blocks.
    """
    wanted = list(numbers)
    if problem := blocks_problem(wanted, len(blocks)):
        raise ConfigurationError([problem])
    layers = [getattr(blocks[number], name) for number in wanted for name in names]
    processors = [layer.processor for layer in layers]
    for layer in layers:
        layer.processor = _PassValues()
    try:
        yield
    finally:
        for layer, processor in zip(layers, processors, strict=True):
            layer.processor = processor


def blocks_problem(numbers: Iterable[int], count: int) -> str | None:
    """What is wrong with numbers of blocks of a transformer that has so many."""
    wrong = [str(number) for number in numbers if not 0 <= number < count]
    if not wrong:
        return None
    return f"there is no block {', '.join(wrong)}: the model has {count}, numbered from 0 to {count - 1}"


def two_thirds(blocks: int) -> int:
    """The number of the block to leave out of a transformer that nobody has published."""
    return blocks * 2 // 3
