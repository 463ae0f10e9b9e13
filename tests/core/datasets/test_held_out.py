"""Which clips a run leaves aside."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ltxv_train_core.datasets.held_out import held_out, source_of
from ltxv_train_core.datasets.index import CachedFile, Caption, Example
from ltxv_train_core.errors import ConfigurationError

FILE = CachedFile("latents/x", "k")


def examples(names):
    return [
        Example(name, "64x64x9", 25.0, {"video": {"latents": FILE}}, (Caption("", FILE),))
        for name in names
    ]


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("a/clip.mp4", "a/clip.mp4"),
        ("clip.mp4@3", "clip.mp4"),
        ("film-000000-000120.mp4", "film.mp4"),
        ("film-000120-000300.mp4@2", "film.mp4"),
        ("year-2024-11.mp4", "year-2024-11.mp4"),
        ("@anna/one.mp4", "@anna/one.mp4"),
        ("me@home 1.mp4@2", "me@home 1.mp4"),
    ],
)
def test_windows_and_scenes_are_of_one_video(name, source):
    assert source_of(name) == source


@given(
    windows=st.lists(st.integers(1, 6), min_size=2, max_size=12),
    count=st.integers(1, 30),
)
def test_whole_videos_are_held_out_and_no_more_clips_than_asked_for(windows, count):
    names = [f"{video}.mp4@{n}" for video, many in enumerate(windows) for n in range(many)]
    if count >= len(names):
        with pytest.raises(ConfigurationError, match="must be left to train on"):
            held_out(examples(names), count)
        return
    found = held_out(examples(names), count)
    sources = {source_of(names[number]) for number in found}
    assert found == [n for n, name in enumerate(names) if source_of(name) in sources]
    assert 0 < len(found) < len(names)
    assert len(found) <= max(count, min(windows))


def test_a_clip_that_comes_later_moves_few():
    names = [f"{n}.mp4" for n in range(40)]
    before = {names[n] for n in held_out(examples(names), 8)}
    assert len(before) == 8
    more = [*names, "new.mp4"]
    after = {more[n] for n in held_out(examples(more), 8)}
    assert len(before - after) <= 1


def test_one_video_can_not_be_divided():
    names = ["a.mp4@1", "a.mp4@2"]
    with pytest.raises(
        ConfigurationError, match="held_out_clips 1: the data set has 2 clips of 1 videos"
    ):
        held_out(examples(names), 1)
