"""What a run needs to resume at a step: taken from memory, and put back."""

import torch

from ..errors import shown
from ..events import Notice, Reporter
from ..models.sharded import part_of, whole
from ..storage.tensors import is_finite
from .checkpoint import CheckpointError, TrainingState
from .step import StepRunner

MOST_SAMPLES_PER_STEP = 100_000


def training_state(runner: StepRunner, data: str) -> TrainingState:
    """The state after the last whole step.

    Args:
        data: the data set's fingerprint: a position in another one means nothing.
    """
    parameters = runner.denoiser.transformer.named_parameters()
    rates = _rates(runner)
    return TrainingState(
        step=runner.step,
        weights=whole({name: p for name, p in parameters if p.requires_grad}),
        state={
            **({} if rates is None else {"rates": rates}),
            "mover": runner.stepper.state_dict(),  # the name that earlier versions wrote
            "batches": runner.position,
            "optimizer_type": runner.config.optimization.optimizer_type,
            "data": data,
        },
    )


def load_state(
    runner: StepRunner, saved: TrainingState, data: str, new_schedule: bool, report: Reporter
) -> None:
    """Puts a saved state into a run.

    Args:
        new_schedule: begin this run's schedule, learning rate and average.

    Raises:
        CheckpointError: it is of a run that trains other layers.
        KeyError, TypeError, ValueError, RuntimeError: it is damaged.
    """
    if saved.step > runner.steps:
        raise ValueError(f"it is of step {saved.step}, and the run has {runner.steps}")
    parameters = dict(runner.denoiser.transformer.named_parameters())
    trained = {name: p.shape for name, p in parameters.items() if p.requires_grad}
    if trained != {name: value.shape for name, value in saved.weights.items()}:
        raise CheckpointError(
            f"the checkpoint of step {saved.step} has other trained layers than this run: "
            "lora.rank, lora.adapter, lora.target_modules, lora.layer_rules and model.training_mode must be those of the run "
            "that it continues"
        )
    broken = [name for name, value in saved.weights.items() if not is_finite(value)]
    if broken:
        raise ValueError(f"{broken[0]} holds NaN or infinite numbers")
    with torch.no_grad():
        for name, value in saved.weights.items():
            parameters[name].copy_(part_of(value, parameters[name]))
    if saved.state["optimizer_type"] != runner.config.optimization.optimizer_type:
        report(Notice("optimizer_type changed: optimizer state is reset"))
        runner.stepper.begin_average()
    elif _groups(saved.state.get("rates"), len(trained)) != _groups(_rates(runner), len(trained)):
        report(Notice("learning rates of other layers than before: optimizer state is reset"))
        runner.stepper.begin_average()
    else:
        runner.stepper.load_state_dict(saved.state["mover"], new_schedule)
    if saved.state["data"] == data:
        runner.batches.load_state_dict(_position(saved, runner))
    runner.position = runner.batches.state_dict()
    runner.step = saved.step


def _rates(runner: StepRunner) -> list[float] | None:
    """What the learning rate of each parameter is multiplied with; None where it is 1, as in earlier versions."""
    rates = runner.trainable.rates
    return None if set(rates) <= {1.0} else rates


def _groups(rates: list[float] | None, count: int) -> list[int]:
    """The number of each parameter's group in the optimizer."""
    order = sorted(set(rates or ()))
    return [order.index(rate) for rate in rates] if rates else [0] * count


def _position(saved: TrainingState, runner: StepRunner) -> dict[str, int]:
    """Where in the data a checkpoint stands. Raises `ValueError` where it can't have come."""
    position = saved.state["batches"]
    if "samples" in position:
        taken, unit = position["samples"], 1
    else:  # earlier versions counted the batches of each process
        taken, unit = position["consumed"], runner.batches.samples_at_once
    if type(taken) is not int or not 0 <= taken * unit <= saved.step * MOST_SAMPLES_PER_STEP:
        raise ValueError(
            f"it is at {shown(taken)} in the data, which {saved.step} steps can't reach"
        )
    return {"samples": taken * unit}
