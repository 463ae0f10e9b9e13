import csv
import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from ltxv_train_core import config
from ltxv_train_core.config import TrainingConfig
from ltxv_train_core.events import ClipSkipped, Event, Progress
from ltxv_train_core.families.ltxv.miniature.datasets import generate
from ltxv_train_core.media.write import write_video
from ltxv_train_core.preprocessing.preprocess import PreprocessSettings, preprocess

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


@dataclass
class Watcher:
    """Collects events."""

    events: list[Event] = field(default_factory=list)

    def __call__(self, event: Event) -> None:
        self.events.append(event)

    @property
    def phases(self) -> list[str]:
        return list(dict.fromkeys(e.phase for e in self.events if isinstance(e, Progress)))

    @property
    def skipped(self) -> dict[str, str]:
        return {e.name: e.reason for e in self.events if isinstance(e, ClipSkipped)}


@pytest.fixture
def watcher() -> Watcher:
    return Watcher()


def grey_clip(path: Path, level: int, frames: int = 9, width: int = 64) -> None:
    """Writes a clip of one grey level, half as bright above; the level tells clips apart."""
    pixels = np.full((frames, 64, width, 3), level, np.uint8)
    pixels[:, :32] //= 2
    write_video(path, pixels, fps=25)


@pytest.fixture
def write_clip(tmp_path):
    def write(name: str, level: int = 100, frames: int = 9, width: int = 64) -> None:
        grey_clip(tmp_path / name, level, frames, width)

    return write


@pytest.fixture
def make(tmp_path):
    """Preprocesses rows of metadata."""

    def make(rows, report=None, stop=None, buckets="64x64x9", encoders=None, **options):
        source = tmp_path / "data.csv"
        with source.open("w", encoding="utf-8", newline="") as file:
            columns = list(dict.fromkeys(key for row in rows for key in row))
            writer = csv.DictWriter(file, columns)
            writer.writeheader()
            writer.writerows(rows)
        settings = PreprocessSettings(source, MINIATURE, buckets, **options)
        return preprocess(settings, report or (lambda event: None), stop, encoders)

    return make


@pytest.fixture(scope="session")
def prepared(tmp_path_factory) -> Path:
    """A preprocessed data set, made once: copy it to change it.

    Five square clips and three wide ones, with references; clip i has a caption of i + 1 words.
    """
    folder = tmp_path_factory.mktemp("prepared")
    rows = []
    for i in range(8):
        width = 64 if i < 5 else 96
        grey_clip(folder / f"{i}.mp4", 30 * i, width=width)
        grey_clip(folder / f"r{i}.mp4", 255 - 30 * i, width=width)
        caption = "word " * (i + 1)
        rows.append({"media_path": f"{i}.mp4", "caption": caption, "reference_path": f"r{i}.mp4"})
    (folder / "data.json").write_text(json.dumps(rows), encoding="utf-8")
    settings = PreprocessSettings(folder / "data.json", MINIATURE, "64x64x9;96x64x9")
    return preprocess(settings).root
