"""The files of the second miniature, and what is known of it without loading it."""

import hashlib
from pathlib import Path

MINIATURE = "LTX2_MINIATURE"
"""Its name as a `model_source`."""

FOLDER = Path(__file__).parent / "weights"
TRANSFORMER_FILE = "transformer.safetensors"
CONNECTORS_FILE = "connectors.safetensors"
TEXT_ENCODER_FILE = "text_encoder.safetensors"
AUDIO_FACTORS_FILE = "audio_vae_factors.safetensors"
AUDIO_DECODER_FILE = "audio_decoder.safetensors"
TOKENIZER_FILE = "tokenizer.json"
FILES = (
    TRANSFORMER_FILE,
    CONNECTORS_FILE,
    TEXT_ENCODER_FILE,
    AUDIO_FACTORS_FILE,
    AUDIO_DECODER_FILE,
    TOKENIZER_FILE,
)

HEADS = 4
HEAD_WIDTH, AUDIO_HEAD_WIDTH = 64, 32
WIDTH, AUDIO_WIDTH = HEADS * HEAD_WIDTH, HEADS * AUDIO_HEAD_WIDTH
TEXT_ENCODER_WIDTH, TEXT_ENCODER_STATES = 128, 3
TRANSFORMER_CONFIG = {
    "num_layers": 4,
    "num_attention_heads": HEADS,
    "attention_head_dim": HEAD_WIDTH,
    "cross_attention_dim": WIDTH,
    "audio_num_attention_heads": HEADS,
    "audio_attention_head_dim": AUDIO_HEAD_WIDTH,
    "audio_cross_attention_dim": AUDIO_WIDTH,
    "caption_channels": WIDTH,
    "rope_type": "split",
    "rope_double_precision": True,
    "gated_attn": True,
    "audio_gated_attn": True,
    "cross_attn_mod": True,
    "audio_cross_attn_mod": True,
    "use_prompt_embeddings": False,
}
CONNECTORS_CONFIG = {
    "caption_channels": TEXT_ENCODER_WIDTH,
    "text_proj_in_factor": TEXT_ENCODER_STATES,
    "per_modality_projections": True,
    "proj_bias": True,
    "rope_type": "split",
    "video_hidden_dim": WIDTH,
    "video_connector_num_attention_heads": HEADS,
    "video_connector_attention_head_dim": HEAD_WIDTH,
    "video_connector_num_layers": 1,
    "video_gated_attn": True,
    "audio_hidden_dim": AUDIO_WIDTH,
    "audio_connector_num_attention_heads": HEADS,
    "audio_connector_attention_head_dim": AUDIO_HEAD_WIDTH,
    "audio_connector_num_layers": 1,
    "audio_gated_attn": True,
}
CONNECTORS_IN_COMFYUI = {
    "connector_num_attention_heads": HEADS,
    "connector_attention_head_dim": HEAD_WIDTH,
    "audio_connector_num_attention_heads": HEADS,
    "audio_connector_attention_head_dim": AUDIO_HEAD_WIDTH,
    "connector_num_layers": 1,
    "connector_apply_gated_attention": True,
}
"""What metadata say of them, from which ComfyUI builds them."""

CONTENT = {
    "load_transformer": "ff725f06a456d8a8f6f87be4c8cbde9f",
    "load_audio_vae": "5170ad40cc4a42b5584dea24841d637e",
    "load_text_encoder": "e802599f3d04c55221dd5417da13c270",
}
"""What names the weights of each part in any file, by what loads it: written down, so that none is loaded to
know it. A test computes it."""


def identity() -> str:
    """Names the weights: the first 16 hex digits of a digest of the shipped files."""
    digest = hashlib.sha256()
    for name in FILES:
        digest.update((FOLDER / name).read_bytes())
    return digest.hexdigest()[:16]
