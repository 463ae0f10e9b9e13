"""The files of the miniature, and what is known of it without loading it."""

import hashlib
from pathlib import Path

FOLDER = Path(__file__).parent / "weights"
TRANSFORMER_FILE = "transformer.safetensors"
TEXT_ENCODER_FILE = "text_encoder.safetensors"
VAE_FILE = "vae_factors.safetensors"
TOKENIZER_FILE = "tokenizer.json"

CAUSAL = True
CAPTION_CHANNELS = 128
BLOCKS = 4


def identity() -> str:
    """Names the weights: the first 16 hex digits of a digest of the shipped files."""
    digest = hashlib.sha256()
    for name in (TRANSFORMER_FILE, TEXT_ENCODER_FILE, VAE_FILE, TOKENIZER_FILE):
        digest.update((FOLDER / name).read_bytes())
    return digest.hexdigest()[:16]
