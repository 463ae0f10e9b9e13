"""The loop of a run: steps, and what is due or asked for between two of them."""

from dataclasses import replace

import torch

from ..errors import Cancelled
from ..events import Control, HeldOutMeasured, Notice, Reporter, StepCompleted
from ..optim.loss_watch import LossWatch
from ..runs import RunWriter
from ..runs.best_step import best_step
from ..runs.held_out_file import HeldOutLosses
from ..runs.smoothing import LossAverage
from .distributed import AgreedStop, Processes
from .held_out import HeldOut
from .lora_metadata import lora_metadata
from .memory_fit import keep_to_budget, tell_fit
from .parallel import is_sharded
from .preservation import preserved_texts
from .run_plan import RunPlan, open_source
from .sampling import RunSampler
from .saves import RunSaves
from .step import StepRunner
from .trainable import load_trainable

_BEFORE_STEP_1 = "stopped before the first step"


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
        """Loads all that the run needs; of several processes only the first one uses `writer`.

        Raises:
            Cancelled: it was stopped before the model was loaded.
        """
        self.plan, self.report, self.control = plan, report, control
        self.processes = processes or Processes()
        config = plan.config
        self.is_sharded = is_sharded(config, self.processes.count)
        # Weights that each process has a part of are taken to its device part by part.
        device = torch.device("cpu") if self.is_sharded else self.processes.device
        source = open_source(config, report, control)
        metadata = lora_metadata(config, source, plan.dataset, plan.graph)
        _require_not_stopped(control)
        self.sampler = RunSampler(
            config, source, self.processes, report, plan.graph, plan.dataset.reference_scale
        )
        _require_not_stopped(control)
        plan.dataset.preserved = preserved_texts(config, plan.dataset, source, self.processes)
        trainable = load_trainable(config, source, device, report, control)
        keep_to_budget(config, trainable, plan.dataset, device, report)
        self.runner = StepRunner(
            config, plan.steps, trainable, plan.dataset, self.processes, control, report
        )
        self.saves = RunSaves(plan, self.runner, writer, metadata, report)
        held_out = plan.dataset.held_out
        self.held_out = HeldOut(config, held_out, plan.steps) if held_out else None
        self.is_over = False
        self._told_stage = 0
        self.loss_watch = LossWatch()
        self.average = LossAverage()

    def run(self) -> None:
        """Steps from where the run stands to its end, or to where it is stopped.

        Raises:
            Cancelled: when it was stopped before its first step.
        """
        try:
            self.saves.restore()
            if self.held_out:
                self.held_out.keep_to(self.processes.agree(self.plan.run.held_out()))
            self.average = LossAverage.of(each.loss for each in self.plan.run.metrics())
            self._report_size()
            self._train()
            if self.runner.step == 0:
                raise Cancelled(_BEFORE_STEP_1)
            if self.processes.is_first or self.is_sharded:
                self.saves.save()
                self.saves.finish()
            if self.is_over and self.processes.is_first:
                self._end_early()
        except Exception as error:
            self.saves.save_whole_steps(error)
            raise
        finally:
            self.saves.close()
            self.runner.close()

    def _train(self) -> None:
        runner = self.runner
        self._measure_if_due()
        self._look_whether_over()
        if runner.step == 0:
            self._sample_if_due()
        while runner.step < self.plan.steps and not self.is_over and not runner.is_stopped():
            self._tell_stage()
            metrics = runner.run()
            if metrics is None:
                break
            if self.processes.is_first:
                self._record(metrics)
            runner.is_between_steps = True
            self._follow_up()
            runner.stepper.require_finite()

    def _tell_stage(self) -> None:
        """Says which stage the next step belongs to, where that is another one than before."""
        stage, stages = self.runner.stage, self.runner.stages
        if stages.count > 1 and stage != self._told_stage and self.processes.is_first:
            first, last = stages.span(stage, self.plan.config.optimization.steps)
            names = ", ".join(self.plan.dataset.names_in(stage))
            self.report(
                Notice(f"stage {stage} of {stages.count}, steps {first} to {last}: {names}")
            )
        self._told_stage = stage

    def _record(self, metrics: StepCompleted) -> None:
        """Writes down a step."""
        metrics = replace(metrics, smooth_loss=self.average.add(metrics.loss))
        self.plan.run.append_metrics(metrics)
        self.runner.is_between_steps = True
        self.report(metrics)
        if warning := self.loss_watch.warning(metrics.step, metrics.loss):
            self.report(Notice(warning, lasting=True))

    def _follow_up(self) -> None:
        """Does what is due after a step. Of sharded weights every process brings its part; what is due or
        asked for only the first one knows."""
        asked = self.control.take_requests()
        due = self.saves.due("checkpoint" in asked) if self.processes.is_first else None
        if self.is_sharded:
            due, asked = self.processes.agree((due, asked))
        self.saves.save_due(due)
        self._measure_if_due()
        self._sample_if_due("sample" in asked)

    def _measure_if_due(self) -> None:
        """Measures the held-out clips: in the first process, or of sharded weights in all. A run that was stopped
        while it did so measures the step when it resumes."""
        held_out, runner = self.held_out, self.runner
        is_begin = runner.step == self.plan.first_step
        if held_out is None:
            return
        is_due = held_out.is_due(runner.step, self.plan.steps) or runner.has_ended_stage
        if not (is_begin or is_due):
            return
        if self.processes.agree(self.processes.is_first and self._is_measured(runner.step)):
            return
        stop = AgreedStop(self.processes, self.control) if self.is_sharded else self.control
        try:
            if self.processes.is_first or self.is_sharded:
                losses = held_out.measure(runner, stop, self.is_sharded)
            if self.processes.is_first:
                self._record_held_out(losses)
        except Cancelled:
            pass  # the loop ends at its next look
        self._look_whether_over()

    def _is_measured(self, step: int) -> bool:
        return any(each.step == step for each in self.plan.run.held_out())

    def _record_held_out(self, losses: HeldOutLosses) -> None:
        if not losses.is_finite:
            message = f"the held-out loss of step {losses.step} is not finite: it is not recorded"
            self.report(Notice(message, is_problem=True))
            return
        try:
            self.plan.run.append_held_out(losses)
        except OSError as error:
            message = f"the held-out loss of step {losses.step} can't be recorded: {error}. Training continues"
            self.report(Notice(message, is_problem=True))
            return
        best = best_step(self.plan.run.held_out())
        assert best is not None
        self.saves.writer.move("running", held_out_loss=best.loss)
        text = f"{losses.moved_text}; {best.text}" if losses.moved_text else best.text
        self.report(HeldOutMeasured(losses.step, losses.loss, best.step, text))

    def _look_whether_over(self) -> None:
        """Whether nothing was gained for so many steps that the run ends by itself; only the first process knows.
        What the run before it measured counts no more: whoever continues a run wants more steps."""
        patience = self.plan.config.optimization.early_stopping_patience
        if patience is None or self.held_out is None:
            return
        own = self._own_held_out() if self.processes.is_first else []
        best = best_step(own)
        is_over = best is not None and best.steps_since >= patience
        self.is_over = bool(self.processes.agree(is_over))

    def _own_held_out(self) -> list[HeldOutLosses]:
        return [each for each in self.plan.run.held_out() if each.step >= self.plan.first_step]

    def _end_early(self) -> None:
        """Makes the step that was reached the run's last one."""
        step = self.runner.step
        self.saves.writer.move("running", steps=step)
        self.report(
            Notice(
                f"the run ends at step {step} of {self.plan.steps}: no lower held-out loss in "
                f"{self.plan.config.optimization.early_stopping_patience} steps",
                lasting=True,
            )
        )

    def _sample_if_due(self, asked: bool = False) -> None:
        self.sampler.sample_if_due(self.runner, self.plan.run.samples(self.runner.step), asked)

    def _report_size(self) -> None:
        config, runner = self.plan.config, self.runner
        count = sum(p.numel() for p in runner.trainable.parameters)
        self.report(
            Notice(
                f"run {self.plan.run.name}: {count:,} trainable parameters, step {runner.step} of "
                f"{self.plan.steps}, on {runner.device}"
            )
        )
        self.report(tell_fit(config, runner.trainable, self.plan.dataset, runner.device))


def _require_not_stopped(control: Control) -> None:
    if control.is_set():
        raise Cancelled(_BEFORE_STEP_1)
