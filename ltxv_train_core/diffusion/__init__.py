"""Flow matching: where tokens are, how noisy training samples are, and how videos are sampled."""
