"""Samples while a run trains, when they are due or asked for."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from ..config import TrainingConfig
from ..errors import Cancelled
from ..events import Notice, Reporter
from ..families.model import Model
from ..geometry import SAME_SIZE, ReferenceScale
from ..media.texts import no_graph
from ..models.device import free_memory
from .distributed import AgreedStop, Processes
from .parallel import is_sharded, with_all_parts
from .step import StepRunner
from .validation import Validator


class RunSampler:
    """Samples of a run's prompts. Of several processes the first one samples; where each has a part of the weights,
    all of them do, and the first one decodes."""

    def __init__(
        self,
        config: TrainingConfig,
        source: Model,
        processes: Processes,
        report: Reporter,
        graph: Mapping[str, str] | None = None,
        reference_scale: ReferenceScale = SAME_SIZE,
    ):
        """Encodes the prompts, where samples come at intervals. Made before the transformer is loaded: the
        text encoder needs its memory.

        Args:
            graph: the ComfyUI graph that trains, for the samples' files, unless
                `checkpoints.embed_workflow` is off.
            reference_scale: of the data set's reference videos, and so of those of samples.
        """
        self.texts = _texts_of_files(graph, config.checkpoints.embed_workflow)
        self.config, self.source, self.device = config, source, processes.device
        self.processes, self.report = processes, report
        self.reference_scale = reference_scale
        self.is_sharded = is_sharded(config, processes.count)
        self.takes_part = processes.is_first or self.is_sharded
        self.validator = self._prepared()

    def sample_if_due(self, runner: StepRunner, folder: Path, asked: bool = False) -> None:
        """Samples into a folder. A failure is reported and costs no step, unless other processes wait for this
        one."""
        due = self.validator is not None and self.validator.is_due(runner.step, runner.steps)
        if not self.takes_part or not (asked or due):
            return
        runner.denoiser.transformer.eval()
        try:
            if self.is_sharded:
                self._sample_together(runner, folder)
            else:
                with self._failure_told(runner):
                    self._sample(runner, folder)
        finally:
            runner.denoiser.transformer.train()
            free_memory()

    def _prepared(self, asked: bool = False) -> Validator | None:
        """Takes part in what the first process encodes."""
        made = None
        if self.processes.is_first:
            made = Validator.prepare(
                self.config, self.source, self.device, asked, self.reference_scale
            )
        if not self.is_sharded:
            return made
        requests = self.processes.agree(None if made is None else made.requests)
        if requests is None:
            return None
        streams = self.config.conditioning.seen_streams
        return Validator(self.config.validation, self.source, self.device, requests, streams)

    def _sample(self, runner: StepRunner, folder: Path) -> None:
        if (validator := self._when_asked()) is None:
            return
        with runner.autocast(), runner.stepper.weights_to_sample():
            latents = validator.latents(runner.denoiser, self.report, runner.control)
            self.report(validator.write(latents, runner.step, folder, self.report, self.texts))

    def _sample_together(self, runner: StepRunner, folder: Path) -> None:
        """Every process brings its part of the weights to each forward pass, and stops with the others."""
        if (validator := self._when_asked()) is None:
            return
        stop = AgreedStop(self.processes, runner.control)
        try:
            with (
                runner.autocast(),
                runner.stepper.weights_to_sample(),
                with_all_parts(runner.denoiser, runner.forward) as denoiser,
            ):
                latents = list(validator.latents(denoiser, self.report, stop))
        except Cancelled:
            return  # the loop ends at its next look
        if self.processes.is_first:
            with self._failure_told(runner):
                self.report(validator.write(latents, runner.step, folder, self.report, self.texts))

    def _when_asked(self) -> Validator | None:
        self.validator = self.validator or self._prepared(asked=True)
        if self.validator is None:
            self.report(Notice("no samples: the run has no validation.prompts"))
        return self.validator

    @contextmanager
    def _failure_told(self, runner: StepRunner) -> Iterator[None]:
        try:
            yield
        except Cancelled:
            pass  # the loop ends at its next look
        except Exception as error:
            self.report(
                Notice(
                    f"Could not sample at step {runner.step}: {error}. Training continues.",
                    is_problem=True,
                )
            )


def _texts_of_files(graph: Mapping[str, str] | None, embed: bool) -> Mapping[str, str]:
    """The graph that trains, or why a canvas on which the file is dropped gets none. Values are JSON."""
    if graph and embed:
        return graph
    why = "no ComfyUI graph trained it" if embed else "its run has embed_workflow switched off"
    return no_graph(why)
