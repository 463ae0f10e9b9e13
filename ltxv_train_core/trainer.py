"""Trains a LoRA: the whole run, from a configuration to the LoRA file.

`train` is the door. A `Trainer` is one run in memory; the strategy owns what a batch becomes, the
run folder owns the files, the validator owns the samples.
"""

import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from . import checkpoint
from .adapters.trainable import load_trainable, write_missing_forms
from .config import TrainingConfig
from .data.dataset import TrainingDataset, batches
from .errors import Cancelled
from .events import (
    CheckpointWritten,
    NeverStop,
    Notice,
    Reporter,
    StepCompleted,
    StopSignal,
    ignore,
)
from .files import sha256_json
from .hub import push_when_finished
from .lora_metadata import lora_metadata
from .models.device import default_device, free_memory
from .models.precision import autocast
from .models.source import ModelSource, open_model
from .optim.moving import Mover
from .preflight import require_ready
from .run_folder import RunFolder
from .strategies import STRATEGIES
from .trackers import tracked
from .validation import Validator

ETA_WINDOW_STEPS = 50


@dataclass(frozen=True)
class TrainingResult:
    """What a run leaves: its newest LoRA file, and how far it came.

    Attributes:
        ema_file: the LoRA file of the averaged weights, with `optimization.ema_decay`.
    """

    lora_file: Path
    run_folder: Path
    step: int
    steps: int
    ema_file: Path | None = None

    @property
    def finished(self) -> bool:
        return self.step == self.steps


def train(
    config: TrainingConfig,
    report: Reporter = ignore,
    stop: StopSignal | None = None,
    graph: Mapping[str, str] | None = None,
) -> TrainingResult:
    """Trains, goes on with an interrupted run, or finds the finished one.

    Stops between two steps when asked to, with a checkpoint and a LoRA of the step it reached.

    Args:
        graph: the ComfyUI graph to put into the LoRA files, as `shareable_graph` gives it.

    Raises:
        LTXVTrainError: when configuration, data or model can't be used; nothing was started.
        Cancelled: when it was stopped before its first step.
    """
    stop = stop or NeverStop()
    require_ready(config, report)
    strategy = STRATEGIES[config.conditioning.mode]
    model = config.model
    source = open_model(
        model.model_source, model.text_encoder_source, model.vae_source, report, stop
    )
    dataset = strategy.open_data(config)
    for line in dataset.notices:
        report(Notice(line))
    run = RunFolder.of(config, dataset.fingerprint(), source.identity)
    steps = config.optimization.steps
    if run.is_finished(steps):
        report(Notice(f"{run.name} is finished: its LoRA is used as it is"))
        result = _result(run, config, steps)
        for file in filter(None, (result.lora_file, result.ema_file)):
            write_missing_forms(config, file)
        push_when_finished(config, run, report)
        return result
    run.begin(config)
    try:
        with tracked(config, run.folder, report) as follow:
            result = Trainer(config, run, source, dataset, follow, stop, graph).run()
    finally:
        free_memory()
    push_when_finished(config, run, report)
    return result


def _result(run: RunFolder, config: TrainingConfig, step: int) -> TrainingResult:
    ema_file = run.ema_file(step) if config.optimization.ema_decay is not None else None
    return TrainingResult(
        run.lora_file(step), run.folder, step, config.optimization.steps, ema_file
    )


class Trainer:
    """One run in memory."""

    def __init__(
        self,
        config: TrainingConfig,
        run: RunFolder,
        source: ModelSource,
        dataset: TrainingDataset,
        report: Reporter,
        stop: StopSignal,
        graph: Mapping[str, str] | None = None,
    ):
        self.config, self.run_folder, self.source = config, run, source
        self.report, self.stop = report, stop
        self.device = default_device()
        self.metadata = lora_metadata(config, source, dataset, graph)
        self.validator = Validator.prepare(config, source, self.device)
        self.strategy = STRATEGIES[config.conditioning.mode](config, source.causal_positions)
        self.trainable = load_trainable(config, source, self.device, report)
        self.transformer = self.trainable.transformer
        self.dtype = self.transformer.dtype  # asking the model searches all its parameters
        self.mover = Mover(config, self.trainable.parameters, self.device, report)
        self.batches = batches(
            dataset,
            config.optimization.batch_size,
            seed=config.seed,
            workers=config.data.num_dataloader_workers,
        )
        self.step = 0
        self._seconds: deque[float] = deque(maxlen=ETA_WINDOW_STEPS)

    def run(self) -> TrainingResult:
        """Steps from where the run stands to its end, or to where it is stopped."""
        self._restore()
        self._tell_size()
        steps = self.config.optimization.steps
        try:
            if self.step == 0:
                self._validate_if_due()
            while self.step < steps and not self.stop.is_set():
                metrics = self.train_step()
                self.run_folder.append_metrics(metrics)
                self.report(metrics)
                self._save_if_due()
                self._validate_if_due()
        except Cancelled:
            pass
        finally:
            self.batches.close()
        if self.step == 0:
            raise Cancelled("stopped before the first step")
        self.save()
        return _result(self.run_folder, self.config, self.step)

    def train_step(self) -> StepCompleted:
        """One optimizer step over `gradient_accumulation_steps` batches."""
        started = time.perf_counter()
        options = self.config.optimization
        learning_rate = self.mover.learning_rate
        with self._randomness() as generator:
            loss = sum(
                self._accumulate(generator) for _ in range(options.gradient_accumulation_steps)
            )
        norm = self.mover.step(self.step + 1, loss)
        self.step += 1
        seconds = time.perf_counter() - started
        self._seconds.append(seconds)
        mean_seconds = sum(self._seconds) / len(self._seconds)
        return StepCompleted(
            step=self.step,
            steps=options.steps,
            loss=loss,
            learning_rate=learning_rate,
            grad_norm=norm,
            step_seconds=seconds,
            eta_seconds=mean_seconds * (options.steps - self.step),
        )

    def save(self) -> None:
        """Writes the checkpoint and the LoRA of this step, unless they are there."""
        run = self.run_folder
        lora_file = run.lora_file(self.step)
        folder = run.checkpoints / f"{self.step:06d}"
        if not (folder.is_dir() and lora_file.is_file()):
            with self.mover.final_weights():
                self._write(lora_file, {})
            if self.mover.average:
                with self.mover.average.applied():
                    decay = str(self.mover.average.decay)
                    self._write(run.ema_file(self.step), {"ema_decay": decay})
            folder = checkpoint.save(run.checkpoints, self._state())
            checkpoint.keep_newest(run.checkpoints, self.config.checkpoints.keep_last_n)
            self.report(CheckpointWritten(self.step, folder, lora_file))
        run.write_state(self.step, self.config.optimization.steps)

    def _write(self, path: Path, facts: dict[str, str]) -> None:
        self.trainable.write(path, self.metadata | {"step": str(self.step)} | facts)

    def _accumulate(self, generator: torch.Generator) -> float:
        """Forward and backward over one batch; returns its share of the step's loss."""
        batch = next(self.batches)
        inputs = self.strategy.prepare(batch, generator).to(self.device)
        with self._autocast():
            prediction = self.transformer(
                hidden_states=inputs.tokens.to(self.dtype),
                encoder_hidden_states=batch.prompt_embeds.to(self.device, self.dtype),
                timestep=inputs.timesteps,
                encoder_attention_mask=batch.prompt_mask.to(self.device),
                video_coords=inputs.positions,
                return_dict=False,
            )[0]
        loss = inputs.loss(prediction) / self.config.optimization.gradient_accumulation_steps
        self.mover.backward(loss)
        return loss.item()

    @contextmanager
    def _randomness(self) -> Iterator[torch.Generator]:
        """The random numbers of a step depend on the run's seed and the step alone.

        Yields a generator for noise; dropout draws from torch's own, which is set for the step
        and given back as it was.
        """
        seed = int(sha256_json([self.config.seed, self.step])[:15], 16)
        generator = torch.Generator().manual_seed(seed)
        if self.config.lora.dropout == 0:
            yield generator
            return
        devices = [self.device] if self.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed(seed)
            yield generator

    def _save_if_due(self) -> None:
        interval = self.config.checkpoints.interval
        if interval is not None and self.step % interval == 0:
            self.save()

    def _validate_if_due(self) -> None:
        """Samples when it is time. A failure here is told and costs no step."""
        if not self.validator or not self.validator.is_due(
            self.step, self.config.optimization.steps
        ):
            return
        self.transformer.eval()
        try:
            with self._autocast(), self.mover.weights_to_sample():
                samples = self.validator.run(
                    self.transformer,
                    self.step,
                    self.run_folder.samples(self.step),
                    self.report,
                    self.stop,
                )
            self.report(samples)
        except Cancelled:
            raise
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
                f"{self.config.optimization.steps}, on {self.device}"
            )
        )

    def _state(self) -> checkpoint.TrainingState:
        return checkpoint.TrainingState(
            step=self.step,
            weights={n: p for n, p in self.transformer.named_parameters() if p.requires_grad},
            state={
                "mover": self.mover.state_dict(),
                "batches": self.batches.state_dict(),
            },
        )

    def _restore(self) -> None:
        """Goes on from the newest checkpoint, if there is one."""
        saved = checkpoint.load_latest(self.run_folder.checkpoints)
        if saved is not None:
            self.step = saved.step
            parameters = dict(self.transformer.named_parameters())
            with torch.no_grad():
                for name, value in saved.weights.items():
                    parameters[name].copy_(value)
            self.mover.load_state_dict(saved.state["mover"])
            self.batches.load_state_dict(saved.state["batches"])
            self.report(Notice(f"going on from the checkpoint of step {self.step}"))
        self.run_folder.keep_metrics_until(self.step)
