"""Videos with hard cuts, split at them and nowhere else."""

import json
import sys
import threading

import numpy as np
import pytest

from ltxv_train_core.cli import main
from ltxv_train_core.config import SplitSettings
from ltxv_train_core.errors import Cancelled, DataError
from ltxv_train_core.events import Notice
from ltxv_train_core.manifests.manifest import read_manifest
from ltxv_train_core.manifests.scene_splitting import split_videos
from ltxv_train_core.media.video import iterate_frames, probe
from ltxv_train_core.media.write import write_video

LOOKS = [(30, 60, 150), (200, 180, 40), (20, 130, 60), (170, 40, 160)]


def shots(*lengths, start=0):
    """A shot for each length, each of its own colours; a bar moves in every one."""
    parts = []
    for number, length in enumerate(lengths, start=start):
        pixels = np.full((length, 64, 96, 3), LOOKS[number % len(LOOKS)], np.uint8)
        for i, picture in enumerate(pixels):
            picture[20:44, 4 + i % 60 : 20 + i % 60] = 255
        parts.append(pixels)
    return np.concatenate(parts)


def colours(path):
    """The corner of every frame."""
    return [tuple(int(v) for v in frame[2, 90]) for frame in iterate_frames(path)]


@pytest.fixture
def films(tmp_path):
    write_video(tmp_path / "films/a.mp4", shots(30, 5, 25), fps=10)
    write_video(tmp_path / "films/more/b 2.mkv.mp4", shots(40, start=3), fps=10)
    (tmp_path / "films/broken.mp4").write_bytes(b"no video")
    (tmp_path / "films/a.txt").write_text("not a video", encoding="utf-8")
    return tmp_path / "films"


def test_scenes_end_at_the_cuts_and_short_ones_are_left_out(films, capsys):
    assert main(["split", str(films), "--min-seconds", "1"]) == 0
    out, err = capsys.readouterr()
    root = films.with_name("films-scenes")
    assert out.strip().splitlines() == [
        "3 scenes written, 0 reused, 1 too short",
        str(root / "dataset.json"),
    ]
    assert "skipped broken.mp4" in err
    clips = read_manifest(root / "dataset.json", require_captions=False).clips
    assert [clip.name for clip in clips] == [
        "a.mp4-000000-000030.mp4",
        "a.mp4-000035-000060.mp4",
        "more/b 2.mkv.mp4-000000-000040.mp4",
    ]
    for clip, look, length in zip(clips, (0, 2, 3), (30, 25, 40), strict=True):
        info = probe(clip.media)
        assert (info.frames, info.fps) == (length, 10.0)
        seen = np.array(colours(clip.media))
        assert np.abs(seen - LOOKS[look]).max() <= 8
    assert not list(films.rglob("*scenes*"))


def test_a_second_run_writes_nothing_and_keeps_captions(films, monkeypatch):
    (films / "broken.mp4").unlink()
    settings = SplitSettings(source=films, min_seconds=1)
    first = split_videos(settings)
    rows = json.loads(first.metadata.read_text(encoding="utf-8"))
    rows[1]["caption"] = "written by hand"
    first.metadata.write_text(json.dumps(rows), encoding="utf-8")
    before = {p: p.stat().st_mtime_ns for p in first.metadata.parent.rglob("*.mp4")}
    with monkeypatch.context() as context:
        context.setattr(
            "ltxv_train_core.manifests.scene_splitting.find_scenes", lambda *_: pytest.fail("again")
        )
        again = split_videos(settings)
    assert (again.written, again.reused) == (0, 3)
    assert {p: p.stat().st_mtime_ns for p in before} == before
    texts = [row["caption"] for row in json.loads(again.metadata.read_text(encoding="utf-8"))]
    assert texts == ["", "written by hand", ""]

    write_video(films / "more/b 2.mkv.mp4", shots(20, 20, start=1), fps=10)
    changed = split_videos(settings)
    assert (changed.written, changed.reused) == (2, 2)
    assert split_videos(SplitSettings(source=films, min_seconds=0.3)).written == 1


def test_captions_of_scenes_that_are_not_wanted_or_not_there_come_back(films, watcher):
    def split(min_seconds):
        return split_videos(SplitSettings(source=films, min_seconds=min_seconds), watcher).metadata

    def captions():
        rows = json.loads(path.read_text(encoding="utf-8"))
        return {row["media_path"]: row["caption"] for row in rows}

    path = split(1)
    written = {name: f"by hand: {name}" for name in captions()}
    rows = [{"media_path": name, "caption": text} for name, text in written.items()]
    path.write_text(json.dumps(rows), encoding="utf-8")
    split(3.5)
    assert list(captions()) == ["more/b 2.mkv.mp4-000000-000040.mp4"]
    aside = path.with_name("dataset-left-out.json")
    assert f"2 captions of clips that have no row any more are saved in {aside}" in [
        event.message for event in watcher.events if isinstance(event, Notice)
    ]
    split(1)
    assert captions() == written
    assert not aside.exists()

    (films / "a.mp4").rename(films.with_name("away.mp4"))
    split(1)
    assert len(captions()) == 1
    films.with_name("away.mp4").rename(films / "a.mp4")
    split(1)
    assert captions() == written


@pytest.mark.parametrize("detector", ["content", "adaptive", "histogram"])
def test_every_detector_finds_hard_cuts(tmp_path, detector):
    write_video(tmp_path / "a.mp4", shots(20, 20, 20), fps=10)
    settings = SplitSettings(source=tmp_path / "a.mp4", detector=detector, min_seconds=1)
    summary = split_videos(settings)
    assert summary.metadata.parent == tmp_path / "a-scenes"
    assert [c.name for c in read_manifest(summary.metadata, require_captions=False).clips] == [
        "a.mp4-000000-000020.mp4",
        "a.mp4-000020-000040.mp4",
        "a.mp4-000040-000060.mp4",
    ]


def test_a_name_as_long_as_file_systems_allow(tmp_path):
    write_video(tmp_path / "a.mp4", shots(20), fps=10)
    long = (tmp_path / "a.mp4").rename(tmp_path / f"{'x' * 240}.mp4")
    settings = SplitSettings(source=long, output=tmp_path / "scenes", min_seconds=1)
    assert split_videos(settings).written == 1
    assert split_videos(settings).reused == 1


def test_a_path_that_windows_can_not_write_costs_its_video_only(films, monkeypatch):
    longest = len(str(films.with_name("films-scenes") / "a.mp4-000000-000030.mp4")) + 15
    monkeypatch.setattr("ltxv_train_core.storage.paths.longest_path", lambda: longest)
    summary = split_videos(SplitSettings(source=films, min_seconds=1))
    assert summary.written == 2
    skipped = dict(summary.skipped)
    assert list(skipped) == ["broken.mp4", "more/b 2.mkv.mp4"]
    assert f"this Windows allows {longest}" in skipped["more/b 2.mkv.mp4"]


def test_the_threshold_decides_what_a_cut_is(tmp_path):
    write_video(tmp_path / "a.mp4", shots(20, 20), fps=10)
    settings = SplitSettings(source=tmp_path / "a.mp4", threshold=250, min_seconds=1)
    assert split_videos(settings).written == 1


def test_a_stopped_split_keeps_finished_videos(films):
    stop = threading.Event()

    def stop_at_the_second(event):
        if getattr(event, "phase", "").startswith("find scenes of more"):
            stop.set()

    settings = SplitSettings(source=films, min_seconds=1)
    with pytest.raises(Cancelled):
        split_videos(settings, stop_at_the_second, stop)
    again = split_videos(settings)
    assert (again.written, again.reused) == (1, 2)


def test_what_can_t_be_split_is_said(films, tmp_path, monkeypatch):
    with pytest.raises(DataError, match=r"absent: no such file or folder"):
        split_videos(SplitSettings(source=tmp_path / "absent"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"holds no video; known are \.avi"):
        split_videos(SplitSettings(source=tmp_path / "empty"))
    with pytest.raises(DataError, match=r"no scene of 60.0 seconds or more .broken\.mp4: "):
        split_videos(SplitSettings(source=films, min_seconds=60))
    monkeypatch.setitem(sys.modules, "scenedetect", None)
    with pytest.raises(
        DataError, match=r"needs PySceneDetect: \S+ -m pip install scenedetect-headless"
    ):
        split_videos(SplitSettings(source=films, output=tmp_path / "other"))
