"""One optimizer step: batches in, weights moved."""

import math
import statistics
import time
from collections import deque
from collections.abc import Mapping
from itertools import chain
from typing import Any

import torch

from ..config import TrainingConfig
from ..datasets.batches import batches
from ..datasets.dataset import Batch, TrainingDataset
from ..diffusion.draws import SampleDraws, sample_seed
from ..events import Control, Reporter, StepCompleted
from ..families.base import Text
from ..families.names import AUDIO, VIDEO
from ..models.device import peak_bytes
from ..models.precision import autocast
from ..optim.loss_watch import named_clips
from ..optim.stepper import OptimizerStepper
from ..runs.fingerprint import samples_per_step
from ..strategies import STRATEGIES, StepInputs
from .distributed import AgreedStop, Processes
from .noise_bands import NoiseBands
from .parallel import accumulating, distribute
from .preservation import preservation_loss
from .stages import Stages
from .step_losses import StepLosses
from .trainable import Trainable

ETA_WINDOW_STEPS = 50


class StepRunner:
    """Runs the steps of a run, one at a time.

    Attributes:
        step: steps that are done.
        position: where in the data they ended.
        is_between_steps: False while a step moves weights: what is in memory then is no step's result.
    """

    def __init__(
        self,
        config: TrainingConfig,
        steps: int,
        trainable: Trainable,
        dataset: TrainingDataset,
        processes: Processes,
        control: Control,
        report: Reporter,
    ):
        self.config, self.steps, self.trainable = config, steps, trainable
        self.processes, self.control = processes, control
        self.denoiser, self.device = trainable.denoiser, processes.device
        self.strategy = STRATEGIES[config.conditioning.mode](config, self.denoiser.streams)
        self.forward = distribute(config, trainable, processes)
        self.stepper = OptimizerStepper(
            config, trainable.parameters, self.device, report, trainable.rates
        )
        self._samples_per_step = samples_per_step(config.optimization, processes.count)
        self.batches = batches(
            dataset,
            config.optimization.batch_size,
            seed=config.seed,
            workers=config.data.num_dataloader_workers,
            rank=processes.rank,
            processes=processes.count,
            samples_per_step=self._samples_per_step,
        )
        self.data_sets = max(1, len(dataset.names))
        self.learned = {name for item in dataset.items for name in dataset.streams_of(item)}
        self.learned -= {config.conditioning.given_stream}
        self.stages = Stages(config.data.stage_steps)
        self.step = 0
        self.position = self.batches.state_dict()
        self.is_between_steps = True
        self._seconds: deque[float] = deque(maxlen=ETA_WINDOW_STEPS)

    def run(self) -> StepCompleted | None:
        """One optimizer step over `gradient_accumulation_steps` batches.

        None where a stop came between two of them: nothing has moved then.
        """
        started = time.perf_counter()
        peak_bytes(self.device)  # what samples needed before this step isn't the step's
        learning_rate, stage = self.stepper.learning_rate, self.stage
        losses = StepLosses(self.denoiser.streams, self.data_sets)
        parts = self.config.optimization.gradient_accumulation_steps
        for number in range(parts):
            if number > 0 and self.is_stopped():
                self._abandon()
                return None
            batch = next(self.batches)
            self.is_between_steps = not self.stepper.moves_in_backward
            with accumulating(self.forward, is_last=number == parts - 1):
                self._accumulate(batch, losses)
        losses.read(self.stepper.clip())
        loss, bands, by_data_set = self._of_all_processes(losses)
        self.is_between_steps = False
        clips = named_clips(losses.clips, losses.broken)
        self.stepper.step(self.step + 1, loss, losses.norm, clips)
        self.step += 1
        self.position = self.batches.state_dict()
        self._seconds.append(time.perf_counter() - started)
        return StepCompleted(
            step=self.step,
            steps=self.steps,
            loss=loss,
            learning_rate=learning_rate,
            grad_norm=losses.norm,
            step_seconds=self._seconds[-1],
            eta_seconds=self._expected_seconds() * (self.steps - self.step),
            memory_bytes=peak_bytes(self.device),
            loss_by_data_set=by_data_set,
            stage=stage,
            stages=self.stages.count,
            **self._losses_by_stream(bands),
        )

    @property
    def stage(self) -> int:
        """The one that the next step belongs to, by what was seen of the data."""
        return self.stages.after(self._steps_of_data)

    @property
    def has_ended_stage(self) -> bool:
        """Whether the last step was the last one of a stage that others follow."""
        return self.stages.ends_at(self._steps_of_data)

    @property
    def _steps_of_data(self) -> int:
        return int(self.position["samples"]) // self._samples_per_step

    def _losses_by_stream(self, bands: Mapping[str, NoiseBands]) -> dict[str, Any]:
        """The fields of `StepCompleted` that tell of noise levels, and of video and audio apart where a run learns
        both, even if the clips of this step have one of them."""
        losses = {name: each.mean for name, each in bands.items()}
        learned = [n for n, loss in losses.items() if n in self.learned or not math.isnan(loss)]
        first = bands[learned[0] if learned else next(iter(bands))]
        if AUDIO not in learned or len(learned) == 1:
            return {"loss_by_noise": first.means()}
        return {
            "loss_by_noise": first.means(),
            "video_loss": losses[VIDEO],
            "audio_loss": losses[AUDIO],
            "audio_loss_by_noise": bands[AUDIO].means(),
        }

    def _of_all_processes(
        self, losses: StepLosses
    ) -> tuple[float, dict[str, NoiseBands], tuple[float, ...]]:
        """The mean loss, the noise bands by stream, and the mean loss by data set, NaN of those without a sample: in
        one message."""
        bands = chain.from_iterable(each.numbers for each in losses.bands.values())
        loss, *numbers = self.processes.means(
            [losses.loss, *bands, *chain.from_iterable(losses.data_sets)]
        )
        parts = iter(numbers)
        by_stream = {name: NoiseBands.of(parts) for name in losses.bands}
        sums = [(next(parts), next(parts)) for _ in losses.data_sets]
        means = tuple(total / samples if samples else math.nan for total, samples in sums)
        return loss, by_stream, means

    def _expected_seconds(self) -> float:
        """Of one of the next steps: the median of the last ones, which a step that compiles or waits for a
        disk doesn't move. NaN after the first step, which may have compiled the model."""
        if len(self._seconds) == 1 and self.trainable.is_compiled:
            return math.nan
        return statistics.median(self._seconds)

    def is_stopped(self) -> bool:
        """Whether a stop was asked for; all processes agree on it."""
        return AgreedStop(self.processes, self.control).is_set()

    def autocast(self) -> torch.autocast:
        """The number formats of a forward pass."""
        return autocast(self.config.acceleration.mixed_precision_mode, self.device)

    def close(self) -> None:
        """Ends the threads that read batches ahead."""
        self.batches.close()

    def _accumulate(self, batch: Batch, losses: StepLosses) -> None:
        """Forward and backward over one batch."""
        seed, first = self.config.seed, batch.numbers[0]
        self.trainable.dropout_seed.value = sample_seed(seed, first)
        prepared = self.strategy.prepare(batch, SampleDraws(seed, batch.numbers))
        inputs = prepared.to(self.device)
        text = batch.text.to(self.device, self.denoiser.dtype)
        with self.autocast():
            predictions = self.forward(inputs.seen, text)
        parts = self.config.optimization.gradient_accumulation_steps
        loss = inputs.loss(predictions) / parts
        losses.add(batch, prepared, inputs, predictions, loss)
        self.stepper.backward(loss)
        if batch.preserved is not None:
            self._preserve(inputs, batch.preserved, parts)
        if batch.prior is not None:
            self._accumulate_prior(batch.prior, parts)

    def _preserve(self, inputs: StepInputs, preserved: Text, parts: int) -> None:
        """Forward and backward towards the base's predictions; a pass of its own, which needs no more memory."""
        text = preserved.to(self.device, self.denoiser.dtype)
        with self.autocast():
            kept = preservation_loss(self.forward, self.denoiser.transformer, inputs, text)
        self.stepper.backward(kept * self.config.optimization.preservation_weight / parts)

    def _accumulate_prior(self, batch: Batch, parts: int) -> None:
        """Forward and backward over clips of the prior data set; the step's loss doesn't count them."""
        seed = self.config.seed
        self.trainable.dropout_seed.value = sample_seed(seed, batch.numbers[0])
        prepared = self.strategy.prepare(batch, SampleDraws(seed, batch.numbers))
        inputs = prepared.to(self.device)
        with self.autocast():
            predictions = self.forward(inputs.seen, batch.text.to(self.device, self.denoiser.dtype))
        loss = inputs.loss(predictions)
        self.stepper.backward(loss * self.config.optimization.prior_weight / parts)

    def _abandon(self) -> None:
        """Drops the batches of a step that is not finished; they come again."""
        self.stepper.optimizer.zero_grad(set_to_none=True)
        self.batches.load_state_dict(self.position)
