"""Measures a case in this process: real training steps on random weights and clips."""

import re
import statistics
import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import accumulate, chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.profiler import ProfilerActivity, profile

from ..datasets.of_run import open_dataset
from ..errors import LTXVTrainError, cut
from ..events import Control, ignore
from ..families.registry import family_named
from ..geometry import VideoSize
from ..gpu_check.random_model import random_model
from ..memory_errors import is_out_of_memory
from ..models.device import free_memory, wait_for
from ..runs.failures import ModelMemoryError
from ..training.distributed import Processes
from ..training.step import StepRunner
from ..training.trainable import load_trainable
from .case import FPS, Case
from .names import ATTENTION
from .random_data import write_random_data

Outcome = Literal["measured", "out of memory", "no such kernel", "failed"]
_NO_KERNEL = re.compile("No available kernel|No viable backend")
"""What torch says where the attention kernel that was asked for can't be used."""


@dataclass(frozen=True)
class Measurement:
    """What a case has given.

    Attributes:
        seconds: of each step.
        peak_bytes: what tensors took at most; 0 where nothing was measured.
        text: why nothing was.
    """

    outcome: Outcome
    seconds: tuple[float, ...] = ()
    peak_bytes: int = 0
    text: str = ""

    @property
    def step_seconds(self) -> float:
        """The median."""
        return statistics.median(self.seconds)


def measured(case: Case, device: torch.device) -> Measurement:
    """Trains for some steps. What a driver or a library raises is the answer."""
    try:
        return _measured(case, device)
    except (Exception, MemoryError) as error:
        if _NO_KERNEL.search(str(error)):
            return Measurement("no such kernel")
        lacks = is_out_of_memory(error) or isinstance(error, ModelMemoryError)
        name = "" if isinstance(error, LTXVTrainError) else f"{type(error).__name__}: "
        text = cut(" ".join(f"{name}{error}".split()), 300)
        return Measurement("out of memory" if lacks else "failed", text=text)
    finally:
        free_memory()


def _measured(case: Case, device: torch.device) -> Measurement:
    model = random_model(family_named(case.family).miniature, case.config)
    with TemporaryDirectory(ignore_cleanup_errors=True) as folder, _attention(case.attention):
        config = case.training_config(Path(folder))
        size = VideoSize.parse(case.size)
        write_random_data(Path(folder), model, size, FPS, case.batch_size)
        runner = StepRunner(
            config,
            config.optimization.steps,
            load_trainable(config, model, device, ignore),
            open_dataset(config),
            Processes(),
            Control(),
            ignore,
        )
        try:
            runner.run()  # warms up: it compiles, and makes the optimizer's state
            steps = [_step(runner, device) for _ in range(case.steps)]
            peak = max(peak for _, peak in steps) if device.type != "cpu" else cpu_peak(runner)
        finally:
            runner.close()
    return Measurement("measured", tuple(seconds for seconds, _ in steps), int(peak))


def _step(runner: StepRunner, device: torch.device) -> tuple[float, float]:
    """Its seconds, and the device's peak in it."""
    began = time.perf_counter()
    done = runner.run()
    wait_for(device)
    assert done is not None
    return time.perf_counter() - began, done.memory_bytes


def cpu_peak(runner: StepRunner) -> int:
    """What tensors take at most in a further step on a CPU, as a device counts it.

    The memory of the process would count libraries, and what was freed and not given back.
    """
    transformer, optimizer = runner.denoiser.transformer, runner.stepper.optimizer
    states = (state.values() for state in optimizer.state.values())
    kept = [*transformer.parameters(), *transformer.buffers(), *chain.from_iterable(states)]
    tensors = [each.untyped_storage() for each in kept if isinstance(each, torch.Tensor)]
    stays = sum({storage.data_ptr(): storage.nbytes() for storage in tensors}.values())
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as found:
        runner.run()
    events = found.profiler.kineto_results.events()
    changes = sorted((e.start_ns(), e.nbytes()) for e in events if e.name() == "[memory]")
    return stays + int(max(accumulate(nbytes for _, nbytes in changes)))


def _attention(name: str) -> AbstractContextManager[Any]:
    """Within it attention has the kernel of this name, or fails."""
    kernel = ATTENTION[name]
    return nullcontext() if kernel is None else sdpa_kernel([getattr(SDPBackend, kernel)])
