"""Names and shapes of an LTX-2.x transformer's tensors, by diffusers' names. No torch.

A file is compared with them before anything is loaded. diffusers' module has the same, and a test holds both
together; but importing it takes three seconds.
"""

from collections.abc import Iterator, Mapping
from typing import Any

Config = Mapping[str, Any]
Shapes = Iterator[tuple[str, tuple[int, ...]]]

_TIMESTEP_CHANNELS = 256
_FEED_FORWARD = 4


def transformer_shapes(config: Config) -> dict[str, tuple[int, ...]]:
    """Shapes by name.

    Args:
        config: diffusers' configuration, with all options that `description.transformer_config` names.
    """
    return dict(_all(config))


def _all(config: Config) -> Shapes:
    width, audio_width = _width(config, ""), _width(config, "audio_")
    video_out, audio_out = config["out_channels"], config["audio_out_channels"]
    for stream, wide, given, made in (
        ("", width, config["in_channels"], video_out),
        ("audio_", audio_width, config["audio_in_channels"], audio_out),
    ):
        rows = 9 if config[f"{stream}cross_attn_mod"] else 6
        yield f"{stream}scale_shift_table", (2, wide)
        yield from _linear(f"{stream}proj_in", given, wide)
        yield from _linear(f"{stream}proj_out", wide, made)
        yield from _modulation(f"{stream}time_embed", wide, rows)
        if config[f"{stream}cross_attn_mod"] and config["use_prompt_adaln_single"]:
            yield from _modulation(f"{stream}prompt_adaln", wide, 2)
        if config["use_prompt_embeddings"]:
            yield from _linear(
                f"{stream}caption_projection.linear_1", config["caption_channels"], wide
            )
            yield from _linear(f"{stream}caption_projection.linear_2", wide, wide)
    yield from _modulation("av_cross_attn_video_scale_shift", width, 4)
    yield from _modulation("av_cross_attn_audio_scale_shift", audio_width, 4)
    yield from _modulation("av_cross_attn_video_a2v_gate", width, 1)
    yield from _modulation("av_cross_attn_audio_v2a_gate", audio_width, 1)
    if config["use_keyframes_abs_pos_embedding"]:
        yield "keyframes_abs_pos_embedding", (1, width)
    block = dict(_block(config, width, audio_width))
    for number in range(config["num_layers"]):
        for name, shape in block.items():
            yield f"transformer_blocks.{number}.{name}", shape


def _block(config: Config, width: int, audio_width: int) -> Shapes:
    heads, audio_heads = config["num_attention_heads"], config["audio_num_attention_heads"]
    gated, audio_gated = config["gated_attn"], config["audio_gated_attn"]
    for stream, wide, count, text, gates in (
        ("", width, heads, config["cross_attention_dim"], gated),
        ("audio_", audio_width, audio_heads, config["audio_cross_attention_dim"], audio_gated),
    ):
        rows = 9 if config[f"{stream}cross_attn_mod"] else 6
        yield f"{stream}scale_shift_table", (rows, wide)
        if config[f"{stream}cross_attn_mod"]:
            yield f"{stream}prompt_scale_shift_table", (2, wide)
        yield from _attention(f"{stream}attn1", wide, wide, wide, count, gates)
        yield from _attention(f"{stream}attn2", wide, text, wide, count, gates)
        inner, bias = _FEED_FORWARD * wide, config[f"{stream}ff_bias"]
        yield from _linear(f"{stream}ff.net.0.proj", wide, inner, bias)
        yield from _linear(f"{stream}ff.net.2", inner, wide, bias)
    yield "video_a2v_cross_attn_scale_shift_table", (5, width)
    yield "audio_a2v_cross_attn_scale_shift_table", (5, audio_width)
    between = audio_width
    yield from _attention("audio_to_video_attn", width, audio_width, between, audio_heads, gated)
    yield from _attention(
        "video_to_audio_attn", audio_width, width, between, audio_heads, audio_gated
    )


def _attention(name: str, width: int, seen: int, inner: int, heads: int, gated: bool) -> Shapes:
    for norm in ("norm_q", "norm_k"):
        yield f"{name}.{norm}.weight", (inner,)
    yield from _linear(f"{name}.to_q", width, inner)
    yield from _linear(f"{name}.to_k", seen, inner)
    yield from _linear(f"{name}.to_v", seen, inner)
    yield from _linear(f"{name}.to_out.0", inner, width)
    if gated:
        yield from _linear(f"{name}.to_gate_logits", width, heads)


def _modulation(name: str, width: int, rows: int) -> Shapes:
    embedder = f"{name}.emb.timestep_embedder"
    yield from _linear(f"{embedder}.linear_1", _TIMESTEP_CHANNELS, width)
    yield from _linear(f"{embedder}.linear_2", width, width)
    yield from _linear(f"{name}.linear", width, rows * width)


def _linear(name: str, inputs: int, outputs: int, bias: bool = True) -> Shapes:
    yield f"{name}.weight", (outputs, inputs)
    if bias:
        yield f"{name}.bias", (outputs,)


def _width(config: Config, stream: str) -> int:
    heads: int = config[f"{stream}num_attention_heads"]
    width: int = heads * config[f"{stream}attention_head_dim"]
    return width
