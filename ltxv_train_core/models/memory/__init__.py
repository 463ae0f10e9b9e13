"""How a model fits into memory: offloading, quantization, 8-bit floats, recomputing."""
