import importlib.util
import shutil
from collections.abc import Sequence

from ..config import AccelerationConfig
from ..events import Notice, Reporter
from .transformer import Transformer

# Blocks that are compiled one by one overwrite each other's results in CUDA graphs when they sample,
# compute activations again or accumulate gradients (pytorch/pytorch#152887, #169545).
_WITHOUT_CUDA_GRAPHS = {
    "reduce-overhead": "default",
    "max-autotune": "max-autotune-no-cudagraphs",
}


DEFAULT_MODE = AccelerationConfig.model_fields["compilation_mode"].default
LEAST_STEPS = 200
"""A GPU compiles for a minute or more and then saves a quarter of a step that takes about a second."""


def compile_blocks(
    transformer: Transformer,
    options: AccelerationConfig,
    steps: int,
    report: Reporter,
    left_out: Sequence[int] = (),
) -> bool:
    """Compiles each block in place, so that parameter names stay as they are.

    Where the device has no compiler, says so and leaves the model alone. So it does where compiling costs
    more time than it saves, unless a mode was chosen.

    Args:
        steps: of the run.
        left_out: numbers of blocks that stay as they are.

    Returns:
        Whether the blocks will be compiled, in the first step.
    """
    if not options.compile_with_inductor:
        return False
    device = transformer.device.type
    if options.compilation_mode == DEFAULT_MODE and (reason := _does_not_pay(device, steps)):
        report(
            Notice(
                f"the model is not compiled: {reason}. Choose a compilation_mode other than "
                f"{DEFAULT_MODE} to compile it nonetheless"
            )
        )
        return False
    if missing := _missing_compiler(device):
        report(Notice(f"acceleration.compile_with_inductor has no effect here: {missing}"))
        return False
    mode = options.compilation_mode
    for number, block in enumerate(transformer.transformer_blocks):
        if number not in left_out:
            block.compile(mode=_WITHOUT_CUDA_GRAPHS.get(mode, mode))
    report(Notice("compiling the model: the first step takes a minute or more"))
    return True


def _does_not_pay(device_type: str, steps: int) -> str | None:
    if device_type == "cpu":
        return "on a CPU it takes longer than it saves"
    if steps < LEAST_STEPS:
        return f"a run of {steps} steps ends before it pays, at about {LEAST_STEPS}"
    return None


def _missing_compiler(device_type: str) -> str | None:
    if device_type == "cuda":
        return None if importlib.util.find_spec("triton") else "Triton is not installed"
    if device_type == "cpu":
        found = any(shutil.which(name) for name in ("c++", "g++", "clang++", "cl"))
        return None if found else "there is no C++ compiler"
    return f"torch.compile is not used on {device_type}"
