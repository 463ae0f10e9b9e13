"""A block of an LTX-2.x transformer, in ComfyUI's order, on the layers of diffusers.

ComfyUI lets the sound attend to the video as it is after the video has attended to the sound; diffusers takes
the video from before. Cheap operations are recomputed in backward, see `models/memory/recompute.py`.

Shapes: B batch, M tokens of a stream, T timesteps that differ (see `models/memory/recompute.py`), L text tokens,
D width of the stream.
"""

# torch.autograd.Function has no types.
# mypy: allow-untyped-calls

from dataclasses import dataclass, replace
from types import MethodType
from typing import TYPE_CHECKING, Any

import torch.nn.functional as F
from torch import Tensor

from ...models.linear import product, products
from ...models.memory.recompute import Gated, Modulated, RotaryNorm, note_invertible
from ..self_attention import is_left_out
from .rotation import Rotation

if TYPE_CHECKING:
    from diffusers import LTX2VideoTransformer3DModel

Row = tuple[Tensor, Tensor]
"""A row of a block's table [D] and what timesteps add to it [B, T, D]."""


@dataclass(frozen=True)
class CrossContext:
    """What attention between streams sees of one stream beside its tokens.

    Attributes:
        timesteps: [B, T, 4 * D] scales and shifts.
        gate: [B, 1, D] how much the other stream adds.
        rotation: by time alone.
    """

    timesteps: Tensor
    gate: Tensor
    rotation: Rotation


@dataclass(frozen=True)
class StreamContext:
    """What all blocks see beside one stream's tokens.

    Attributes:
        text: [B, L, D].
        text_bias: [B, 1, 1, L] added to the scores of text tokens; None where all count alike.
        timesteps: [B, T, rows * D] of the table of the stream.
        row_of: [B, M] which of the timesteps each token has; None where there is one for all.
        prompt: [B, 1, 2 * D] of the table of its text; None where timesteps don't reach the text.
        rotation: of attention within the stream.
        cross: None where there is no other stream.
    """

    text: Tensor
    text_bias: Tensor | None
    timesteps: Tensor
    row_of: Tensor | None
    prompt: Tensor | None
    rotation: Rotation
    cross: CrossContext | None

    def first(self, count: int) -> "StreamContext":
        """What the first tokens alone see."""
        return replace(self, row_of=None if self.row_of is None else self.row_of[:, :count])


def use_own_forward(transformer: "LTX2VideoTransformer3DModel") -> None:
    """Replaces the forward of every block, in place; before anything else that wraps it."""
    is_split = transformer.config.rope_type == "split"
    for block in transformer.transformer_blocks:
        for attention in block.children():
            if hasattr(attention, "to_q"):
                note_invertible(attention, attention.heads if is_split else None)
        block.forward = MethodType(_block, block)


def _block(
    block: Any,
    video: Tensor | None,
    audio: Tensor | None,
    video_context: StreamContext | None,
    audio_context: StreamContext | None,
    wanted_video: int | None = None,
    wanted_audio: int | None = None,
) -> tuple[Tensor | None, Tensor | None]:
    """The forward of a block: tokens [B, M, D] of both streams, or of one alone.

    Args:
        wanted_video, wanted_audio: how many tokens, the first ones, are needed of the output; None: all.
    """
    if video is None or video_context is None:
        assert audio is not None
        assert audio_context is not None
        return None, _alone(_Layers(block, "audio_"), audio, audio_context, wanted_audio)
    if audio is None or audio_context is None:
        return _alone(_Layers(block, ""), video, video_context, wanted_video), None
    video_layers, audio_layers = _Layers(block, ""), _Layers(block, "audio_")
    video_rows = _rows(video_layers.table, video_context.timesteps)
    video = _attend_within(video_layers, video, video_context, video_rows)
    audio_rows = _rows(audio_layers.table, audio_context.timesteps)
    audio = _attend_within(audio_layers, audio, audio_context, audio_rows)
    video, audio = _attend_across(block, video, audio, video_context, audio_context)
    # Only now: each has attended to all of the other one.
    if wanted_video is not None:
        video, video_context = video[:, :wanted_video], video_context.first(wanted_video)
    if wanted_audio is not None:
        audio, audio_context = audio[:, :wanted_audio], audio_context.first(wanted_audio)
    return (
        _feed_forward(video_layers, video, video_context, video_rows),
        _feed_forward(audio_layers, audio, audio_context, audio_rows),
    )


def _alone(layers: "_Layers", hidden: Tensor, context: StreamContext, wanted: int | None) -> Tensor:
    """What becomes of the one stream that there is."""
    rows = _rows(layers.table, context.timesteps)
    hidden = _attend_within(layers, hidden, context, rows, wanted)
    context = context if wanted is None else context.first(wanted)
    return _feed_forward(layers, hidden, context, rows)


class _Layers:
    """A block's layers of one stream."""

    def __init__(self, block: Any, prefix: str):
        def named(name: str) -> Any:
            return getattr(block, f"{prefix}{name}")

        self.table: Tensor = named("scale_shift_table")
        self.prompt_table: Tensor | None = getattr(block, f"{prefix}prompt_scale_shift_table", None)
        self.attention, self.text_attention = named("attn1"), named("attn2")
        self.feed_forward = named("ff")
        self.eps: float = block.norm1.eps


def _rows(table: Tensor, timesteps: Tensor) -> list[Row]:
    of_timesteps = timesteps.unflatten(-1, (len(table), -1)).unbind(-2)
    return list(zip(table.unbind(), of_timesteps, strict=True))


def _attend_within(
    layers: _Layers,
    hidden: Tensor,
    context: StreamContext,
    rows: list[Row],
    wanted: int | None = None,
) -> Tensor:
    """Attention of a stream to itself, then to its text; for its first tokens alone, where so many are wanted."""
    shift, scale, gate = rows[:3]
    seen = Modulated.apply(hidden, *shift, *scale, context.row_of, layers.eps)
    asking, rotation = seen, context.rotation
    if wanted is not None:
        asking, rotation = seen[:, :wanted], rotation.first(wanted)
        hidden, context = hidden[:, :wanted], context.first(wanted)
    attended = _attend(layers.attention, asking, seen, rotation, context.rotation)
    hidden = Gated.apply(hidden, attended, *gate, context.row_of)

    text, bias = context.text, context.text_bias
    if layers.prompt_table is None:
        seen = RotaryNorm.apply(hidden, None, None, None, layers.eps)
        return hidden + _attend(layers.text_attention, seen, text, bias=bias)
    text_shift, text_scale = layers.prompt_table[None, None].unbind(2)
    if context.prompt is not None:
        added_shift, added_scale = context.prompt.unflatten(-1, (2, -1)).unbind(2)
        text_shift, text_scale = text_shift + added_shift, text_scale + added_scale
    shift, scale, gate = rows[6:]
    seen = Modulated.apply(hidden, *shift, *scale, context.row_of, layers.eps)
    attended = _attend(layers.text_attention, seen, text * (1 + text_scale) + text_shift, bias=bias)
    result: Tensor = Gated.apply(hidden, attended, *gate, context.row_of)
    return result


def _attend_across(
    block: Any,
    video: Tensor,
    audio: Tensor,
    video_context: StreamContext,
    audio_context: StreamContext,
) -> tuple[Tensor, Tensor]:
    """Attention of the video to the sound, then of the sound to the video that it has become."""
    of_video, of_audio = video_context.cross, audio_context.cross
    assert of_video is not None
    assert of_audio is not None
    video_table = block.video_a2v_cross_attn_scale_shift_table
    audio_table = block.audio_a2v_cross_attn_scale_shift_table
    video_rows = _rows(video_table[:4], of_video.timesteps)
    audio_rows = _rows(audio_table[:4], of_audio.timesteps)
    eps = block.audio_to_video_norm.eps

    def seen(hidden: Tensor, context: StreamContext, rows: list[Row]) -> Tensor:
        scale, shift = rows
        result: Tensor = Modulated.apply(hidden, *shift, *scale, context.row_of, eps)
        return result

    attended = _attend(
        block.audio_to_video_attn,
        seen(video, video_context, video_rows[:2]),
        seen(audio, audio_context, audio_rows[:2]),
        of_video.rotation,
        of_audio.rotation,
    )
    video = Gated.apply(video, attended, video_table[4], of_video.gate, None)
    attended = _attend(
        block.video_to_audio_attn,
        seen(audio, audio_context, audio_rows[2:]),
        seen(video, video_context, video_rows[2:]),
        of_audio.rotation,
        of_video.rotation,
    )
    return video, Gated.apply(audio, attended, audio_table[4], of_audio.gate, None)


def _feed_forward(
    layers: _Layers, hidden: Tensor, context: StreamContext, rows: list[Row]
) -> Tensor:
    shift, scale, gate = rows[3:6]
    seen = Modulated.apply(hidden, *shift, *scale, context.row_of, layers.eps)
    activation, _, last = layers.feed_forward.net
    made = product(last, activation.gelu(product(activation.proj, seen)))
    result: Tensor = Gated.apply(hidden, made, *gate, context.row_of)
    return result


def _attend(
    attention: Any,
    hidden: Tensor,
    seen: Tensor,
    rotation: Rotation | None = None,
    seen_rotation: Rotation | None = None,
    bias: Tensor | None = None,
) -> Tensor:
    if is_left_out(attention):
        found = product(attention.to_v, seen).unflatten(2, (attention.heads, -1))[
            :, : hidden.shape[1]
        ]
    else:
        if hidden is seen:
            query, key, value = products([attention.to_q, attention.to_k, attention.to_v], seen)
        else:
            query = product(attention.to_q, hidden)
            key, value = products([attention.to_k, attention.to_v], seen)
        query = _turned(attention.norm_q, query, rotation)
        key = _turned(attention.norm_k, key, seen_rotation)
        query, key, value = (
            tensor.unflatten(2, (attention.heads, -1)).transpose(1, 2)
            for tensor in (query, key, value)
        )
        found = F.scaled_dot_product_attention(query, key, value, attn_mask=bias).transpose(1, 2)
    if attention.to_gate_logits is not None:
        found = found * (2 * product(attention.to_gate_logits, hidden).sigmoid())[..., None]
    return product(attention.to_out[0], found.flatten(2))


def _turned(norm: Any, x: Tensor, rotation: Rotation | None) -> Tensor:
    cos, sin, halves = (
        (rotation.cos, rotation.sin, rotation.halves) if rotation else (None, None, None)
    )
    result: Tensor = RotaryNorm.apply(
        x, norm.weight, cos, sin, norm.eps, halves, norm.is_invertible
    )
    return result
