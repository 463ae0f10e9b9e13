"""The layers of LTX-2.x's transformer, and their names in its published files, which ComfyUI reads."""

import re
from collections.abc import Mapping
from typing import Any

from ..layers import TransformerLayers
from ..names import AUDIO, VIDEO
from .tensor_shapes import transformer_shapes

CONNECTOR_PREFIXES = ("video_embeddings_connector.", "audio_embeddings_connector.")
"""Of the connectors' names in published files, behind the transformer's prefix."""

_COMFY = {
    "proj_in": "patchify_proj",
    "audio_proj_in": "audio_patchify_proj",
    "time_embed": "adaln_single",
    "audio_time_embed": "audio_adaln_single",
    "prompt_adaln": "prompt_adaln_single",
    "audio_prompt_adaln": "audio_prompt_adaln_single",
    "av_cross_attn_video_scale_shift": "av_ca_video_scale_shift_adaln_single",
    "av_cross_attn_video_a2v_gate": "av_ca_a2v_gate_adaln_single",
    "av_cross_attn_audio_scale_shift": "av_ca_audio_scale_shift_adaln_single",
    "av_cross_attn_audio_v2a_gate": "av_ca_v2a_gate_adaln_single",
    "video_a2v_cross_attn_scale_shift_table": "scale_shift_table_a2v_ca_video",
    "audio_a2v_cross_attn_scale_shift_table": "scale_shift_table_a2v_ca_audio",
    "norm_q": "q_norm",
    "norm_k": "k_norm",
}


def _new_transformer(config: Mapping[str, object]) -> Any:
    from diffusers import LTX2VideoTransformer3DModel

    return LTX2VideoTransformer3DModel.from_config(dict(config))


_RICHEST: Mapping[str, object] = {
    **dict.fromkeys(
        (
            *("gated_attn", "audio_gated_attn", "cross_attn_mod", "audio_cross_attn_mod"),
            *("use_prompt_embeddings", "use_prompt_adaln_single", "ff_bias", "audio_ff_bias"),
        ),
        True,
    ),
    "use_keyframes_abs_pos_embedding": False,
    **dict.fromkeys(("in_channels", "out_channels"), 128),
    **dict.fromkeys(("audio_in_channels", "audio_out_channels"), 128),
    **dict.fromkeys(("num_attention_heads", "audio_num_attention_heads"), 32),
    "attention_head_dim": 128,
    "audio_attention_head_dim": 64,
    "cross_attention_dim": 4096,
    "audio_cross_attention_dim": 2048,
    "caption_channels": 3840,
}
"""In sizes of the published models; a version has some of these layers or all."""


LAYERS = TransformerLayers(
    tensor_names=(
        "transformer_blocks.",
        "keyframes_abs_pos_embedding",
        "av_cross_attn_",
        *(
            f"{stream}{name}"
            for stream in ("", "audio_")
            for name in (
                *("proj_in.", "proj_out.", "time_embed.", "prompt_adaln.", "caption_projection."),
                "scale_shift_table",
            )
        ),
    ),
    comfy=_COMFY,
    most_blocks=48,
    new_transformer=_new_transformer,
    shapes=transformer_shapes,
    richest=_RICHEST,
    other_parts=CONNECTOR_PREFIXES,
    alone={
        VIDEO: re.compile(r"(?!.*(audio|av_cross))"),
        AUDIO: re.compile(r"(?:.*\.)?audio_(?!to_video_|a2v_)"),
    },
)
