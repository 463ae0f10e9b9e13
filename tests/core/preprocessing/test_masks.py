import csv
import math

import numpy as np
import pytest
import torch
from PIL import Image

from ltxv_train_core.cli import main
from ltxv_train_core.config import TrainingConfig, build, yaml_file
from ltxv_train_core.datasets.batches import batches
from ltxv_train_core.datasets.dataset import TrainingDataset, collate
from ltxv_train_core.datasets.of_run import open_dataset
from ltxv_train_core.diffusion.draws import SampleDraws
from ltxv_train_core.diffusion.loss import min_snr_weights
from ltxv_train_core.errors import DataError
from ltxv_train_core.families.ltxv.video_stream import VideoStream
from ltxv_train_core.families.open import MINIATURE
from ltxv_train_core.geometry import Grid
from ltxv_train_core.media.write import write_video
from ltxv_train_core.preprocessing.masks import latent_mask
from ltxv_train_core.preprocessing.preprocess import PreprocessSettings, preprocess
from ltxv_train_core.runs import RunFolder
from ltxv_train_core.strategies import STRATEGIES
from ltxv_train_core.training.trainer import train


def test_a_latent_is_generated_where_any_pixel_of_it_is_white():
    frames = np.zeros((17, 64, 96, 3), np.uint8)
    frames[0, 0, 0] = 255
    frames[8, 40, 40] = 200
    frames[9, 63, 95] = 255
    frames[16, 0, 0] = 100
    expected = torch.zeros(3, 2, 3, dtype=torch.bool)
    expected[0, 0, 0] = expected[1, 1, 1] = expected[2, 1, 2] = True
    assert torch.equal(latent_mask(frames, Grid(32, 8)), expected)


@pytest.fixture
def masked(write_clip, tmp_path):
    """Three clips: a picture for a mask, a video for a mask, and one of the wrong shape."""
    picture = np.zeros((128, 128), np.uint8)
    picture[:64] = 255
    Image.fromarray(picture).save(tmp_path / "half.png")
    moving = np.zeros((9, 64, 64, 3), np.uint8)
    moving[0, :, :32] = moving[1:, :, 32:] = 255
    write_video(tmp_path / "moving.mp4", moving, fps=25)
    Image.fromarray(picture[:, :64]).save(tmp_path / "tall.png")
    masks = {"a.mp4": "half.png", "b.mp4": "moving.mp4", "c.mp4": "tall.png", "d.mp4": ""}
    rows = []
    for level, (name, mask) in enumerate(masks.items()):
        write_clip(name, 60 + 30 * level)
        rows.append({"media_path": name, "caption": "grey", "mask_path": mask})
    path = tmp_path / "data.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def test_masks_are_preprocessed_trained_on_and_part_of_the_data(masked, tmp_path):
    settings = PreprocessSettings(masked, MINIATURE, "64x64x9")
    summary = preprocess(settings)
    skipped = dict(summary.skipped)
    assert set(skipped) == {"c.mp4", "d.mp4"}
    assert "its mask is 64x128 and the clip 64x64" in skipped["c.mp4"]
    assert "the mask path is empty" in skipped["d.mp4"]

    dataset = TrainingDataset(summary.root, mask_dir="masks")
    masks = collate([dataset[0], dataset[1]]).streams["video"]["mask"]
    assert masks.tolist() == [[[[1, 1], [0, 0]]] * 2, [[[1, 0], [1, 0]], [[0, 1], [0, 1]]]]
    assert list(TrainingDataset(summary.root)[0].streams["video"]) == ["latents"]
    assert preprocess(settings).written == 0

    config = build(
        TrainingConfig,
        {
            "output_dir": str(tmp_path / "runs"),
            "model": {"model_source": MINIATURE},
            "conditioning": {"mask_conditioning_p": 1.0},
            "optimization": {"steps": 1},
            "acceleration": {"mixed_precision_mode": "no", "compile_with_inductor": False},
            "data": {"preprocessed_data_root": str(summary.root), "num_dataloader_workers": 0},
        },
    )
    assert train(config).finished

    Image.new("L", (64, 64), 255).save(tmp_path / "half.png")
    assert preprocess(settings).written == 1
    assert TrainingDataset(summary.root).fingerprint() != dataset.fingerprint()


def test_masks_go_with_another_loss_and_weights_of_levels_on_the_command_line(
    masked, tmp_path, capsys
):
    """What a mask leaves out is clean: with a constant error elsewhere, the loss is that of Huber, weighed."""
    root = tmp_path / "encoded"
    options = [
        "--model-source",
        MINIATURE,
        "--resolution-buckets",
        "64x64x9",
        "--output-dir",
        str(root),
    ]
    assert main(["preprocess", str(masked), *options]) == 0
    sections = {
        "output_dir": str(tmp_path / "runs"),
        "model": {"model_source": MINIATURE},
        "conditioning": {"mask_conditioning_p": 1.0, "first_frame_conditioning_p": 0.0},
        "flow_matching": {"loss": "huber", "loss_delta": 0.5, "loss_weighting": "min_snr"},
        "optimization": {"steps": 3, "batch_size": 2},
        "acceleration": {"mixed_precision_mode": "no"},
        "data": {"preprocessed_data_root": str(root), "num_dataloader_workers": 0},
    }
    config = build(TrainingConfig, sections)
    yaml_file.save(config, tmp_path / "config.yaml")
    assert main(["train", str(tmp_path / "config.yaml")]) == 0
    (folder,) = (tmp_path / "runs").glob("*/metrics.jsonl")
    metrics = RunFolder(folder.parent).metrics()
    assert len(metrics) == 3
    assert all(0 < step.loss < math.inf for step in metrics)

    strategy = STRATEGIES["none"](config, {"video": VideoStream(True)})
    batch = next(batches(open_dataset(config), 2, seed=config.seed))
    step = strategy.prepare(batch, SampleDraws(config.seed, batch.numbers)).streams["video"]
    masks = batch.streams["video"]["mask"].flatten(1)
    assert torch.equal(step.counted, masks)
    error = torch.where(masks, 2.0, 100.0)[..., None]
    levels = step.seen.levels.amax(1)
    expected = min_snr_weights(levels, config.flow_matching.min_snr_gamma) * 0.5 * (2 - 0.25)
    torch.testing.assert_close(step.sample_losses(step.velocity + error), expected)


def test_a_data_set_without_masks_is_refused_where_they_are_wanted(prepared):
    with pytest.raises(DataError, match="has no masks"):
        TrainingDataset(prepared, mask_dir="masks")
