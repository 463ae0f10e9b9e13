"""Checks that are runs of the miniature: from clips to a LoRA."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ..config import PreprocessSettings, TrainingConfig, build
from ..errors import Cancelled
from ..events import Control, Event, Notice, Progress, SamplesWritten, StepCompleted
from ..families.ltxv.miniature.datasets import generate
from ..families.open import MINIATURE
from ..jobs.subprocess_trainer import train_in_subprocess
from ..models.device import device_count
from ..preprocessing.preprocess import preprocess
from ..training.trainer import train
from .bench import Bench, Broken, Skipped
from .random_model import LAYER_COUNT

_STOP_SECONDS = 120.0
"""The longest that a stop may take. A program of the compiler that has begun ends first."""
_LIKE = 0.01
"""How far losses of two processes may be from those of one: GPUs add up in another order."""


def whole_run(bench: Bench) -> str:
    """The miniature's way from clips to a LoRA, with samples."""
    samples = {"prompts": ["a red circle"], "video_dims": [64, 64, 9], "inference_steps": 2}
    validation = {**samples, "interval": 3, "skip_initial_validation": True}
    events: list[Event] = []
    with _prepared_run(bench, optimization={"steps": 3}, validation=validation) as config:
        result = train(config, events.append, bench.stop)
        losses = [event.loss for event in events if isinstance(event, StepCompleted)]
        if not any(isinstance(event, SamplesWritten) for event in events):
            told = [e.message for e in events if isinstance(e, Notice) and e.is_problem]
            raise Broken(f"it has no samples: {'; '.join(told)}")
    return f"{result.step} steps and a sample, loss {losses[0]:.3f} to {losses[-1]:.3f}"


def stopping(bench: Bench) -> str:
    """A stop ends a run with offloaded blocks, which resumes then, and a compiler at work."""
    control, steps = Control(), 10_000
    asked = [0.0]

    def stop_within_a_step(event: Event) -> None:
        if isinstance(event, StepCompleted) and event.step == 2:
            threading.Timer(event.step_seconds / 2, stop).start()

    def stop() -> None:
        asked[0] = time.monotonic()
        control.stop()

    offloaded = {
        "optimization": {"steps": steps},
        "acceleration": {"blocks_to_offload": LAYER_COUNT},
    }
    with _prepared_run(bench, **offloaded) as config:
        first = train(config, stop_within_a_step, control)
        seconds = time.monotonic() - asked[0]
        if not 2 <= first.step < steps or seconds > _STOP_SECONDS:
            raise Broken(f"stopped at step {first.step}, {seconds:.0f} s after it was asked")
        again = Control()
        second = train(
            config, lambda e: again.stop() if isinstance(e, StepCompleted) else None, again
        )
        if second.step <= first.step:
            raise Broken(f"resumed from step {first.step}, it stands at {second.step}")
    told = f"a run ends {seconds:.1f} s after the stop and resumes at step {first.step}"
    return f"{told}; {_stopped_compiler(bench)}"


def _stopped_compiler(bench: Bench) -> str:
    stop, asked, told = threading.Event(), [0.0], []

    def report(event: Event) -> None:
        if isinstance(event, Progress) and "compile" in event.phase and not stop.is_set():
            asked[0] = time.monotonic()
            stop.set()
        if isinstance(event, Notice) and "no effect" in event.message:
            told.append(event.message)

    watching = replace(bench, report=report, stop=stop)
    try:
        watching.step(steps=1, compile_with_inductor=True, compilation_mode="default")
    except Cancelled:
        seconds = time.monotonic() - asked[0]
        if seconds > _STOP_SECONDS:
            raise Broken(f"the compiler ended {seconds:.0f} s after the stop") from None
        return f"compiling ends after {seconds:.1f} s"
    if told:
        return told[0]
    raise Broken("a stop did not end compiling")


def lean_full_training(bench: Bench) -> str:
    """With bf16 weights, released gradients and an average on the host every step moves the weights."""
    lean = {"trained_weights": "bf16", "release_gradients": True, "learning_rate": 1e-4}
    host = {"ema_decay": 0.9, "ema_on_host": True, "activations_on_host": True}
    steps = {"steps": 3, "batch_size": 1, "enable_gradient_checkpointing": True}
    model = {"model_source": MINIATURE, "training_mode": "full"}
    with _prepared_run(bench, model=model, optimization=lean | host | steps) as config:
        return f"losses {_shown(_losses(config, train, bench))}"


def several_devices(bench: Bench) -> str:
    """Two processes train the LoRA that one trains with accumulated gradients."""
    count = device_count(bench.device)
    if bench.is_accelerator and count < 2:
        raise Skipped(f"this machine has {count} device of the kind {bench.device.type}")
    of_step = {"steps": 3, "batch_size": 1}
    with _prepared_run(bench, optimization=of_step | {"gradient_accumulation_steps": 2}) as alone:
        losses = _losses(alone, train, bench)
        options = alone.optimization.model_copy(update={"gradient_accumulation_steps": 1})
        folder = str(Path(alone.output_dir).with_name("together"))
        both = alone.model_copy(update={"optimization": options, "output_dir": folder})
        found = _losses(both, partial(train_in_subprocess, processes=2), bench)
    if max(abs(a / b - 1) for a, b in zip(found, losses, strict=True)) > _LIKE:
        raise Broken(f"losses of two processes {found} and of one {losses}")
    return f"losses of two processes {_shown(found)}, of one {_shown(losses)}"


def _losses(config: TrainingConfig, way: Callable[..., Any], bench: Bench) -> list[float]:
    """Of all steps of a run. A run that skips one raises `Broken`."""
    events: list[Event] = []
    way(config, events.append, bench.stop)
    found = [event.loss for event in events if isinstance(event, StepCompleted)]
    wrong = [e.message for e in events if isinstance(e, Notice) and e.is_problem]
    if wrong or len(found) < config.optimization.steps:
        raise Broken(f"it has made {len(found)} steps: {'; '.join(wrong)}")
    return found


def _shown(losses: Sequence[float]) -> str:
    return ", ".join(f"{loss:.4f}" for loss in losses)


@contextmanager
def _prepared_run(bench: Bench, **sections: Any) -> Iterator[TrainingConfig]:
    """The configuration of a run of the miniature, in a folder that is there within the block."""
    with TemporaryDirectory() as folder:
        clips = generate("stripes", Path(folder, "clips"), clips=2, stop=bench.stop)
        settings = PreprocessSettings(clips.metadata, MINIATURE, "64x64x9")
        values = {
            "output_dir": str(Path(folder, "runs")),
            "model": {"model_source": MINIATURE},
            "data": {"preprocessed_data_root": str(preprocess(settings, stop=bench.stop).root)},
            **sections,
        }
        yield build(TrainingConfig, values)
