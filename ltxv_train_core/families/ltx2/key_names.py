"""Tensor names of LTX-2.x in diffusers and in its published files, which ComfyUI reads.

The only place that knows them: detection, LoRA files and exports build on it.
"""

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
_DIFFUSERS = {theirs: ours for ours, theirs in _COMFY.items()}


def comfy_name(name: str) -> str:
    """ComfyUI's name of a transformer module or tensor, from diffusers' name; no prefix."""
    return ".".join(_COMFY.get(part, part) for part in name.split("."))


def diffusers_name(name: str) -> str:
    """diffusers' name of a transformer module or tensor, from ComfyUI's name without prefix."""
    return ".".join(_DIFFUSERS.get(part, part) for part in name.split("."))
