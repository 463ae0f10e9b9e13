"""Names and shapes of an LTX-Video 0.9.x transformer's tensors, by diffusers' names. No torch."""

from ..tensor_shapes import Config, Shapes, attention, linear, modulation

_ROWS = 6
"""Of modulation in a block: shift, scale and gate of attention and of the feed-forward layers."""
_FEED_FORWARD = 4


def transformer_shapes(config: Config) -> dict[str, tuple[int, ...]]:
    """Shapes by name.

    Args:
        config: diffusers' configuration, with all options of `versions.TRANSFORMER_2B`.
    """
    return dict(_all(config))


def _all(config: Config) -> Shapes:
    width = config["num_attention_heads"] * config["attention_head_dim"]
    yield "scale_shift_table", (2, width)
    yield from linear("proj_in", config["in_channels"], width)
    yield from linear("proj_out", width, config["out_channels"])
    yield from modulation("time_embed", width, _ROWS)
    yield from linear("caption_projection.linear_1", config["caption_channels"], width)
    yield from linear("caption_projection.linear_2", width, width)
    block = dict(_block(width, config["cross_attention_dim"]))
    for number in range(config["num_layers"]):
        for name, shape in block.items():
            yield f"transformer_blocks.{number}.{name}", shape


def _block(width: int, text: int) -> Shapes:
    yield "scale_shift_table", (_ROWS, width)
    yield from attention("attn1", width, width, width)
    yield from attention("attn2", width, text, width)
    yield from linear("ff.net.0.proj", width, _FEED_FORWARD * width)
    yield from linear("ff.net.2", _FEED_FORWARD * width, width)
