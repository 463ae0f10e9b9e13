"""Measures the loss of clips that a run never trains on, and how far the model has moved from its base: at the same
noise every time, so that steps compare."""

import math
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

from ..config import TrainingConfig
from ..datasets.dataset import TrainingDataset, collate
from ..diffusion.draws import SampleDraws
from ..events import StopSignal
from ..families.base import Denoiser, Text
from ..runs.held_out_file import HeldOutLosses, Losses
from ..strategies import STRATEGIES, StandardStrategy, StepInputs
from .levels_of_clip import fits_batch, predictions
from .moved import Moved, MovedCase, measure_moved
from .parallel import with_all_parts
from .step import StepRunner

ALL = "all"
LEVELS = (0.1, 0.3, 0.5, 0.7, 0.9)
MOST_SHARE = 0.03
"""Of a run's time, as far as four clips allow it."""
LEAST_CLIPS = 4
_MOVED_PLACES = (0, 2, 4)
"""Of the levels at which it is measured how far the model has moved: each costs two passes, the first time four."""
_LOSS_CLIPS_PER_MOVED = 4
_FORWARDS_PER_SAMPLE = 3
"""Of training: its backward pass takes twice as long as its forward pass."""
_SEED = 0x68656C64
"""One for all runs: curves of two runs compare."""


class HeldOut:
    """The held-out clips of a run, as many as the time allows."""

    def __init__(self, config: TrainingConfig, dataset: TrainingDataset, steps: int):
        """
        Args:
            dataset: the held-out clips.
            steps: of the run.
        """
        self.config, self.dataset = config, dataset
        self.interval = _interval(config, steps)
        self.numbers = dataset.some(max(LEAST_CLIPS, _affordable(config, steps)))
        self._of_base: list[dict[str, Tensor]] = []

    def keep_to(self, measured: list[HeldOutLosses]) -> None:
        """Measures as many clips as before: of a run that resumes, where another number would be affordable now."""
        if measured:
            self.numbers = self.dataset.some(len(measured[-1].clips))

    def is_due(self, step: int, last: int) -> bool:
        """Whether a step is measured: before the first one, at each checkpoint, and at the end."""
        return step % self.interval == 0 or step == last

    def measure(
        self, runner: StepRunner, stop: StopSignal, is_sharded: bool = False
    ) -> HeldOutLosses:
        """Measures the weights of this step, and their average where there is one.

        Args:
            is_sharded: whether each process has a part of the weights: all of them measure then, and their
                `stop` is one that they agree on.

        Raises:
            Cancelled: when it was stopped.
        """
        began = time.perf_counter()
        transformer, average = runner.denoiser.transformer, runner.stepper.average

        def whole() -> AbstractContextManager[Denoiser]:
            if is_sharded:
                return with_all_parts(runner.denoiser, runner.forward)
            return nullcontext(runner.denoiser)

        transformer.eval()
        try:
            with torch.no_grad(), runner.autocast():
                with runner.stepper.final_weights(), whole() as denoiser:
                    found = self._losses(denoiser, runner.device, stop)
                    moved = self._moved(denoiser, runner.device, stop)
                averaged: Losses = ()
                if average:
                    with average.applied(), whole() as denoiser:
                        averaged = self._losses(denoiser, runner.device, stop)[ALL]
        finally:
            transformer.train()
        streams = {name: each for name, each in found.items() if name != ALL}
        return HeldOutLosses(
            step=runner.step,
            levels=LEVELS,
            clips=found[ALL],
            streams=streams if len(streams) > 1 else {},
            average=averaged,
            moved=moved.with_captions if moved else None,
            moved_without_prompt=moved.without_prompt if moved else None,
            seconds=time.perf_counter() - began,
            data_sets=tuple(self.dataset.name_of(n) for n in self.numbers)
            if self.dataset.names
            else (),
        )

    def _moved(self, denoiser: Denoiser, device: torch.device, stop: StopSignal) -> Moved | None:
        """How far the model has moved; without references, which no other use of it has. None in full training,
        whose base is in memory no more."""
        if self.config.model.training_mode == "full":
            return None
        empty = self.dataset.empty_text()
        cases = []
        for number in self.numbers[: max(1, len(self.numbers) // _LOSS_CLIPS_PER_MOVED)]:
            clip, inputs = collate([self.dataset[number]]), []
            for place in _MOVED_PLACES:
                strategy = StandardStrategy(_at(self.config, LEVELS[place]), denoiser.streams)
                draws = SampleDraws(_SEED, [number * len(LEVELS) + place])
                inputs.append(strategy.prepare(clip, draws))
            cases.append(MovedCase(clip, inputs))
        text = None if empty is None else Text.padded([empty])
        at_once = fits_batch(self.config, len(_MOVED_PLACES))
        return measure_moved(cases, text, denoiser, device, stop, self._of_base, at_once)

    def _losses(
        self, denoiser: Denoiser, device: torch.device, stop: StopSignal
    ) -> dict[str, Losses]:
        """Of each stream that all clips have, and under `ALL` as training weighs them."""
        mode, streams = self.config.conditioning.mode, denoiser.streams
        strategies = [STRATEGIES[mode](_at(self.config, level), streams) for level in LEVELS]
        found: list[list[dict[str, float]]] = []
        for number in self.numbers:
            clip = collate([self.dataset[number]])
            inputs = [
                strategy.prepare(clip, SampleDraws(_SEED, [number * len(LEVELS) + place])).to(
                    device
                )
                for place, strategy in enumerate(strategies)
            ]
            at_once = fits_batch(self.config, len(LEVELS))
            found_of_clip = predictions(denoiser, inputs, clip.text, device, stop, at_once)
            found.append([_losses_of(*each) for each in zip(inputs, found_of_clip, strict=True)])
        return {
            name: tuple(tuple(losses[name] for losses in row) for row in found)
            for name in found[0][0]
            if all(name in losses for row in found for losses in row)
        }


def _losses_of(inputs: StepInputs, predicted: Mapping[str, Tensor]) -> dict[str, float]:
    losses = {name: step.loss(predicted[name]) for name, step in inputs.streams.items()}
    return {name: loss.item() for name, loss in (losses | {ALL: inputs.loss(predicted)}).items()}


def _at(config: TrainingConfig, level: float) -> TrainingConfig:
    """The same with one noise level, and mean squared errors whatever is trained with: runs compare."""
    fixed = {
        "loss": "mse",
        "loss_weighting": "none",
        "timestep_sampling_mode": "uniform",
        "timestep_sampling_params": {"min": level, "max": level},
    }
    return config.model_copy(
        update={"flow_matching": config.flow_matching.model_copy(update=fixed)}
    )


def _interval(config: TrainingConfig, steps: int) -> int:
    return config.checkpoints.interval or max(1, steps // 10)


def _affordable(config: TrainingConfig, steps: int) -> int:
    options = config.optimization
    return affordable_clips(
        steps * options.batch_size * options.gradient_accumulation_steps,
        math.ceil(steps / _interval(config, steps)),
        config.model.training_mode == "full",
        has_average=options.ema_decay is not None,
    )


def affordable_clips(samples: int, saves: int, is_full: bool, has_average: bool = False) -> int:
    """How many clips can be measured in `MOST_SHARE` of a run's time, before its first step and at each checkpoint.

    Args:
        samples: that the run sees.
        saves: checkpoints, the one of its last step among them.
    """
    return int(MOST_SHARE * samples * _FORWARDS_PER_SAMPLE / _passes(saves, is_full, has_average))


def measuring_share(clips: int, samples: int, saves: int, is_full: bool) -> float:
    """What measuring so many clips takes of the time that a run trains; other arguments as of `affordable_clips`."""
    return clips * _passes(saves, is_full) / (samples * _FORWARDS_PER_SAMPLE)


def _passes(saves: int, is_full: bool, has_average: bool = False) -> float:
    """Forward passes that a clip costs in a run."""
    of_clip = float((1 + saves) * len(LEVELS) * (2 if has_average else 1))
    if not is_full:  # the base's predictions are made once
        of_clip += (2 + saves) * 2 * len(_MOVED_PLACES) / _LOSS_CLIPS_PER_MOVED
    return of_clip
