"""Nodes that load, make and inspect LoRA files, and sample with a reference."""
