"""Data sets of sound files alone: encoded, checked, trained on and sampled, without a video."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ltxv_train_core.config import PreprocessSettings, TrainingConfig, build
from ltxv_train_core.datasets.dataset import TrainingDataset
from ltxv_train_core.datasets.index import Index, read_index
from ltxv_train_core.datasets.summary import PreprocessSummary
from ltxv_train_core.errors import DataError
from ltxv_train_core.events import StepCompleted
from ltxv_train_core.families.ltx2.miniature.shipped import MINIATURE
from ltxv_train_core.families.ltxv.miniature.shipped import MINIATURE as SILENT
from ltxv_train_core.families.names import AUDIO, VIDEO
from ltxv_train_core.manifests.manifest import read_manifest
from ltxv_train_core.media.sound import has_sound
from ltxv_train_core.preprocessing.preprocess import preprocess
from ltxv_train_core.training.preflight import check
from ltxv_train_core.training.trainer import train
from tests.core.preprocessing.test_sounds import (
    END,
    KINDS,
    LATENT_SECONDS,
    START,
    TONE_HZ,
    Kind,
    heard,
    metadata,
    write_clip,
    write_sound,
)

SIZES = "96x96x17;96x96x41"
"""Of 0.68 and 1.64 seconds."""
FILES = {
    "one.wav": Kind(container="wav", layout="mono", rate=8000),
    "two.flac": Kind("flac", "flac", rate=192000),
    "three.mp3": Kind("libmp3lame", "mp3", rate=44100),
    "four.ogg": Kind("libopus", "ogg", rate=48000),
    "five.m4a": Kind("aac", "ipod", "5.1", 48000),
    "six.opus": Kind("libopus", "ogg", rate=48000),
    "seven.aiff": Kind("pcm_s16be", "aiff", rate=22050),
}


def write_folder(folder: Path) -> Path:
    """Files of all kinds with captions, and some that can't be used."""
    for name, kind in FILES.items():
        write_sound(folder / name, kind)
    (folder / "text.wav").write_text("no sound", encoding="utf-8")
    (folder / "empty.mp3").write_bytes(b"")
    write_sound(folder / "mute.flac", FILES["two.flac"])
    for path in [*folder.iterdir()]:
        if path.stem != "mute":
            path.with_suffix(".txt").write_text("a tone", encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[PreprocessSummary, Index]:
    folder = write_folder(tmp_path_factory.mktemp("voices"))
    summary = preprocess(PreprocessSettings(folder, MINIATURE, SIZES, verify_clips=2))
    return summary, read_index(summary.root)


def configured(summary: PreprocessSummary, folder: Path, **sections: Any) -> TrainingConfig:
    return build(
        TrainingConfig,
        {
            "output_dir": str(folder / "runs"),
            "model": {"model_source": MINIATURE},
            "lora": {"rank": 2, "alpha": 2},
            "optimization": {"steps": 2, "batch_size": 2},
            "acceleration": {"mixed_precision_mode": "no"},
            "data": {"preprocessed_data_root": str(summary.root), "num_dataloader_workers": 0},
            "conditioning": {"modalities": "audio"},
        }
        | sections,
    )


@pytest.mark.parametrize("name", FILES)
def test_a_tone_keeps_its_place_and_pitch(made: tuple[PreprocessSummary, Index], name: str) -> None:
    summary, index = made
    begin, end, pitch = heard(summary.root, index, name.partition(".")[0])
    assert begin == pytest.approx(START, abs=LATENT_SECONDS)
    assert end == pytest.approx(END, abs=LATENT_SECONDS)
    assert pitch == pytest.approx(TONE_HZ, rel=0.03)


def test_each_takes_the_longest_length_that_it_fills(made: tuple[PreprocessSummary, Index]) -> None:
    summary, index = made
    assert {(item.size, item.fps) for item in index.items} == {("32x32x41", 25.0)}
    assert all(set(item.streams) == {AUDIO} for item in index.items)
    assert f"- 1.64 s of sound alone: {len(FILES)} clips, 41 tokens" in summary.text
    assert summary.verified == ()


def test_files_that_cannot_be_used_are_named(made: tuple[PreprocessSummary, Index]) -> None:
    told = dict(made[0].skipped)
    assert told.keys() == {"text.wav", "empty.mp3", "mute.flac"}
    assert "text.wav: can't be read as a sound" in told["text.wav"]
    assert "empty.mp3: can't be read as a sound" in told["empty.mp3"]
    assert "mute.txt is missing" in told["mute.flac"]


def test_the_contact_sheet_shows_what_is_heard(made: tuple[PreprocessSummary, Index]) -> None:
    sheet = np.asarray(Image.open(made[0].sheet).convert("RGB")).astype(int)
    is_hot = (sheet[..., 0] > 200) & (sheet[..., 2] < 130)
    assert is_hot.sum() > len(FILES) * 100, "the tone in each spectrogram"


def test_nothing_is_read_or_encoded_again(
    made: tuple[PreprocessSummary, Index], monkeypatch: pytest.MonkeyPatch
) -> None:
    summary, index = made
    again = preprocess(PreprocessSettings(summary.root.parent, MINIATURE, SIZES))
    assert (again.written, again.reused) == (0, 2 * len(FILES))
    assert read_index(again.root).fingerprint == index.fingerprint


def test_a_run_trains_and_samples_sounds(
    made: tuple[PreprocessSummary, Index], tmp_path: Path
) -> None:
    validation = {
        "prompts": ["a tone"],
        "video_dims": [96, 96, 17],
        "interval": 2,
        "inference_steps": 2,
        "skip_initial_validation": True,
    }
    config = configured(made[0], tmp_path, validation=validation)
    problems, _ = check(config)
    assert problems == []
    steps: list[StepCompleted] = []
    train(config, lambda e: steps.append(e) if isinstance(e, StepCompleted) else None)
    assert [np.isfinite(step.loss) for step in steps] == [True, True]
    (sample,) = (tmp_path / "runs").glob("**/samples/**/*.mp4")
    assert has_sound(sample)


def test_video_alone_cannot_be_trained_on_sounds(
    made: tuple[PreprocessSummary, Index], tmp_path: Path
) -> None:
    for modalities in (VIDEO, "audio_to_video", "video_to_audio"):
        config = configured(made[0], tmp_path, conditioning={"modalities": modalities})
        problems, _ = check(config)
        assert len(problems) == 1
        assert f"{len(FILES)} of its {len(FILES)} clips have no video" in problems[0]


def test_a_family_without_sound_refuses_them(tmp_path: Path) -> None:
    write_sound(tmp_path / "one.wav", FILES["one.wav"])
    (tmp_path / "one.txt").write_text("a tone", encoding="utf-8")
    with pytest.raises(DataError, match=r"one\.wav: is a sound alone, and LTX-Video makes none"):
        preprocess(PreprocessSettings(tmp_path, SILENT, SIZES))


def test_a_sound_that_is_too_short_says_how_long_it_must_be(tmp_path: Path) -> None:
    write_sound(tmp_path / "one.wav", FILES["one.wav"])
    (tmp_path / "one.txt").write_text("a tone", encoding="utf-8")
    message = r"a sound of 1\.68 seconds, and the shortest bucket needs at least 3\.56 seconds"
    with pytest.raises(DataError, match=message):
        preprocess(PreprocessSettings(tmp_path, MINIATURE, "96x96x89"))


def test_windows_are_parts_of_the_sound(tmp_path: Path) -> None:
    write_sound(tmp_path / "one.wav", FILES["one.wav"])
    (tmp_path / "one.txt").write_text("a tone", encoding="utf-8")
    summary = preprocess(PreprocessSettings(tmp_path, MINIATURE, "96x96x17", windows=2))
    names = [item.name for item in read_index(summary.root).items]
    assert names == ["one.wav", "one.wav@2"]
    dataset = TrainingDataset(summary.root)
    first, second = (dataset[number].streams[AUDIO]["latents"] for number in range(2))
    assert first.shape == second.shape
    assert (first - second).abs().max() > 0.1, "the tone is in the first alone"


def test_metadata_name_them_in_the_column_of_media_or_of_sounds(tmp_path: Path) -> None:
    write_sound(tmp_path / "one.wav", FILES["one.wav"])
    write_clip(tmp_path / "seen.mp4", KINDS["mono"])
    rows = [
        {"media_path": "seen.mp4", "caption": "a"},
        {"audio": "one.wav", "caption": "b"},
        {"media_path": "one.wav", "caption": "c"},
    ]
    clips = read_manifest(metadata(tmp_path, rows)).clips
    assert [(clip.name, clip.audio) for clip in clips] == [
        ("seen.mp4", None),
        ("one.wav", None),
        ("one.wav~2", None),
    ]
    only = read_manifest(metadata(tmp_path, rows[1:2])).clips
    assert [clip.media.name for clip in only] == ["one.wav"]


def test_sounds_beside_videos_of_a_folder_are_no_clips(tmp_path: Path) -> None:
    write_clip(tmp_path / "seen.mp4", KINDS["mono"])
    write_sound(tmp_path / "seen.wav", FILES["one.wav"])
    (tmp_path / "seen.txt").write_text("a tone", encoding="utf-8")
    assert [clip.name for clip in read_manifest(tmp_path).clips] == ["seen.mp4"]


def test_sounds_and_videos_are_trained_together(tmp_path: Path) -> None:
    write_sound(tmp_path / "one.wav", FILES["one.wav"])
    write_clip(tmp_path / "seen.mp4", KINDS["mono"])
    rows = [{"media_path": name, "caption": "a"} for name in ("seen.mp4", "one.wav")]
    settings = PreprocessSettings(metadata(tmp_path, rows), MINIATURE, "96x96x17", verify_clips=2)
    summary = preprocess(settings)
    assert [name for name, _ in summary.verified] == ["seen.mp4"]
    joint = {"modalities": "joint"}
    config = configured(summary, tmp_path, conditioning=joint)
    assert check(config)[0] == []
    losses: list[float] = []
    train(config, lambda e: losses.append(e.loss) if isinstance(e, StepCompleted) else None)
    assert np.isfinite(losses).all()
    assert len(losses) == 2
