"""What a run writes to resume and to hand out: checkpoints, recovery points, LoRA files."""

import traceback
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Literal

from ..errors import Cancelled
from ..events import CheckpointWritten, Notice, Progress, Reporter
from ..families.names import AUDIO
from ..models.device import free_memory
from ..runs import RunFolder, RunWriter
from ..runs.fingerprint import DRAWN_BY_STEP, SOUNDS_LIKE_VIDEOS
from ..storage.atomic import sync_file
from . import checkpoint
from .background_write import BackgroundWrite, copied
from .checkpoint import CheckpointError, TrainingState
from .parallel import is_sharded
from .recovery import RecoveryPoints
from .resume import load_state, training_state
from .run_plan import RunPlan
from .step import StepRunner

Due = Literal["checkpoint", "recovery point"]

SAVE_PHASE = "save"
"""Reported before something is written that may take minutes: no process hangs then."""

_OTHER_DRAWS = (
    "an earlier version began run {} and drew its noise by step. From step {} on noise is drawn by "
    "sample: the LoRA is as good, but not the one that the earlier version would have made"
)

_OTHER_SOUNDS = (
    "an earlier version began run {} and, with a first frame, prefix or suffix of the video, kept that of the sound clean "
    "too. From step {} on sounds have conditions of their own (audio_prefix_conditioning_p, audio_suffix_conditioning_p)"
)


class RunSaves:
    """Saves a run, and restores it. Of several processes only the first one writes."""

    def __init__(
        self,
        plan: RunPlan,
        runner: StepRunner,
        writer: RunWriter,
        metadata: Mapping[str, str],
        report: Reporter,
    ):
        """
        Args:
            metadata: of the LoRA files.
        """
        self.plan, self.run, self.runner = plan, plan.run, runner
        self.writer, self.metadata, self.report = writer, dict(metadata), report
        self.data = plan.dataset.fingerprint()
        self.recovery = RecoveryPoints(plan.run.recovery, report)
        self.is_sharded = is_sharded(runner.config, runner.processes.count)
        self._saved_step: int | None = None
        self._background = BackgroundWrite()

    def save(self) -> None:
        """Writes the LoRA and the checkpoint of this step, unless they are there. A large checkpoint of a step that isn't
        the last one is written while the next steps run.

        Raises:
            NotFiniteError: no step was finite until the last one, or the weights are not.
        """
        self._background.finish()
        step, stepper = self.runner.step, self.runner.stepper
        lora_file = self.run.lora_file(step)
        if step == self.plan.steps:
            stepper.require_moved()
        is_missing = step != self._saved_step or not lora_file.is_file()
        if self.is_sharded:
            is_missing = self.runner.processes.agree(is_missing)
        if is_missing:
            self.report(Progress(SAVE_PHASE, 0, 1, "checkpoint"))
            with stepper.final_weights():
                self._write(lora_file, {})
            if stepper.average:
                with stepper.average.applied():
                    decay = str(stepper.average.decay)
                    self._write(self.run.ema_file(step), {"ema_decay": decay})
        facts = {"step": step, "skipped_steps": stepper.skipped_steps}
        if step != self._saved_step:
            self._save_checkpoint(partial(self._saved, is_missing, lora_file, facts))
        else:
            self._saved(is_missing, lora_file, facts)

    def _saved(self, is_new: bool, lora_file: Path, facts: dict[str, int]) -> None:
        """Tells that all of a step is on the disk."""
        step = self._saved_step = facts["step"]
        folder = checkpoint.place(self.run.checkpoints, step)
        if self.runner.processes.is_first:
            keep = self.plan.config.checkpoints.keep_last_n
            checkpoint.keep_newest(folder, keep, self.report)
        if is_new:
            self.report(CheckpointWritten(step, folder, lora_file))
        if self.runner.processes.is_first:
            self.recovery.give_way()
            self.writer.move("running", **facts)

    def finish(self) -> None:
        """Waits until all that was to be saved is on the disk. Raises what `save` raises."""
        self._background.finish()

    def close(self) -> None:
        """Waits for what is still being written. What it raises is told: the run ends for another reason."""
        try:
            self.finish()
        except Exception as error:
            self.report(
                Notice(f"the last checkpoint could not be written: {error}", is_problem=True)
            )

    def due(self, asked: bool) -> Due | None:
        """What is to be saved after a step. The last step is saved here too: what is sampled after it may
        bring the process down."""
        step, interval = self.runner.step, self.plan.config.checkpoints.interval
        at_interval = interval is not None and step % interval == 0
        if asked or at_interval or self.runner.has_ended_stage or step == self.plan.steps:
            return "checkpoint"
        # One that is newer than a checkpoint would give way to it.
        is_due = self.recovery.is_due() and not self._background.is_writing
        return "recovery point" if is_due else None

    def save_due(self, due: Due | None) -> None:
        """Saves what `due` has found; where weights are sharded, in all processes."""
        self._background.finish_if_done()
        if due == "checkpoint":
            self.save()
        elif due == "recovery point" and not self.runner.processes.is_first:
            self._state()
        elif due == "recovery point":
            self.report(Progress(SAVE_PHASE, 0, 1, "recovery point"))
            self.recovery.write(self._state)
            self.report(Progress(SAVE_PHASE, 1, 1, "recovery point"))

    def save_whole_steps(self, error: Exception) -> None:
        """Saves the steps since the last checkpoint when something failed between two steps."""
        runner = self.runner
        self.close()
        unsaved = runner.step > (self._saved_step or 0)
        # The parts of sharded weights can't be brought together any more: another process may have failed.
        is_whole = runner.processes.is_first and not self.is_sharded
        may_save = is_whole and runner.is_between_steps and unsaved
        if isinstance(error, Cancelled) or not may_save:
            return
        traceback.clear_frames(error.__traceback__)
        runner.stepper.optimizer.zero_grad(set_to_none=True)
        free_memory()
        try:
            self.save()
        except Exception as second:
            self.report(Notice(f"Could not save step {runner.step}: {second}", is_problem=True))

    def restore(self) -> None:
        """Resumes from the newest checkpoint or recovery point; without one, from the checkpoint of
        the run before it."""
        run, runner = self.run, self.runner
        use = partial(self._load, new_schedule=False)
        saved = checkpoint.load_latest(run.checkpoints, run.recovery, report=self.report, use=use)
        if saved is not None:
            is_checkpoint = checkpoint.place(run.checkpoints, runner.step).is_dir()
            self._saved_step = runner.step if is_checkpoint else None
            kind = "checkpoint" if is_checkpoint else "recovery point"
            self.report(Notice(f"resuming from step {runner.step} ({kind})"))
            self._tell_draws(self.run)
        elif self.plan.start is not None:
            self._continue_run(self.plan.start)
        if runner.processes.is_first:
            run.keep_metrics_until(runner.step)

    def _continue_run(self, before: RunFolder) -> None:
        """Begins where another run has ended, with its metrics."""
        use = partial(self._load, new_schedule=self.plan.state.first_step > 0)
        saved = checkpoint.load_latest(before.checkpoints, report=self.report, use=use)
        if saved is None:
            raise CheckpointError(
                f"run {before.name}, which this run continues, has no checkpoint any more; "
                "train it again, or queue this run without it"
            )
        if self.runner.processes.is_first:
            self.run.take_metrics_of(before)
        self.report(Notice(f"continuing {before.name} from step {self.runner.step}"))
        self._tell_draws(before)

    def _tell_draws(self, begun: RunFolder) -> None:
        """Says so where steps from here on see other noise than the version would have drawn that began."""
        state = begun.written_state()
        if state is None:
            return
        if state.recipe == DRAWN_BY_STEP:
            self.report(Notice(_OTHER_DRAWS.format(begun.name, self.runner.step), lasting=True))
        conditioning = self.runner.config.conditioning
        has_sound = AUDIO in self.runner.denoiser.streams and conditioning.learns(AUDIO)
        if state.recipe <= SOUNDS_LIKE_VIDEOS and has_sound and conditioning.gives_parts_of_videos:
            self.report(Notice(_OTHER_SOUNDS.format(begun.name, self.runner.step), lasting=True))

    def _save_checkpoint(self, then: Callable[[], None]) -> None:
        """Writes the state of this step, and calls `then`."""
        state = self._state()
        if not self.runner.processes.is_first:
            then()
            return
        is_last = self.runner.step == self.plan.steps
        # What is brought together of sharded weights is a copy already, and the host has no room for two.
        copy = None if is_last or self.is_sharded else copied(state)
        if copy is None:
            checkpoint.save_checkpoint(self.run.checkpoints, state)
            then()
        else:
            write = partial(checkpoint.save_checkpoint, self.run.checkpoints, copy)
            self._background.begin(write, then)

    def _write(self, path: Path, facts: dict[str, str]) -> None:
        facts = self.metadata | {"step": str(self.runner.step)} | facts
        self.runner.trainable.write(path if self.runner.processes.is_first else None, facts)

    def _state(self) -> TrainingState:
        """What to resume from; the metrics of the steps until here are on the disk then."""
        if self.run.metrics_file.is_file():
            sync_file(self.run.metrics_file)
        return training_state(self.runner, self.data)

    def _load(self, saved: TrainingState, new_schedule: bool) -> None:
        load_state(self.runner, saved, self.data, new_schedule, self.report)
