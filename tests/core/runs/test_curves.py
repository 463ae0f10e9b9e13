"""Columns to draw."""

import json
import math
from dataclasses import replace
from pathlib import Path

from ltxv_train_core.events import StepCompleted
from ltxv_train_core.runs.curves import curves
from ltxv_train_core.runs.metrics_file import append_step, steps_after


def measured(losses: list[float]) -> list[StepCompleted]:
    return [
        StepCompleted(i + 1, len(losses), loss, 1e-3 * (i + 1), math.inf, 0.5, 1.0)
        for i, loss in enumerate(losses)
    ]


def test_every_step_is_a_row() -> None:
    columns = curves(measured([3.0, math.nan, 1.0]))
    assert columns.step == [1, 2, 3]
    assert columns.loss == columns.loss_low == columns.loss_high == [3.0, None, 1.0]
    assert columns.learning_rate == [1e-3, 2e-3, 3e-3]
    assert columns.grad_norm == [None, None, None]


def test_thinned_rows_keep_the_mean_and_the_peaks() -> None:
    losses = [1.0] * 98 + [12.0, 50.0, math.nan]
    columns = curves(measured(losses), points=10)
    assert len(columns.step) == 10
    assert columns.step[-1] == 101
    assert columns.loss[0] == 1.0
    assert columns.loss[-2:] == [2.0, 50.0]
    assert columns.loss_high[-2:] == [12.0, 50.0]
    assert len(curves(measured(losses), points=1000).step) == 101


def test_memory_is_the_most_of_a_stretch_and_noise_bands_are_means() -> None:
    steps = measured([1.0] * 4)
    seen = [(0.5, math.nan), (1.5, 4.0), (math.nan, 2.0), (3.0, math.nan)]
    steps = [
        replace(step, memory_bytes=100.0 * step.step, loss_by_noise=(low, math.nan, math.nan, high))
        for step, (low, high) in zip(steps, seen, strict=True)
    ]
    columns = curves(steps, points=2)
    assert columns.memory_bytes == [200.0, 400.0]
    assert columns.loss_by_noise == [[1.0, 3.0], [None, None], [None, None], [4.0, 2.0]]
    earlier = curves(measured([1.0]))
    assert earlier.memory_bytes == [None]
    assert earlier.loss_by_noise == [[None]] * 4
    assert earlier.video_loss == earlier.audio_loss == [None]


def test_video_and_sound_have_means_of_their_own() -> None:
    heard = {"video_loss": 0.2, "audio_loss": 0.6, "audio_loss_by_noise": (0.5, 1.5, 2.5, math.nan)}
    first, second, third = measured([1.0] * 3)
    columns = curves([first, replace(second, **heard), replace(third, video_loss=0.4)], points=2)
    assert columns.video_loss == [0.2, 0.4]
    assert columns.audio_loss == [0.6, None]
    assert columns.audio_loss_by_noise == [[0.5, None], [1.5, None], [2.5, None], [None, None]]


def test_data_sets_have_means_of_their_own() -> None:
    first, second, third = measured([1.0] * 3)
    seen = [
        replace(first, loss_by_data_set=(0.5, math.nan, 3.0)),
        replace(second, loss_by_data_set=(1.5, math.nan, math.nan)),
        replace(third, loss_by_data_set=(math.nan, 4.0, math.nan)),
    ]
    assert curves(seen).loss_by_data_set == [[0.5, 1.5, None], [None, None, 4.0], [3.0, None, None]]
    assert curves(seen, points=2).loss_by_data_set == [[1.0, None], [None, 4.0], [3.0, None]]
    assert curves([first, seen[2]]).loss_by_data_set == [[None, None], [None, 4.0], [None, None]]
    assert curves(measured([1.0])).loss_by_data_set == []


def test_what_is_not_known_of_a_step_is_null_on_disk(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    (step,) = measured([1.0])
    append_step(path, replace(step, memory_bytes=7.0, loss_by_noise=(math.nan, 0.5, 0.25, 1.0)))
    append_step(path, replace(step, step=2))
    append_step(path, replace(step, step=3, loss_by_noise=(1.0,)))
    append_step(path, replace(step, step=4, audio_loss_by_noise=(1.0,)))
    append_step(path, replace(step, step=5, audio_loss=1e200))
    append_step(path, replace(step, step=6, video_loss=0.5, audio_loss=2.0))
    first, second, *_ = path.read_text(encoding="utf-8").splitlines()
    assert json.loads(first)["loss_by_noise"] == [None, 0.5, 0.25, 1.0]
    assert json.loads(second)["memory_bytes"] is None
    read = steps_after(path)
    assert [each.step for each in read] == [1, 2, 6]  # the others have too few bands, or no loss
    assert (read[2].video_loss, read[2].audio_loss) == (0.5, 2.0)
    assert math.isnan(read[0].loss_by_noise[0])
    assert read[0].loss_by_noise[1:] == (0.5, 0.25, 1.0)
    assert read[0].memory_bytes == 7.0
    assert math.isnan(read[1].memory_bytes)
    assert read[1].loss_by_noise == ()


def test_nothing_measured_is_no_row() -> None:
    assert curves([], points=5).step == []
