"""Whether clips that are encoded in a graph are long enough for the training in it."""

from ...ltxv_train_core.config import ConditioningConfig
from ...ltxv_train_core.errors import ConfigurationError
from ...ltxv_train_core.families.grids import GRIDS
from ...ltxv_train_core.preprocessing.buckets import named_sizes
from ..comfy.prompts import Prompt, is_linked
from ..comfy.widget_problems import WidgetProblem
from ..config.graph import WrittenConfiguration, placed
from .preprocess import LTXVTrainDatasetPreprocess


def whole_clips(prompt: Prompt, written: WrittenConfiguration) -> list[tuple[str, WidgetProblem]]:
    """Beginnings and ends that stay clean and are longer than every clip of the Preprocess node before the
    training; nothing where its sizes aren't written in the graph."""
    conditioning = written.values.get("conditioning")
    if not isinstance(conditioning, ConditioningConfig):
        return []
    data = prompt[written.nodes["data"]][1].get("preprocessed_data_root")
    kind, inputs = prompt.get(data[0], ("", {})) if is_linked(data) else ("", {})
    if kind != LTXVTrainDatasetPreprocess.__name__ or is_linked(inputs.get("resolution_buckets")):
        return []
    try:
        sizes = named_sizes(str(inputs["resolution_buckets"]))
    except (ConfigurationError, KeyError):
        return []
    longest = max(grid.latent(size).frames for grid in GRIDS.values() for size in sizes)
    lines = conditioning.whole_clip_problems(longest, "Preprocess LTXV Dataset")
    return [placed(line, written.nodes, written.nodes["data"]) for line in lines]
