"""Writes a preprocessed data set for another trainer."""

from pathlib import Path
from typing import Literal

from ..config import ModelConfig
from ..datasets.export import export_reference
from ..errors import ConfigurationError
from ..events import Reporter, StopSignal, ignore
from ..families.open import open_model
from ..models.sources.allowed import require_allowed
from .to_ltx_trainer import export_ltx_trainer

Format = Literal["ltx-trainer", "reference"]
"""ltx-trainer: the trainer of LTX-2. reference: LTX-Video-Trainer."""
NEEDS_MODEL = "the format ltx-trainer needs the model whose text encoder makes the features"


def export_as(
    form: Format,
    dataset: Path,
    output: Path,
    dtype: str = "bfloat16",
    model: ModelConfig | None = None,
    report: Reporter = ignore,
    stop: StopSignal | None = None,
) -> Path:
    """Writes the `.pt` files of a trainer into a folder for nothing else, and returns it.

    Args:
        dtype: "bfloat16" or "float32", of all numbers.
        model: of ltx-trainer's format.

    Raises:
        ConfigurationError: the model is missing.
        DataError, ModelError, NotAllowedError, Cancelled: as `export_ltx_trainer` and `export_reference`.
    """
    if form == "reference":
        return export_reference(dataset, output, dtype, report, stop)
    if model is None:
        raise ConfigurationError([f"model: {NEEDS_MODEL}"])
    parts = {"text_encoder_source": model.text_encoder_source}
    parts["text_projection_source"] = model.text_projection_source
    require_allowed(source for source in (model.model_source, *parts.values()) if source)
    opened = open_model(model.model_source, report=report, stop=stop, **parts)
    return export_ltx_trainer(dataset, output, opened, dtype, report, stop)
