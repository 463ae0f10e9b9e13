"""Colours are those that the stream states, and for what it leaves out those that players take."""

from pathlib import Path

import av
import numpy as np
import pytest

from ltxv_train_core.media.video import iterate_frames, probe
from ltxv_train_core.media.write import write_exact_video, write_video

BT709, UNSPECIFIED, BT601, BT2020 = 1, 2, 5, 9
LIMITED, FULL = 1, 2
LUMA = {BT709: (0.2126, 0.0722), BT601: (0.299, 0.114), BT2020: (0.2627, 0.0593)}


def codes_of_red(matrix: int, full: bool) -> tuple[int, int, int]:
    red, blue = LUMA[matrix]
    y, cb, cr = red, -red / (2 * (1 - blue)), 0.5
    if full:
        return round(255 * y), round(128 + 255 * cb), min(255, round(128 + 255 * cr))
    return round(16 + 219 * y), round(128 + 224 * cb), round(128 + 224 * cr)


def write(
    path: Path,
    codes: tuple[int, int, int],
    size: tuple[int, int] = (64, 64),
    matrix: int = UNSPECIFIED,
    levels: int = LIMITED,
    options: dict[str, str] | None = None,
) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream(
            "libx264", rate=25, options={"crf": "1", "preset": "ultrafast"} | (options or {})
        )
        (stream.width, stream.height), stream.pix_fmt = size, "yuv420p"
        stream.codec_context.colorspace, stream.codec_context.color_range = matrix, levels
        frame = av.VideoFrame(*size, "yuv420p")
        frame.pts = 0
        for plane, code in zip(frame.planes, codes, strict=True):
            np.frombuffer(plane, np.uint8)[:] = code
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def is_red(path: Path) -> bool:
    frame = next(iter(iterate_frames(path)))
    return bool(np.abs(frame[16:48, 16:48].astype(int) - (255, 0, 0)).max() <= 4)


@pytest.mark.parametrize("levels", [LIMITED, FULL])
@pytest.mark.parametrize("matrix", [BT709, BT601, BT2020])
@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_the_matrix_and_range_that_are_stated(tmp_path, matrix, levels, suffix):
    path = tmp_path / f"a{suffix}"
    write(path, codes_of_red(matrix, levels == FULL), matrix=matrix, levels=levels)
    assert is_red(path)
    assert probe(path).traits == ()


@pytest.mark.parametrize(
    ("size", "meant"),
    [((64, 64), BT601), ((720, 576), BT601), ((1280, 544), BT709), ((720, 1280), BT709)],
)
def test_without_a_matrix_the_size_decides(tmp_path, size, meant):
    path = tmp_path / "a.mp4"
    write(path, codes_of_red(meant, False), size)
    assert is_red(path)
    assert probe(path).traits == (("hd_matrix",) if meant == BT709 else ())


@pytest.mark.parametrize("grey", [True, False])
def test_what_is_written_here_has_no_matrix_to_be_guessed(tmp_path, grey):
    frames = np.full((1, 720, 1280, 3), 90, np.uint8)
    write_exact_video(tmp_path / "a.mp4", frames, 25, grey)
    write_video(tmp_path / "b.mp4", frames, 25)
    assert probe(tmp_path / "a.mp4").traits == probe(tmp_path / "b.mp4").traits == ()


def test_a_matrix_that_is_stated_counts_in_every_size(tmp_path):
    write(tmp_path / "a.mp4", codes_of_red(BT601, False), (1280, 720), BT601)
    assert is_red(tmp_path / "a.mp4")
    assert probe(tmp_path / "a.mp4").traits == ()


@pytest.mark.skipif(
    int(av.__version__.split(".")[0]) < 17, reason="this PyAV leaves out where chroma lies"
)
@pytest.mark.parametrize(("place", "middle"), [(0, 31), (1, 31.5)])
def test_chroma_lies_where_the_stream_says(tmp_path, place, middle):
    """An edge between two samples of chroma: half a pixel further to the left where samples are at
    the left pixel (0) than where they are between both (1)."""
    path = tmp_path / "a.mp4"
    edge = np.where(np.arange(32) < 16, 90, 180).astype(np.uint8)
    with av.open(str(path), "w") as container:
        options = {"crf": "0", "x264-params": f"chromaloc={place}"}
        stream = container.add_stream("libx264", rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        stream.codec_context.colorspace = BT709
        frame = av.VideoFrame(64, 64, "yuv420p")
        for plane, code in zip(frame.planes, (120, 128, edge), strict=True):
            np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)[:, : plane.width] = code
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    red = next(iter(iterate_frames(path)))[32, :, 0].astype(float)
    low, high = red[:20].mean(), red[44:].mean()
    crossing = np.interp((low + high) / 2, red[28:35], np.arange(28, 35))
    assert abs(crossing - middle) < 0.1
