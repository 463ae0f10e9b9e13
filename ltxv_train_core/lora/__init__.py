"""LoRA: put into the transformer, written to and read from files."""
