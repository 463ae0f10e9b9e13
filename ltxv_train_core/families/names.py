"""Names of a model's parts, and of streams and texts' tensors in batches and on disk. No torch."""

VIDEO = "video"
PROMPT = "prompt_embeds"

TRANSFORMER, VAE, TEXT_ENCODER = "transformer", "vae", "text_encoder"
