"""Training on several sizes, with images among the videos, whatever the batch size."""

from collections import Counter
from itertools import islice

import numpy as np
import pytest
from PIL import Image

from ltxv_train_core.config import TrainingConfig, build
from ltxv_train_core.datasets.batches import batches
from ltxv_train_core.datasets.dataset import TrainingDataset
from ltxv_train_core.families.open import MINIATURE
from ltxv_train_core.training.trainer import train


@pytest.fixture
def mixed(tmp_path, write_clip, make):
    """Four square clips, two wide ones and three images."""
    rows = []
    for i in range(6):
        write_clip(f"{i}.mp4", 40 * i, width=64 if i < 4 else 128)
        rows.append({"media_path": f"{i}.mp4", "caption": f"clip {i}"})
    for i in range(3):
        pixels = np.full((64, 64, 3), 60 * i, np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{i}.png")
        rows.append({"media_path": f"{i}.png", "caption": f"picture {i}"})
    return make(rows, buckets="64x64x9;128x64x9;64x64x1").root


@pytest.mark.parametrize("batch_size", [1, 2, 4, 7])
def test_every_item_is_seen_in_proportion(mixed, batch_size):
    dataset = TrainingDataset(mixed)
    rounds = 60
    seen: Counter = Counter()
    for batch in islice(batches(dataset, batch_size, seed=1), 9 * rounds // batch_size):
        assert len(batch.names) == batch_size
        assert len(batch.streams["video"]["latents"]) == batch_size
        seen.update(batch.names)
    assert len(seen) == 9
    assert all(abs(count - rounds) <= batch_size + 1 for count in seen.values())


@pytest.mark.parametrize("batch_size", [1, 4])
def test_it_trains(mixed, tmp_path, batch_size):
    sections = {
        "output_dir": str(tmp_path / "runs"),
        "model": {"model_source": MINIATURE},
        "lora": {"rank": 2, "alpha": 2},
        "optimization": {"steps": 9, "batch_size": batch_size},
        "acceleration": {"mixed_precision_mode": "no", "compile_with_inductor": False},
        "data": {"preprocessed_data_root": str(mixed), "num_dataloader_workers": 0},
    }
    config = build(TrainingConfig, sections)
    assert train(config).finished
    shapes = {
        tuple(batch.streams["video"]["latents"].shape[2:])
        for batch in islice(batches(TrainingDataset(mixed), batch_size, config.seed), 9)
    }
    assert shapes == {(2, 2, 2), (2, 2, 4), (1, 2, 2)}
