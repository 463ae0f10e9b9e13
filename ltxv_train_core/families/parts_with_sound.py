"""What a file of LTX-2.x without a transformer holds, by names of tensors."""

from ..storage.safetensors_header import Header
from .ltx2.formats import NAME as LTX2
from .video_vaes import family_of_vae

_GEMMA = (
    "model.layers.0.pre_feedforward_layernorm.weight",
    "model.layers.0.self_attn.q_norm.weight",
)
_VAE = "encoder.conv_in.conv.weight"


def parts_with_sound(header: Header) -> str | None:
    """The parts of LTX-2.x in a file, in words; None where it has none that only LTX-2.x has."""
    names = header.tensors
    found = []
    for prefix in ("vae.", ""):
        if f"{prefix}{_VAE}" in names and family_of_vae(header.below(prefix)) == LTX2:
            found.append("video VAE")
    for part, sign in (("audio VAE", "audio_vae.encoder."), ("vocoder", "vocoder.")):
        if any(name.startswith(sign) for name in names):
            found.append(part)
    if all(any(name.endswith(sign) for name in names) for sign in _GEMMA):
        found.append("Gemma text encoder")
    if any(name.startswith("text_embedding_projection.") for name in names):
        found.append("text projection")
    return f"of LTX-2 without a transformer: {', '.join(found)}" if found else None
