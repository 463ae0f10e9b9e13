"""Names of a model's parts, and of streams, their roles and texts' tensors in batches and on disk. No torch."""

VIDEO, AUDIO = "video", "audio"

LATENTS, REFERENCE, MASK = "latents", "reference", "mask"
"""Roles of a stream's tensors: what is denoised, what it follows, and where it is to be generated."""

PROMPT = "prompt_embeds"
VIDEO_TEXT, AUDIO_TEXT = "video_text", "audio_text"

TRANSFORMER_PREFIX = "model.diffusion_model."
"""Before a transformer's names in ComfyUI's files, whatever the family."""

TRANSFORMER, VAE, AUDIO_VAE, TEXT_ENCODER = "transformer", "vae", "audio_vae", "text_encoder"
CONNECTORS = "connectors"
"""What a text encoder's features go through before the transformer reads them."""
TEXT_PROJECTION = "text_projection"
"""What makes such features of a text encoder's hidden states."""
VOCODER = "vocoder"
