"""Names of a model's parts, and of streams, their roles and texts' tensors in batches and on disk. No torch."""

VIDEO = "video"

LATENTS, REFERENCE, MASK = "latents", "reference", "mask"
"""Roles of a stream's tensors: what is denoised, what it follows, and where it is to be generated."""

PROMPT = "prompt_embeds"

TRANSFORMER, VAE, TEXT_ENCODER = "transformer", "vae", "text_encoder"
