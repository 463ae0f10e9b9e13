from pathlib import Path

import pytest

from ltxv_train_core import config
from ltxv_train_core.config import TrainingConfig
from ltxv_train_core.data.preprocess import PreprocessSettings, preprocess
from ltxv_train_core.miniature.datasets import generate

MINIATURE = "LTXV_MINIATURE"


def _prepare(name: str, folder: Path) -> Path:
    dataset = generate(name, folder, clips=4)
    return preprocess(PreprocessSettings(dataset.metadata, MINIATURE, "96x96x17")).root


@pytest.fixture(scope="session")
def stripes_data(tmp_path_factory) -> Path:
    """A preprocessed data set of four clips."""
    return _prepare("stripes", tmp_path_factory.mktemp("stripes"))


@pytest.fixture(scope="session")
def mirror_data(tmp_path_factory) -> Path:
    """A preprocessed data set of four clips with references."""
    return _prepare("mirror", tmp_path_factory.mktemp("mirror"))


@pytest.fixture
def training_config(stripes_data, tmp_path):
    """Builds configurations of short runs: a dictionary of options for each section."""

    def build(root: Path = stripes_data, **sections) -> TrainingConfig:
        values: dict = {
            "output_dir": str(tmp_path / "runs"),
            "model": {"model_source": MINIATURE},
            "lora": {"rank": 4, "alpha": 4},
            "optimization": {"steps": 4, "batch_size": 2, "learning_rate": 1e-3},
            "acceleration": {"mixed_precision_mode": "no", "compile_with_inductor": False},
            "data": {"preprocessed_data_root": str(root), "num_dataloader_workers": 0},
        }
        for name, options in sections.items():
            values[name] = (
                {**values.get(name, {}), **options} if isinstance(options, dict) else options
            )
        return config.build(TrainingConfig, values)

    return build
