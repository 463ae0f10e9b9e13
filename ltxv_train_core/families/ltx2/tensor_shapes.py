"""Names and shapes of an LTX-2.x transformer's tensors, by diffusers' names. No torch."""

from ..tensor_shapes import Config, Shapes, attention, linear, modulation

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
        yield from linear(f"{stream}proj_in", given, wide)
        yield from linear(f"{stream}proj_out", wide, made)
        yield from modulation(f"{stream}time_embed", wide, rows)
        if config[f"{stream}cross_attn_mod"] and config["use_prompt_adaln_single"]:
            yield from modulation(f"{stream}prompt_adaln", wide, 2)
        if config["use_prompt_embeddings"]:
            yield from linear(
                f"{stream}caption_projection.linear_1", config["caption_channels"], wide
            )
            yield from linear(f"{stream}caption_projection.linear_2", wide, wide)
    yield from modulation("av_cross_attn_video_scale_shift", width, 4)
    yield from modulation("av_cross_attn_audio_scale_shift", audio_width, 4)
    yield from modulation("av_cross_attn_video_a2v_gate", width, 1)
    yield from modulation("av_cross_attn_audio_v2a_gate", audio_width, 1)
    if config["use_keyframes_abs_pos_embedding"]:
        yield "keyframes_abs_pos_embedding", (1, width)
    block = dict(_block(config, width, audio_width))
    for number in range(config["num_layers"]):
        for name, shape in block.items():
            yield f"transformer_blocks.{number}.{name}", shape


def _block(config: Config, width: int, audio_width: int) -> Shapes:
    heads = config["audio_num_attention_heads"]
    gates, audio_gates = (
        config[f"{stream}num_attention_heads"] if config[f"{stream}gated_attn"] else None
        for stream in ("", "audio_")
    )
    for stream, wide, text, own in (
        ("", width, config["cross_attention_dim"], gates),
        ("audio_", audio_width, config["audio_cross_attention_dim"], audio_gates),
    ):
        rows = 9 if config[f"{stream}cross_attn_mod"] else 6
        yield f"{stream}scale_shift_table", (rows, wide)
        if config[f"{stream}cross_attn_mod"]:
            yield f"{stream}prompt_scale_shift_table", (2, wide)
        yield from attention(f"{stream}attn1", wide, wide, wide, own)
        yield from attention(f"{stream}attn2", wide, text, wide, own)
        inner, bias = _FEED_FORWARD * wide, config[f"{stream}ff_bias"]
        yield from linear(f"{stream}ff.net.0.proj", wide, inner, bias)
        yield from linear(f"{stream}ff.net.2", inner, wide, bias)
    yield "video_a2v_cross_attn_scale_shift_table", (5, width)
    yield "audio_a2v_cross_attn_scale_shift_table", (5, audio_width)
    # In attention between the streams all heads are the sound's.
    yield from attention(
        "audio_to_video_attn", width, audio_width, audio_width, heads if gates else None
    )
    yield from attention("video_to_audio_attn", audio_width, width, audio_width, audio_gates)


def _width(config: Config, stream: str) -> int:
    heads: int = config[f"{stream}num_attention_heads"]
    width: int = heads * config[f"{stream}attention_head_dim"]
    return width
