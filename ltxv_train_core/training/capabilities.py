"""Options that the machine, not the configuration, may be unable to follow."""

import torch

from ..config import TrainingConfig
from ..models.memory.kinds import EIGHT_BIT_KINDS
from ..models.memory.quantize import eight_bit_problem, matmul_problem, quantization_problem
from ..optim.optimizers import optimizer_problem

OF_FP8_FILES = "fp8-quanto"
"""The kind of quantization whose numbers are those of files in fp8."""


def unavailable_here(config: TrainingConfig, device: torch.device) -> list[str]:
    """One line for each option that can't work on a device, with what to choose instead.

    Each is tried on a small tensor: that asks libraries, compilers and drivers alike.
    """
    acceleration = config.acceleration
    found = [optimizer_problem(config.optimization, device)]
    if acceleration.quantization is not None:
        found.append(quantization_problem(acceleration.quantization, device))
    if acceleration.quantized_matmul and acceleration.quantization in (None, *EIGHT_BIT_KINDS):
        found.append(matmul_problem(acceleration.quantization or OF_FP8_FILES, device))
    if acceleration.load_text_encoder_in_8bit and not acceleration.load_text_encoder_in_4bit:
        found.append(eight_bit_problem(device))
    return [line for line in found if line is not None]
