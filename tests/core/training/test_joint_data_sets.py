"""Several data sets in one run on video and sound: with both, of videos without sound, of sounds alone."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from ltxv_train_core.config import TrainingConfig
from ltxv_train_core.errors import LTXVTrainError
from ltxv_train_core.families.ltx2.miniature.datasets import generate
from ltxv_train_core.families.ltx2.miniature.shipped import MINIATURE
from ltxv_train_core.media.sound import Sound
from ltxv_train_core.media.write import write_exact_sound
from ltxv_train_core.preprocessing.preprocess import PreprocessSettings, preprocess
from ltxv_train_core.runs import RunFolder
from ltxv_train_core.training.preflight import problems
from ltxv_train_core.training.trainer import train
from tests.core.training.test_joint_run import SIZE, clips, configured, root
from tests.helpers.short_run import run

__all__ = ["clips", "root"]

RATE, SECONDS, COUNT = 48_000, 1.5, 3


@pytest.fixture(scope="module")
def silent(tmp_path_factory) -> Path:
    source = generate("plain", tmp_path_factory.mktemp("silent") / "silent", clips=COUNT, seed=3)
    return preprocess(
        PreprocessSettings(source.metadata, MINIATURE, "64x64x9", with_sound=False)
    ).root


@pytest.fixture(scope="module")
def tones(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("tones") / "tones"
    folder.mkdir()
    times = np.arange(int(SECONDS * RATE), dtype=np.float32) / RATE
    for number in range(COUNT):
        tone = 0.4 * np.sin(2 * np.pi * (300 + 200 * number) * times)
        write_exact_sound(folder / f"{number}.wav", Sound(tone[None].repeat(2, 0), RATE))
        (folder / f"{number}.txt").write_text("a hum", encoding="utf-8")
    return preprocess(PreprocessSettings(folder, MINIATURE, SIZE)).root


def joined(root: Path, more: list[str], folder: Path, **sections) -> TrainingConfig:
    data = {"more_data_sets": more} | sections.pop("data", {})
    optimization = {"steps": 8} | sections.pop("optimization", {})
    return configured(root, folder, data=data, optimization=optimization, **sections)


@pytest.mark.long
def test_each_data_set_teaches_what_it_has(
    root: Path, silent: Path, tones: Path, tmp_path: Path
) -> None:
    config = joined(root, [str(silent), str(tones)], tmp_path, optimization={"batch_size": 1})
    metrics = RunFolder(train(config).run_folder).metrics()
    seen = set()
    for step in metrics:
        (number,) = (n for n, loss in enumerate(step.loss_by_data_set) if not math.isnan(loss))
        seen.add(number)
        assert step.loss_by_data_set[number] == pytest.approx(step.loss)
        has_video, has_sound = number != 2, number != 1
        assert math.isnan(step.video_loss) == (not has_video)
        assert math.isnan(step.audio_loss) == (not has_sound)
        losses = [step.video_loss] * has_video + [step.audio_loss] * has_sound
        assert step.loss == pytest.approx(sum(losses), rel=1e-5)
        bands = (step.loss_by_noise, step.audio_loss_by_noise)
        told = [[loss for loss in each if not math.isnan(loss)] for each in bands]
        assert [len(each) for each in told] == [has_video, has_sound]
        assert [loss for each in told for loss in each] == pytest.approx(losses)
    assert seen == {0, 1, 2}


@pytest.mark.long
def test_stopped_in_any_stage_it_goes_on_to_the_same_bytes(
    root: Path, silent: Path, tones: Path, tmp_path: Path
) -> None:
    lines = [f"{silent}: stages 1-2, weight 0.5", f"{tones}: stages 2-3"]
    sections = {
        "data": {"stage_steps": [2, 2]},
        "optimization": {"steps": 6, "gradient_accumulation_steps": 2, "batch_size": 1},
    }
    whole, losses, _ = run(joined(root, lines, tmp_path / "whole", **sections))
    weights = load_file(whole.lora_file)
    assert len(losses) == 6
    for step in (1, 3, 5):
        half = joined(root, lines, tmp_path / str(step), **sections)
        run(half, stop_after=step)
        again = load_file(run(half)[0].lora_file)
        assert again.keys() == weights.keys()
        assert all(torch.equal(again[name], weights[name]) for name in weights)


@pytest.mark.long
def test_clips_of_each_are_held_out_and_measured(
    root: Path, silent: Path, tones: Path, tmp_path: Path
) -> None:
    data = {"held_out_clips": 3}
    config = joined(root, [str(silent), str(tones)], tmp_path, data=data, optimization={"steps": 1})
    measured = RunFolder(train(config).run_folder).held_out()
    assert [each.step for each in measured] == [0, 1]
    sets = measured[-1].by_data_set
    assert set(measured[-1].data_sets) == sets.keys()
    assert len(sets) == 3
    assert measured[-1].loss == pytest.approx(sum(sets.values()) / 3)
    assert measured[-1].streams == {}, "no stream is in all of them"


@pytest.mark.parametrize(
    ("modalities", "lacking", "told"),
    [
        ("video", "tones", "no video, .* Leave sounds alone out, or set .* joint or audio"),
        ("audio", "silent", "no audio, .* with with_sound on .* joint or video"),
        ("audio_to_video", "tones", "no video"),
        ("video_to_audio", "silent", "no audio"),
    ],
)
def test_a_data_set_without_what_is_learned_is_named_before_the_run(
    root: Path, silent: Path, tones: Path, tmp_path: Path, modalities: str, lacking: str, told: str
) -> None:
    other = {"silent": silent, "tones": tones}[lacking]
    conditioning = {"modalities": modalities}
    config = joined(root, [str(other)], tmp_path, conditioning=conditioning)
    (line,) = problems(config)
    assert line.startswith(f"data.more_data_sets: {other}: {COUNT} of its {COUNT} clips have ")
    with pytest.raises(LTXVTrainError, match=told):
        train(config)


def test_one_alone_that_all_have_is_learned_of_all(
    root: Path, silent: Path, tones: Path, tmp_path: Path
) -> None:
    for modalities, other in (("video", silent), ("audio", tones)):
        sections = {"conditioning": {"modalities": modalities}, "optimization": {"steps": 2}}
        told = train(joined(root, [f"{other}: repeats 4"], tmp_path / modalities, **sections))
        for step in RunFolder(told.run_folder).metrics():
            assert math.isnan(step.video_loss)
            assert not all(map(math.isnan, step.loss_by_noise))
