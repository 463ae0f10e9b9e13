"""The base of a model that has an adapter in it."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

from .adapter_modules import AdaptedLinear


@contextmanager
def adapters_off(transformer: nn.Module) -> Iterator[None]:
    """Within it the transformer does what it did before an adapter was added: for passes without gradients."""
    from peft.tuners.lora import LoraLayer  # only here: peft takes seconds to import

    layers = [each for each in transformer.modules() if isinstance(each, LoraLayer | AdaptedLinear)]
    _switch(layers, is_off=True)
    try:
        yield
    finally:
        _switch(layers, is_off=False)


def _switch(layers: list[nn.Module], is_off: bool) -> None:
    for layer in layers:
        if isinstance(layer, AdaptedLinear):
            layer.is_off = is_off
        else:
            layer.enable_adapters(not is_off)  # type: ignore[operator]
