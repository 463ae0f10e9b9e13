"""The names of the checks, in their order: what takes longest comes last. No torch."""

NAMES = (
    *("step", "fp16", "checkpointing", "offloading", "quantization", "optimizers"),
    *("8-bit-text-encoder", "decoding", "out-of-memory", "memory-goes-back", "run", "compilation"),
)
