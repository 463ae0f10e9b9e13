"""Where a model comes from and its three parts: transformer, video codec, text encoder."""
