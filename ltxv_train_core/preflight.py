"""What would stop a run, found before anything is loaded."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from .config import TrainingConfig, unsupported
from .data.dataset import TrainingDataset
from .errors import ConfigurationError, LTXVTrainError
from .models.source import DiffusersModel, locate_model
from .strategies import STRATEGIES


def problems(config: TrainingConfig) -> list[str]:
    """Every reason why this run can't start, one line each."""
    strategy = STRATEGIES[config.conditioning.mode]
    root = Path(config.data.preprocessed_data_root)
    return [
        *unsupported(config),
        *_errors(lambda: _describe(config.model.model_source)),
        *_errors(lambda: TrainingDataset(root, strategy.reference_folder(config))),
        *(
            f"validation.reference_videos: {path} does not exist"
            for path in config.validation.reference_videos or ()
            if not Path(path).is_file()
        ),
    ]


def require_ready(config: TrainingConfig) -> None:
    """Raises `ConfigurationError` with every problem."""
    if found := problems(config):
        raise ConfigurationError(found)


def _describe(model_source: str) -> None:
    """Looks at a model without downloading it."""
    place = locate_model(model_source)
    if isinstance(place, Path):
        DiffusersModel(model_source, place)


def _errors(attempt: Callable[[], Any]) -> list[str]:
    try:
        attempt()
    except LTXVTrainError as error:
        return [str(error)]
    return []
