"""Samples while a run trains, when they are due or asked for."""

import json
from collections.abc import Mapping
from pathlib import Path

from ..config import TrainingConfig
from ..errors import Cancelled
from ..events import Notice, Reporter
from ..families.model import Model
from ..models.device import free_memory
from .distributed import Processes
from .parallel import is_sharded
from .step import StepRunner
from .validation import Validator

_NO_SAMPLES = (
    "no samples while this run trains: its weights are shared among processes, and the first one alone "
    "can't use them. Sample what it has written"
)

_NO_GRAPH = "no_graph"
"""Name of the text that says why a sample brings no graph; the panel looks for how the text begins."""


class RunSampler:
    """Samples of a run's prompts."""

    def __init__(
        self,
        config: TrainingConfig,
        source: Model,
        processes: Processes,
        report: Reporter,
        graph: Mapping[str, str] | None = None,
    ):
        """Encodes the prompts, where samples come at intervals; of several processes, the first one
        samples. Made before the transformer is loaded: the text encoder needs its memory.

        Args:
            graph: the ComfyUI graph that trains, for the samples' files, unless
                `checkpoints.embed_workflow` is off.
        """
        self.texts = _texts_of_files(graph, config.checkpoints.embed_workflow)
        self.config, self.source, self.device = config, source, processes.device
        self.report = report
        self.validator: Validator | None = None
        self.is_sharded = is_sharded(config, processes.count)
        if self.is_sharded and config.validation.prompts:
            report(Notice(_NO_SAMPLES, lasting=True))
        elif processes.is_first:
            self.validator = Validator.prepare(config, source, self.device)

    def sample_if_due(self, runner: StepRunner, folder: Path, asked: bool = False) -> None:
        """Samples into a folder. A failure is reported and costs no step."""
        due = self.validator is not None and self.validator.is_due(runner.step, runner.steps)
        if self.is_sharded or (not asked and not due):
            return
        runner.denoiser.transformer.eval()
        try:
            self._sample(runner, folder)
        except Cancelled:
            pass  # the loop ends at its next look
        except Exception as error:
            self.report(
                Notice(
                    f"Could not sample at step {runner.step}: {error}. Training continues.",
                    is_problem=True,
                )
            )
        finally:
            runner.denoiser.transformer.train()
            free_memory()

    def _sample(self, runner: StepRunner, folder: Path) -> None:
        self.validator = self.validator or Validator.prepare(
            self.config, self.source, self.device, asked=True
        )
        if self.validator is None:
            self.report(Notice("no samples: the run has no validation.prompts"))
            return
        with runner.autocast(), runner.stepper.weights_to_sample():
            samples = self.validator.run(
                runner.denoiser, runner.step, folder, self.report, runner.control, self.texts
            )
        self.report(samples)


def _texts_of_files(graph: Mapping[str, str] | None, embed: bool) -> Mapping[str, str]:
    """The graph that trains, or why a canvas on which the file is dropped gets none. Values are JSON."""
    if graph and embed:
        return graph
    why = "no ComfyUI graph trained it" if embed else "its run has embed_workflow switched off"
    return {_NO_GRAPH: json.dumps(f"No graph in this file: {why}")}
