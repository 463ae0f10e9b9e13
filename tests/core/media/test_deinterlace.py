"""Interlaced frames are made whole, one for each; all others are left alone."""

import av
import numpy as np
import pytest

from ltxv_train_core.errors import DataError
from ltxv_train_core.geometry import VideoSize
from ltxv_train_core.media.info import Selection
from ltxv_train_core.media.video import iterate_frames, probe, read_frames
from tests.core.media import test_colors
from tests.core.media.quarters import SHOWN, letters_of, quarters
from tests.core.media.test_orientation import MATRICES, set_matrix
from tests.core.media.test_video import encode

COUNT = 20


def fields() -> np.ndarray:
    """A box that moves by two pixels from field to field."""
    frames = np.full((COUNT, 64, 96, 3), 30, np.uint8)
    for number in range(COUNT):
        for field in (0, 1):
            left = 4 + 2 * (2 * number + field)
            frames[number, field::2, left : left + 12] = 200
    return frames


def combing(frames: np.ndarray) -> float:
    """How much lines differ from the next ones."""
    return float(np.abs(np.diff(frames.astype(int), axis=1)).mean())


def interlaced(path):
    options = {"flags": "+ilme+ildct"}
    options |= {"b": "8M"} if path.suffix == ".mpg" else {"crf": "1"}
    encode(path, fields(), "mpeg2video" if path.suffix == ".mpg" else "libx264", options=options)


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.mts", "a.mpg"])
def test_interlaced_frames_are_made_whole(tmp_path, name):
    path = tmp_path / name
    interlaced(path)
    info = probe(path)
    assert (info.traits, info.frames) == (("interlaced",), COUNT)
    frames = np.stack(list(iterate_frames(path)))
    assert len(frames) == COUNT
    assert combing(fields()) > 5
    assert combing(frames) < 0.5
    boxes = (frames[:, 20:44].mean(axis=(1, 3)) > 115).argmax(axis=1)
    np.testing.assert_allclose(boxes, 4 + 4 * np.arange(COUNT), atol=3)


@pytest.mark.parametrize("start", [3, 11])
def test_a_later_window_is_what_reading_from_the_beginning_gives(tmp_path, start):
    path = tmp_path / "a.mp4"
    options = {"flags": "+ilme+ildct", "crf": "1", "x264-params": "keyint=1"}
    encode(path, fields(), options=options)
    whole = np.stack(list(iterate_frames(path)))
    window = read_frames(path, VideoSize(96, 64, 9), Selection(start=start))
    np.testing.assert_array_equal(window, whole[start : start + 9])
    resampled = read_frames(path, VideoSize(96, 64, 1), Selection(start=1, fps=5))
    np.testing.assert_array_equal(resampled[0], whole[5])


def test_progressive_frames_are_left_alone(tmp_path):
    encode(tmp_path / "a.mp4", fields(), options={"crf": "1"})
    assert probe(tmp_path / "a.mp4").traits == ()
    assert combing(np.stack(list(iterate_frames(tmp_path / "a.mp4")))) > 5


def test_interlaced_frames_keep_their_colours_and_their_display_matrix(tmp_path):
    path = tmp_path / "a.mp4"
    encode(path, np.stack([quarters()] * 4), options={"flags": "+ilme+ildct"})
    set_matrix(path, MATRICES[2])
    assert probe(path).traits == ("mirrored", "interlaced")
    assert [letters_of(frame) for frame in iterate_frames(path)] == [SHOWN[2]] * 4
    for matrix in (test_colors.BT709, test_colors.BT601):
        for levels in (test_colors.LIMITED, test_colors.FULL):
            codes = test_colors.codes_of_red(matrix, levels == test_colors.FULL)
            options = {"flags": "+ilme+ildct"}
            test_colors.write(path, codes, (96, 64), matrix, levels, options)
            assert probe(path).traits == ("interlaced",)
            assert test_colors.is_red(path)


def test_hevc_of_fields_is_left_out_by_name(tmp_path):
    options = {"x265-params": "interlace=tff:log-level=none"}
    half = np.stack([frame[field::2] for frame in fields() for field in (0, 1)])
    encode(tmp_path / "a.mp4", half, "libx265", options=options)
    with pytest.raises(DataError, match=r"a\.mp4: is interlaced HEVC"):
        probe(tmp_path / "a.mp4")


def test_a_film_of_which_a_part_is_interlaced(tmp_path):
    """Whole frames come out as they went in, also beside interlaced ones."""
    whole, half = tmp_path / "whole.ts", tmp_path / "half.ts"
    encode(whole, fields(), options={"crf": "1"})
    interlaced(tmp_path / "a.mts")
    half.write_bytes(whole.read_bytes() + (tmp_path / "a.mts").read_bytes())
    with av.open(str(half)) as container:
        said = [bool(frame.interlaced_frame) for frame in container.decode(video=0)]
    frames = list(iterate_frames(half))
    assert len(frames) == len(said) >= 2 * COUNT - 2
    first = said.index(True)
    assert 0 < first < len(said) - 5
    np.testing.assert_array_equal(frames[: first - 1], list(iterate_frames(whole))[: first - 1])
    assert combing(np.stack(frames[first + 1 :])) < 0.5
