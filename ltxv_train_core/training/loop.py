"""The loop of a run: steps, checkpoints, samples, and what is asked for in between.

The strategy owns what a batch becomes, the run folder owns the files, the validator owns the
samples, the mover owns the weights' movement.
"""

import math
import time
import traceback
from collections import deque
from functools import partial
from pathlib import Path

import torch

from ..datasets.dataset import Batch, batches
from ..errors import Cancelled, shown
from ..events import CheckpointWritten, Control, Notice, Reporter, StepCompleted
from ..models.device import free_memory
from ..models.precision import autocast
from ..optim.loss_watch import LossWatch, named_clips
from ..optim.stepper import Mover
from ..runs import RunFolder, RunWriter
from ..storage.atomic import sha256_json, sync_file
from ..storage.tensors import is_finite
from ..strategies import STRATEGIES
from . import checkpoint
from .checkpoint import CheckpointError
from .distributed import Processes
from .lora_metadata import lora_metadata
from .memory_fit import tell_fit
from .recovery import RecoveryPoints
from .run_plan import RunPlan, open_source
from .trainable import load_trainable
from .validation import Validator

ETA_WINDOW_STEPS = 50
MOST_BATCHES_PER_STEP = 1000


class TrainingLoop:
    """One run in memory."""

    def __init__(
        self,
        plan: RunPlan,
        writer: RunWriter,
        report: Reporter,
        control: Control,
        processes: Processes | None = None,
    ):
        """Loads all that the run needs; of several processes only the first one uses `writer`."""
        self.plan, self.config, self.run_folder = plan, plan.config, plan.run
        self.writer, self.report, self.control = writer, report, control
        self.processes = processes or Processes()
        config = plan.config
        self.source = source = open_source(config, report, control)
        self.device = self.processes.device
        self.metadata = lora_metadata(config, source, plan.dataset, plan.graph)
        self.validator = (
            Validator.prepare(config, source, self.device) if self.processes.is_first else None
        )
        self.trainable = load_trainable(config, source, self.device, report)
        self.denoiser = self.trainable.denoiser
        self.transformer = self.denoiser.transformer
        self.strategy = STRATEGIES[config.conditioning.mode](config, self.denoiser.streams)
        self.mover = Mover(config, self.trainable.parameters, self.device, report)
        self.batches = batches(
            plan.dataset,
            config.optimization.batch_size,
            seed=config.seed,
            workers=config.data.num_dataloader_workers,
            rank=self.processes.rank,
            processes=self.processes.count,
        )
        self.loss_watch = LossWatch()
        self.recovery = RecoveryPoints(plan.run.recovery, report)
        self.step = 0
        self._saved_step: int | None = None
        self._position = self.batches.state_dict()
        self._is_between_steps = True
        self._seconds: deque[float] = deque(maxlen=ETA_WINDOW_STEPS)

    def run(self) -> None:
        """Steps from where the run stands to its end, or to where it is stopped.

        Raises:
            Cancelled: when it was stopped before its first step.
        """
        try:
            self._restore()
            self._tell_size()
            self._go_on()
            if self.step == 0:
                raise Cancelled("stopped before the first step")
            if self.processes.is_first:
                self.save()
        except Exception as error:
            self._keep_what_is_whole(error)
            raise
        finally:
            self.batches.close()

    def train_step(self) -> StepCompleted | None:
        """One optimizer step over `gradient_accumulation_steps` batches.

        None where a stop came between two of them: nothing has moved then.
        """
        started = time.perf_counter()
        options = self.config.optimization
        learning_rate = self.mover.learning_rate
        loss = 0.0
        clips: list[str] = []
        broken: list[str] = []
        seed = self._seed()
        generator = torch.Generator().manual_seed(seed)
        for number in range(options.gradient_accumulation_steps):
            if number > 0 and self._is_stopped():
                self._abandon_step()
                return None
            batch = next(self.batches)
            self.trainable.dropout_seed.value = seed + number
            part = self._accumulate(batch, generator)
            clips += batch.names
            broken += [] if math.isfinite(part) else batch.not_finite()
            loss += part
        self.processes.average_gradients(self.trainable.parameters)
        loss = self.processes.mean(loss)
        self._is_between_steps = False
        norm = self.mover.step(self.step + 1, loss, named_clips(clips, broken))
        self.step += 1
        self._position = self.batches.state_dict()
        seconds = time.perf_counter() - started
        self._seconds.append(seconds)
        mean_seconds = sum(self._seconds) / len(self._seconds)
        return StepCompleted(
            step=self.step,
            steps=self.plan.steps,
            loss=loss,
            learning_rate=learning_rate,
            grad_norm=norm,
            step_seconds=seconds,
            eta_seconds=mean_seconds * (self.plan.steps - self.step),
        )

    def save(self) -> None:
        """Writes the LoRA and the checkpoint of this step, unless they are there.

        Raises:
            NotFiniteError: no step was finite until the last one, or the weights are not.
        """
        run = self.run_folder
        lora_file = run.lora_file(self.step)
        if self.step == self.plan.steps:
            self.mover.require_moved()
        if self.step != self._saved_step or not lora_file.is_file():
            with self.mover.final_weights():
                self._write(lora_file, {})
            if self.mover.average:
                with self.mover.average.applied():
                    decay = str(self.mover.average.decay)
                    self._write(run.ema_file(self.step), {"ema_decay": decay})
            if self.step != self._saved_step:
                self._save_state()
            folder = checkpoint.place(run.checkpoints, self.step)
            self.report(CheckpointWritten(self.step, folder, lora_file))
        self.recovery.give_way()
        self.writer.move("running", step=self.step, skipped_steps=self.mover.skipped_steps)

    def _save_state(self) -> None:
        saved = checkpoint.save(self.run_folder.checkpoints, self._state())
        keep = self.config.checkpoints.keep_last_n
        checkpoint.keep_newest(saved, keep, self.report)
        self._saved_step = self.step

    def _go_on(self) -> None:
        if self.step == 0:
            self._validate_if_due()
        while self.step < self.plan.steps and not self._is_stopped():
            metrics = self.train_step()
            if metrics is None:
                break
            if self.processes.is_first:
                self._record(metrics)
            self._is_between_steps = True
            self.mover.require_finite()

    def _record(self, metrics: StepCompleted) -> None:
        """Writes down a step, and does what is due after it."""
        self.run_folder.append_metrics(metrics)
        self._is_between_steps = True
        self.report(metrics)
        if warning := self.loss_watch.warning(metrics.step, metrics.loss):
            self.report(Notice(warning, lasting=True))
        asked = self.control.take_requests()
        self._save_if_due("checkpoint" in asked)
        self._validate_if_due("sample" in asked)

    def _is_stopped(self) -> bool:
        return bool(self.processes.agree(self.control.is_set()))

    def _write(self, path: Path, facts: dict[str, str]) -> None:
        self.trainable.write(path, self.metadata | {"step": str(self.step)} | facts)

    def _accumulate(self, batch: Batch, generator: torch.Generator) -> float:
        """Forward and backward over one batch; returns its share of the step's loss."""
        inputs = self.strategy.prepare(batch, generator).to(self.device)
        with self._autocast():
            predictions = self.denoiser.denoise(
                inputs.seen, batch.text.to(self.device, self.denoiser.dtype)
            )
        loss = inputs.loss(predictions) / self.config.optimization.gradient_accumulation_steps
        self.mover.backward(loss)
        return loss.item()

    def _abandon_step(self) -> None:
        """Forgets the batches of a step that is not finished; they come again."""
        self.mover.optimizer.zero_grad(set_to_none=True)
        self.batches.load_state_dict(self._position)

    def _seed(self) -> int:
        """The random numbers of a step depend on the run's seed, the step and the process alone."""
        rank = [self.processes.rank] if self.processes.rank else []
        return int(sha256_json([self.config.seed, self.step, *rank])[:15], 16)

    def _save_if_due(self, asked: bool) -> None:
        """The last step is saved here too: what is sampled after it may bring the process down."""
        interval = self.config.checkpoints.interval
        at_interval = interval is not None and self.step % interval == 0
        if asked or at_interval or self.step == self.plan.steps:
            self.save()
        elif self.recovery.is_due():
            self.recovery.write(self._state)

    def _validate_if_due(self, asked: bool = False) -> None:
        """Samples when it is time; of several processes, the first one does.

        A failure here is told and costs no step.
        """
        due = self.validator is not None and self.validator.is_due(self.step, self.plan.steps)
        if not asked and not due:
            return
        self.transformer.eval()
        try:
            self.validator = self.validator or Validator.prepare(
                self.config, self.source, self.device, asked=True
            )
            if self.validator is None:
                self.report(Notice("no samples: the run has no validation.prompts"))
                return
            with self._autocast(), self.mover.weights_to_sample():
                samples = self.validator.run(
                    self.denoiser,
                    self.step,
                    self.run_folder.samples(self.step),
                    self.report,
                    self.control,
                )
            self.report(samples)
        except Cancelled:
            pass  # the loop ends at its next look
        except Exception as error:
            self.report(Notice(f"no samples at step {self.step}: {error}"))
        finally:
            self.transformer.train()
            free_memory()

    def _autocast(self) -> torch.autocast:
        return autocast(self.config.acceleration.mixed_precision_mode, self.device)

    def _tell_size(self) -> None:
        count = sum(p.numel() for p in self.trainable.parameters)
        self.report(
            Notice(
                f"run {self.run_folder.name}: {count:,} trainable parameters, step {self.step} of "
                f"{self.plan.steps}, on {self.device}"
            )
        )
        self.report(tell_fit(self.config, self.denoiser, self.plan.dataset, self.device))

    def _state(self) -> checkpoint.TrainingState:
        """What to go on from; the metrics of the steps until here are on the disk then."""
        if self.run_folder.metrics_file.is_file():
            sync_file(self.run_folder.metrics_file)
        return checkpoint.TrainingState(
            step=self.step,
            weights={n: p for n, p in self.transformer.named_parameters() if p.requires_grad},
            state={
                "mover": self.mover.state_dict(),
                "batches": self._position,
                "optimizer_type": self.config.optimization.optimizer_type,
                "data": self.plan.dataset.fingerprint(),
            },
        )

    def _restore(self) -> None:
        """Goes on from the newest checkpoint or recovery point; without one, from the checkpoint of
        the run before it."""
        run = self.run_folder
        saved = checkpoint.load_latest(
            run.checkpoints, run.recovery, report=self.report, use=self._load
        )
        if saved is not None:
            is_checkpoint = checkpoint.place(run.checkpoints, self.step).is_dir()
            self._saved_step = self.step if is_checkpoint else None
            kind = "checkpoint" if is_checkpoint else "recovery point"
            self.report(Notice(f"going on from the {kind} of step {self.step}"))
        elif self.plan.start is not None:
            self._carry_on(self.plan.start)
        if self.processes.is_first:
            self.run_folder.keep_metrics_until(self.step)

    def _carry_on(self, before: RunFolder) -> None:
        """Begins where another run has ended, with its metrics."""
        use = partial(self._load, new_schedule=self.plan.state.first_step > 0)
        saved = checkpoint.load_latest(before.checkpoints, report=self.report, use=use)
        if saved is None:
            raise CheckpointError(
                f"run {before.name}, which this run trains on from, has no checkpoint any more; "
                "train it again, or queue this run without it"
            )
        if self.processes.is_first:
            self.run_folder.take_metrics_of(before)
        self.report(Notice(f"training on from step {self.step} of {before.name}"))

    def _load(self, saved: checkpoint.TrainingState, new_schedule: bool = False) -> None:
        """Takes over a state. What is damaged in it raises `ValueError` and the like."""
        if saved.step > self.plan.steps:
            raise ValueError(f"it is of step {saved.step}, and the run has {self.plan.steps}")
        parameters = dict(self.transformer.named_parameters())
        trained = {name: p.shape for name, p in parameters.items() if p.requires_grad}
        if trained != {name: value.shape for name, value in saved.weights.items()}:
            raise CheckpointError(
                f"the checkpoint of step {saved.step} has other trained layers than this run: "
                "lora.rank, lora.target_modules and model.training_mode must be those of the run "
                "that it trains on from"
            )
        broken = [name for name, value in saved.weights.items() if not is_finite(value)]
        if broken:
            raise ValueError(f"{broken[0]} holds NaN or infinite numbers")
        with torch.no_grad():
            for name, value in saved.weights.items():
                parameters[name].copy_(value)
        if saved.state["optimizer_type"] == self.config.optimization.optimizer_type:
            self.mover.load_state_dict(saved.state["mover"], new_schedule)
        else:
            self.report(Notice("another optimizer_type: the optimizer begins anew"))
            self.mover.begin_average()
        if saved.state["data"] == self.plan.dataset.fingerprint():
            self.batches.load_state_dict(_position(saved))
        self._position = self.batches.state_dict()
        self.step = saved.step

    def _keep_what_is_whole(self, error: Exception) -> None:
        """Saves the steps since the last checkpoint when something failed between two steps."""
        unsaved = self.step > (self._saved_step or 0)
        may_save = self.processes.is_first and self._is_between_steps and unsaved
        if isinstance(error, Cancelled) or not may_save:
            return
        traceback.clear_frames(error.__traceback__)
        self.mover.optimizer.zero_grad(set_to_none=True)
        free_memory()
        try:
            self.save()
        except Exception as second:
            self.report(Notice(f"no checkpoint of step {self.step}: {second}"))


def _position(saved: checkpoint.TrainingState) -> dict[str, int]:
    """Where in the data a checkpoint stands. Raises `ValueError` where it can't have come."""
    consumed = saved.state["batches"]["consumed"]
    if type(consumed) is not int or not 0 <= consumed <= saved.step * MOST_BATCHES_PER_STEP:
        raise ValueError(f"{shown(consumed)} batches can't be taken in {saved.step} steps")
    return {"consumed": consumed}
