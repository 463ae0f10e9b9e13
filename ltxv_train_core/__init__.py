"""Training core for LTX-Video LoRAs. Knows nothing of ComfyUI; importing it loads no torch."""

__version__ = "0.1.0"
