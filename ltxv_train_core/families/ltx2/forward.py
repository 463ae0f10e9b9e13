"""The forward pass of an LTX-2.x transformer as ComfyUI's sampler makes it, on the layers of diffusers.

Two things differ from diffusers' own: the order of attention between the streams (see `block.py`), and the
gates of that attention, which take the largest timestep of the other stream, sample by sample.

Shapes: B batch, M tokens of a stream, N of them without a reference's, T levels that differ, C channels, D width
of a stream.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ...models.memory.recompute import per_token
from ..base import StreamInput, Text
from ..names import AUDIO, AUDIO_TEXT, VIDEO, VIDEO_TEXT
from .block import CrossContext, StreamContext
from .rotation import Rotation, rotation

if TYPE_CHECKING:
    from diffusers import LTX2VideoTransformer3DModel

_TEXTS = {VIDEO: VIDEO_TEXT, AUDIO: AUDIO_TEXT}
_OTHER = {VIDEO: AUDIO, AUDIO: VIDEO}


def velocities(
    transformer: "LTX2VideoTransformer3DModel",
    inputs: Mapping[str, StreamInput],
    text: Text,
    dtype: torch.dtype,
) -> dict[str, Tensor]:
    """Predicted velocities [B, N, C] of the streams that are there: video, sound, or both.

    Args:
        text: as the connectors give it, one tensor for each stream.
        dtype: of the transformer's weights.
    """
    layers = {name: _StreamLayers(transformer, name) for name in _TEXTS if name in inputs}
    hidden = {name: each.embedded(inputs[name], dtype) for name, each in layers.items()}
    bias = _bias(text, dtype)
    contexts: dict[str, StreamContext] = {}
    outputs: dict[str, Tensor] = {}
    for name, each in layers.items():
        contexts[name], outputs[name] = each.context(
            inputs[name], inputs.get(_OTHER[name]), text.tensors[_TEXTS[name]], bias
        )
    video, audio = hidden.get(VIDEO), hidden.get(AUDIO)
    recomputes = transformer.gradient_checkpointing and torch.is_grad_enabled()
    last = transformer.transformer_blocks[-1]
    for block in transformer.transformer_blocks:
        given: list[Any] = [video, audio, contexts.get(VIDEO), contexts.get(AUDIO)]
        if block is last:
            given += [_without_reference(inputs.get(name)) for name in (VIDEO, AUDIO)]
        video, audio = (
            transformer._gradient_checkpointing_func(block, *given) if recomputes else block(*given)
        )
    seen: dict[str, Any] = {VIDEO: video, AUDIO: audio}
    return {
        name: each.predicted(seen[name], outputs[name], contexts[name].row_of)
        for name, each in layers.items()
    }


class _StreamLayers:
    """The layers of one stream outside the blocks."""

    def __init__(self, transformer: "LTX2VideoTransformer3DModel", stream: str):
        self._transformer, self._stream = transformer, stream
        self._prefix = "" if stream == VIDEO else f"{stream}_"
        self._config = transformer.config

    def embedded(self, seen: StreamInput, dtype: torch.dtype) -> Tensor:
        """The tokens [B, M, D] before the first block."""
        hidden: Tensor = self._layer("proj_in")(seen.tokens.to(dtype))
        if self._stream == VIDEO and self._config.use_keyframes_abs_pos_embedding:
            marked = _in_first_frame(seen)[..., None].to(hidden.dtype)
            hidden = hidden + marked * self._transformer.keyframes_abs_pos_embedding.to(hidden)
        return hidden

    def context(
        self, seen: StreamInput, other: StreamInput | None, text: Tensor, bias: Tensor | None
    ) -> tuple[StreamContext, Tensor]:
        """What the blocks see beside the tokens, and what the output sees of timesteps [B, T, D]."""
        timesteps = seen.level_rows.levels * self._config.timestep_scale_multiplier
        rows, embedded = self._modulation(self._layer("time_embed"), timesteps, text.dtype)
        project = self._layer("caption_projection")
        prompt = self._layer("prompt_adaln")
        if prompt is not None:
            prompt, _ = self._modulation(prompt, timesteps.amax(1, keepdim=True), text.dtype)
        context = StreamContext(
            text=text if project is None else project(text),
            text_bias=bias,
            timesteps=rows,
            row_of=seen.level_rows.row_of,
            prompt=prompt,
            rotation=self._rotation(seen.positions),
            cross=None if other is None else self._cross(seen, other, text.dtype),
        )
        return context, embedded

    def predicted(self, hidden: Tensor, embedded: Tensor, row_of: Tensor | None) -> Tensor:
        """The output [B, N, C] of what the last block gives [B, N, D]."""
        table = self._layer("scale_shift_table")
        row_of = None if row_of is None else row_of[:, : hidden.shape[1]]
        shift, scale = (per_token(row + embedded, row_of) for row in table.unbind())
        velocity: Tensor = self._layer("proj_out")(
            self._layer("norm_out")(hidden) * (1 + scale) + shift
        )
        return velocity

    def _cross(self, seen: StreamInput, other: StreamInput, dtype: torch.dtype) -> CrossContext:
        timesteps = seen.level_rows.levels * self._config.timestep_scale_multiplier
        largest = other.levels.amax(1, keepdim=True)
        layers = f"av_cross_attn_{self._stream}_"
        gate = getattr(
            self._transformer, layers + ("a2v_gate" if self._stream == VIDEO else "v2a_gate")
        )
        rows, _ = self._modulation(
            getattr(self._transformer, layers + "scale_shift"), timesteps, dtype
        )
        gates, _ = self._modulation(
            gate, largest * self._config.cross_attn_timestep_scale_multiplier, dtype
        )
        config = self._config
        limit = max(config.pos_embed_max_pos, config.audio_pos_embed_max_pos)
        width, heads = config.audio_cross_attention_dim, config.audio_num_attention_heads
        turn = _rotation(config, seen.positions[:, :1], (limit,), width, heads)
        return CrossContext(rows, gates, turn)

    def _rotation(self, positions: Tensor) -> Rotation:
        config = self._config
        limits: tuple[float, ...] = (self._option("pos_embed_max_pos"),)
        if self._stream == VIDEO:
            limits = (*limits, config.base_height, config.base_width)
        heads = self._option("num_attention_heads")
        width = heads * self._option("attention_head_dim")
        return _rotation(config, positions, limits, width, heads)

    def _layer(self, name: str) -> Any:
        """A layer or table of this stream; None where the transformer has none."""
        return getattr(self._transformer, f"{self._prefix}{name}", None)

    def _option(self, name: str) -> Any:
        return getattr(self._config, f"{self._prefix}{name}")

    @staticmethod
    def _modulation(layer: Any, timesteps: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """What a layer makes of timesteps [B, T]: rows [B, T, rows * D], and their embedding [B, T, D]."""
        rows, embedded = layer(timesteps.flatten(), hidden_dtype=dtype)
        batch = len(timesteps)
        return rows.unflatten(0, (batch, -1)), embedded.unflatten(0, (batch, -1))


def _rotation(
    config: Any, positions: Tensor, limits: tuple[float, ...], width: int, heads: int
) -> Rotation:
    return rotation(
        positions,
        limits,
        width,
        heads,
        config.rope_theta,
        is_split=config.rope_type == "split",
        is_double=config.rope_double_precision,
    )


def _in_first_frame(seen: StreamInput) -> Tensor:
    """Which tokens [B, M] are of the first latent frame, which holds a single pixel frame."""
    times = seen.positions[:, 0]
    found = times == times.amin(1, keepdim=True)
    if seen.reference_tokens:
        found[:, -seen.reference_tokens :] = False
    return found


def _without_reference(seen: StreamInput | None) -> int | None:
    """How many tokens are not a reference's; None where all are."""
    if seen is None or not seen.reference_tokens:
        return None
    return seen.tokens.shape[1] - seen.reference_tokens


def _bias(text: Text, dtype: torch.dtype) -> Tensor | None:
    """What is added to the scores of text tokens [B, 1, 1, L]."""
    if not text.is_padded:
        return None
    hidden = torch.zeros(text.mask.shape, dtype=dtype, device=text.mask.device)
    return hidden.masked_fill(~text.mask, -torch.inf)[:, None, None]
