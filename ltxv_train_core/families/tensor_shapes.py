"""Names and shapes of the tensors of parts that several families' transformers have, by diffusers' names. No torch.

Files are compared with them before anything is loaded. diffusers' modules have the same, and tests hold both
together; but importing diffusers takes three seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ..formats.tensors import MOST_LAYERS

Config = Mapping[str, Any]
"""diffusers' configuration of a transformer."""
Shapes = Iterator[tuple[str, tuple[int, ...]]]

_TIMESTEP_CHANNELS = 256
_AS_PUBLISHED = {
    "attention_bias": True,
    "attention_out_bias": True,
    "norm_elementwise_affine": False,
    "patch_size": 1,
    "patch_size_t": 1,
    "qk_norm": "rms_norm_across_heads",
}
"""Options that no published model sets, and that would change the tensors."""


def known_shapes(
    table: Callable[[Config], dict[str, tuple[int, ...]]], config: Config
) -> dict[str, tuple[int, ...]] | None:
    """A transformer's tensors by a family's table; None where only diffusers can tell.

    Args:
        config: of a folder, with options that nobody has looked at.
    """
    count = config.get("num_layers")
    if type(count) is not int or not 0 < count <= MOST_LAYERS:
        return None
    if any(config.get(option, usual) != usual for option, usual in _AS_PUBLISHED.items()):
        return None
    try:
        return table(config)
    except (LookupError, TypeError):
        return None


def linear(name: str, inputs: int, outputs: int, bias: bool = True) -> Shapes:
    yield f"{name}.weight", (outputs, inputs)
    if bias:
        yield f"{name}.bias", (outputs,)


def attention(name: str, width: int, seen: int, inner: int, gates: int | None = None) -> Shapes:
    """
    Args:
        width: of the tokens that attend.
        seen: of those that they see.
        inner: of all heads together.
        gates: heads that are gated; None: none are.
    """
    for norm in ("norm_q", "norm_k"):
        yield f"{name}.{norm}.weight", (inner,)
    yield from linear(f"{name}.to_q", width, inner)
    yield from linear(f"{name}.to_k", seen, inner)
    yield from linear(f"{name}.to_v", seen, inner)
    yield from linear(f"{name}.to_out.0", inner, width)
    if gates is not None:
        yield from linear(f"{name}.to_gate_logits", width, gates)


def modulation(name: str, width: int, rows: int) -> Shapes:
    """What becomes of a noise level: so many rows, each of a width."""
    embedder = f"{name}.emb.timestep_embedder"
    yield from linear(f"{embedder}.linear_1", _TIMESTEP_CHANNELS, width)
    yield from linear(f"{embedder}.linear_2", width, width)
    yield from linear(f"{name}.linear", width, rows * width)
