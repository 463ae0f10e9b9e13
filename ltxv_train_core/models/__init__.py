"""Where a model comes from and its three parts: transformer, VAE, text encoder."""
