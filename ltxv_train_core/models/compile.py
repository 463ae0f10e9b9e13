import importlib.util
import shutil

from ..events import Notice, Reporter
from .transformer import Transformer

# Blocks that are compiled one by one overwrite each other's results in CUDA graphs when they sample,
# compute activations again or accumulate gradients (pytorch/pytorch#152887, #169545).
_WITHOUT_CUDA_GRAPHS = {
    "reduce-overhead": "default",
    "max-autotune": "max-autotune-no-cudagraphs",
}


def compile_blocks(
    transformer: Transformer, mode: str, report: Reporter, left_out: list[int]
) -> bool:
    """Compiles each block in place, so that parameter names stay as they are.

    Where the device has no compiler, says so and leaves the model alone.

    Args:
        mode: "default", "reduce-overhead" or "max-autotune".
        left_out: numbers of blocks that stay as they are.

    Returns:
        Whether the blocks will be compiled, in the first step.
    """
    missing = _missing_compiler(transformer.device.type)
    if missing:
        report(Notice(f"acceleration.compile_with_inductor has no effect here: {missing}"))
        return False
    for number, block in enumerate(transformer.transformer_blocks):
        if number not in left_out:
            block.compile(mode=_WITHOUT_CUDA_GRAPHS.get(mode, mode))
    report(Notice("compiling the model: the first step takes a minute or more"))
    return True


def _missing_compiler(device_type: str) -> str | None:
    if device_type == "cuda":
        return None if importlib.util.find_spec("triton") else "Triton is not installed"
    if device_type == "cpu":
        found = any(shutil.which(name) for name in ("c++", "g++", "clang++", "cl"))
        return None if found else "there is no C++ compiler"
    return f"torch.compile is not used on {device_type}"
