"""The names of the checks, in their order: what takes longest comes last. No torch."""

NAMES = (
    *(
        "step",
        "fp16",
        "checkpointing",
        "activations-on-host",
        "offloading",
        "full-training",
        "lean-full-training",
        "ltx-2",
        "quantization",
        "quantized-matmul",
    ),
    *("optimizers", "8-bit-text-encoder", "sampling", "decoding", "decoding-fallback"),
    *("out-of-memory", "memory-goes-back", "run", "stop", "several-devices", "compilation"),
)
