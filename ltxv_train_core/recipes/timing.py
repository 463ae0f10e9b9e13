"""How long steps took in earlier runs on this machine."""

from contextlib import suppress
from pathlib import Path
from statistics import median

from ..config import TrainingConfig
from ..datasets.stored_files import open_files
from ..errors import LTXVTrainError
from ..runs import RunFolder, RunLibrary
from ..storage.paths import as_path
from .clips import Clips
from .proposal import MeasuredTime

FIRST_STEPS = 3
"""Not counted: they warm up, and compile."""
# The first steps compile and warm up.
FEWEST_STEPS = 5


def measured_time(config: TrainingConfig, clips: Clips) -> MeasuredTime | None:
    """Expected time of a run's steps, from the newest run like it in its output folder.

    Alike are runs of the same model, kind of training, clip size and settings of speed and memory. More or
    fewer forward passes for a step are counted in proportion.
    """
    for run in RunLibrary(config.output_path).runs():
        step_seconds = _step_seconds(run, config, clips)
        if step_seconds is not None:
            return MeasuredTime(step_seconds * config.optimization.steps, step_seconds, run.name)
    return None


def _step_seconds(run: RunFolder, config: TrainingConfig, clips: Clips) -> float | None:
    """Of a run's median step, for steps as the configuration makes them; None where it is unlike."""
    with suppress(LTXVTrainError, OSError):
        other = run.configuration()
        if _speed(other) != _speed(config) or not _has_clips_like(run, other, clips):
            return None
        seconds = [each.step_seconds for each in run.metrics()][FIRST_STEPS:]
        if len(seconds) < FEWEST_STEPS:
            return None
        passes, others = (each.optimization.gradient_accumulation_steps for each in (config, other))
        return median(seconds) * passes / others
    return None


def _speed(config: TrainingConfig) -> tuple[object, ...]:
    """The options that a forward and backward pass takes its time by."""
    return (
        config.model.model_source,
        config.model.training_mode,
        config.conditioning.mode,
        config.optimization.batch_size,
        config.optimization.enable_gradient_checkpointing,
        config.optimization.checkpointing_budget,
        config.optimization.activations_on_host,
        config.optimization.trained_weights,
        config.optimization.release_gradients,
        config.optimization.preservation == "none",
        config.data.prior_data_root is None,
        config.acceleration.mixed_precision_mode,
        config.acceleration.quantization,
        config.acceleration.blocks_to_offload,
        config.acceleration.compile_with_inductor,
        config.lora.target_modules,
    )


def _has_clips_like(run: RunFolder, config: TrainingConfig, clips: Clips) -> bool:
    state = run.written_state()
    if clips.data and state is not None and state.data == clips.data:
        return True
    if config.data.further:  # of several sizes, in unknown parts
        return False
    index = open_files(Path(as_path(config.data.preprocessed_data_root))).index
    return {item.size for item in index.items} == {str(clips.size)}
