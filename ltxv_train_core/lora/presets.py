"""Names for the target modules of a LoRA that are usually taken together."""

_ATTENTION = ("to_k", "to_q", "to_v", "to_out.0")


def _of(*modules: str) -> tuple[str, ...]:
    return tuple(f"{module}.{layer}" for module in modules for layer in _ATTENTION)


TARGET_PRESETS: dict[str, tuple[str, ...]] = {
    "video": _of("attn1", "attn2"),
    "audio": _of("audio_attn1", "audio_attn2"),
    "cross-modal": _of("audio_to_video_attn", "video_to_audio_attn"),
    "all": _ATTENTION,
}
"""Patterns of `lora.target_modules` by the name that stands for them: attention within the video and to its
text, the same of the sound, attention between both, and all attention."""
