"""The files of the miniature, and what is known of it without loading it."""

import hashlib
from pathlib import Path

MINIATURE = "LTXV_MINIATURE"
"""Its name as a `model_source`."""

FOLDER = Path(__file__).parent / "weights"
TRANSFORMER_FILE = "transformer.safetensors"
TEXT_ENCODER_FILE = "text_encoder.safetensors"
VAE_FILE = "vae_factors.safetensors"
TOKENIZER_FILE = "tokenizer.json"

CAUSAL = True
CAPTION_CHANNELS = 128
TRANSFORMER_CONFIG = {
    "in_channels": 128,
    "num_layers": 4,
    "num_attention_heads": 4,
    "attention_head_dim": 64,
    "cross_attention_dim": 256,
    "caption_channels": CAPTION_CHANNELS,
}

CONTENT = {
    "load_transformer": "18ec139ce973d24d266e56e60e345d5a",
    "load_vae": "ce09292b657d13d4d920b9756d0991ec",
    "load_text_encoder": "c2681c5a14b933c3df5009289139ed6b",
}
"""What names the weights of each part in any file, by what loads it: written down, so that none is loaded to
know it. A test computes it."""
VAE_CONTENT_IN_COMFYUI = "921611fb8b9c0a6b21bb8fa1a428f1c7"
"""Likewise, of the VAE in the miniature's file for ComfyUI: wider, with zeros, and with the same latents."""


def identity() -> str:
    """Names the weights: the first 16 hex digits of a digest of the shipped files."""
    digest = hashlib.sha256()
    for name in (TRANSFORMER_FILE, TEXT_ENCODER_FILE, VAE_FILE, TOKENIZER_FILE):
        digest.update((FOLDER / name).read_bytes())
    return digest.hexdigest()[:16]
