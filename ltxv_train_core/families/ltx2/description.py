"""What a published file says of its LTX-2.x model, and diffusers' words for it.

Sizes come from the tensors; what doesn't show in them is in the metadata `config` (JSON with the parts
"transformer", "vae", "audio_vae", "vocoder"), from which ComfyUI builds the model as well. No torch.
"""

import json
from collections.abc import Mapping
from typing import Any

from ...errors import ModelError, shown
from ...formats.tensors import MOST_LAYERS, require_sizes
from ...storage.safetensors_header import TensorInfo

Config = Mapping[str, Any]

_ROPE = {"split", "interleaved"}
_CAPTION = "caption_projection.linear_1.weight"
_KEYFRAMES = "keyframes_abs_pos_embedding"
_BLOCK = "transformer_blocks.0."


def diffusers_config(part: Mapping[str, TensorInfo], described: Config) -> dict[str, Any]:
    """diffusers' configuration of a transformer in a file.

    Args:
        part: its tensors by diffusers' names.
        described: what the file's metadata say of the transformer.

    Raises:
        ModelError: the description is missing, or of a model that ComfyUI samples in another way.
    """
    if not described:
        raise ModelError(
            "it has no metadata `config` with a part `transformer`, as files of LTX-2.x are published; "
            "without it neither this program nor ComfyUI knows its sizes"
        )
    _require_known(described)
    heads, audio_heads = (
        described.get(f"{stream}num_attention_heads", 32) for stream in ("", "audio_")
    )
    require_sizes(heads, audio_heads)
    width, channels = part["proj_in.weight"].shape
    audio_width, audio_channels = part["audio_proj_in.weight"].shape
    blocks = {name.split(".")[1] for name in part if name.startswith("transformer_blocks.")}
    require_sizes(len(blocks), largest=MOST_LAYERS)
    limits = described.get("positional_embedding_max_pos", [20, 2048, 2048])
    rows = part[f"{_BLOCK}scale_shift_table"].shape[0]
    has_caption = _CAPTION in part
    return {
        "in_channels": channels,
        "out_channels": part["proj_out.weight"].shape[0],
        "num_attention_heads": heads,
        "attention_head_dim": width // heads,
        "cross_attention_dim": part[f"{_BLOCK}attn2.to_k.weight"].shape[1],
        "audio_in_channels": audio_channels,
        "audio_out_channels": part["audio_proj_out.weight"].shape[0],
        "audio_num_attention_heads": audio_heads,
        "audio_attention_head_dim": audio_width // audio_heads,
        "audio_cross_attention_dim": part[f"{_BLOCK}audio_attn2.to_k.weight"].shape[1],
        "num_layers": len(blocks),
        "caption_channels": part[_CAPTION].shape[1] if has_caption else width,
        "use_prompt_embeddings": has_caption,
        "gated_attn": f"{_BLOCK}attn1.to_gate_logits.weight" in part,
        "audio_gated_attn": f"{_BLOCK}audio_attn1.to_gate_logits.weight" in part,
        "cross_attn_mod": rows == 9,
        "audio_cross_attn_mod": rows == 9,
        "use_prompt_adaln_single": "prompt_adaln.linear.weight" in part,
        "ff_bias": f"{_BLOCK}ff.net.0.proj.bias" in part,
        "audio_ff_bias": f"{_BLOCK}audio_ff.net.0.proj.bias" in part,
        "use_keyframes_abs_pos_embedding": _KEYFRAMES in part,
        "rope_type": described["rope_type"],
        "rope_double_precision": described.get("frequencies_precision") == "float64",
        "rope_theta": described.get("positional_embedding_theta", 10000.0),
        "pos_embed_max_pos": limits[0],
        "base_height": limits[1],
        "base_width": limits[2],
        "audio_pos_embed_max_pos": described.get("audio_positional_embedding_max_pos", [20])[0],
        "timestep_scale_multiplier": described.get("timestep_scale_multiplier", 1000),
        "cross_attn_timestep_scale_multiplier": described.get("av_ca_timestep_scale_multiplier", 1),
    }


def _require_known(described: Config) -> None:
    rope = described.get("rope_type", "interleaved")
    if rope not in _ROPE:
        raise ModelError(f"rope_type {shown(rope)} is not known")
    for name in ("use_middle_indices_grid", "causal_temporal_positioning"):
        if described.get(name) is not True:
            raise ModelError(f"{name} is {shown(described.get(name))}, and only true is trained")


def generation(config: Config) -> str:
    """The generation that a transformer of diffusers' configuration is of."""
    if not config["cross_attn_mod"]:
        return "2.0"
    return "2.3" if config["ff_bias"] else "2.5"


def described_transformer(config: Config) -> dict[str, Any]:
    """The part `transformer` of the metadata that make ComfyUI build the same model.

    Args:
        config: diffusers' configuration, with what it takes for options that are left out.
    """
    has_caption = config["use_prompt_embeddings"]
    described = {
        name: config[name]
        for name in (
            *("in_channels", "out_channels", "num_layers", "num_attention_heads"),
            *("attention_head_dim", "cross_attention_dim", "audio_in_channels"),
            *("audio_out_channels", "audio_num_attention_heads", "audio_attention_head_dim"),
            *("audio_cross_attention_dim", "caption_channels", "rope_type", "ff_bias"),
            *("audio_ff_bias", "use_prompt_adaln_single", "timestep_scale_multiplier"),
        )
    } | {
        "positional_embedding_theta": config["rope_theta"],
        "positional_embedding_max_pos": [
            config["pos_embed_max_pos"],
            config["base_height"],
            config["base_width"],
        ],
        "audio_positional_embedding_max_pos": [config["audio_pos_embed_max_pos"]],
        "av_ca_timestep_scale_multiplier": config["cross_attn_timestep_scale_multiplier"],
        "frequencies_precision": "float64" if config["rope_double_precision"] else "float32",
        "use_middle_indices_grid": True,
        "causal_temporal_positioning": True,
        "apply_gated_attention": config["gated_attn"],
        "cross_attention_adaln": config["cross_attn_mod"],
        "caption_proj_before_connector": not has_caption,
    }
    if not has_caption:
        described["caption_projection_first_linear"] = False
    return described


def as_metadata(parts: Mapping[str, Config]) -> dict[str, str]:
    """The metadata of a file with such parts."""
    return {"format": "pt", "config": json.dumps(dict(parts))}
