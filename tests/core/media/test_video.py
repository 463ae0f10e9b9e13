"""Videos in and out of files: what is written is what is read, whatever the container."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from ltxv_train_core.errors import DataError
from ltxv_train_core.geometry import VideoSize
from ltxv_train_core.media.video import MediaInfo, probe, read_frames, write_video

RED, GREEN, BLUE = (200, 30, 30), (30, 180, 60), (40, 60, 210)


def picture(width: int, height: int) -> np.ndarray:
    """Red on the left, green in the middle, blue on the right."""
    pixels = np.empty((height, width, 3), np.uint8)
    for third, color in zip(np.array_split(np.arange(width), 3), (RED, GREEN, BLUE), strict=True):
        pixels[:, third] = color
    return pixels


def moving(count: int, width: int = 96, height: int = 64) -> np.ndarray:
    """Frame i has grey level 10 + 3i."""
    levels = (10 + 3 * np.arange(count)).astype(np.uint8)
    return np.broadcast_to(levels[:, None, None, None], (count, height, width, 3))


def encode(
    path: Path,
    frames: np.ndarray,
    codec: str = "libx264",
    pixel_format: str = "yuv420p",
    ticks: list[int] | None = None,
    rotation: int = 0,
    aspect: Fraction | None = None,
    with_sound: bool = False,
) -> None:
    """Writes a file as other programs might; `ticks` are times of frames in hundredths."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = pixel_format
        if codec in ("libx264", "libvpx-vp9"):
            stream.options = {"crf": "8"}
        if rotation:
            stream.set_display_rotation(rotation)
        if aspect:
            stream.codec_context.sample_aspect_ratio = aspect
        if with_sound:
            sound = container.add_stream("aac", rate=8000, layout="mono")
            silence = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
            silence.sample_rate = 8000
            container.mux(sound.encode(silence))
            container.mux(sound.encode(None))
        if ticks:
            stream.codec_context.time_base = Fraction(1, 100)
        layout = "rgba" if frames.shape[3] == 4 else "rgb24"
        for i, pixels in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format=layout)
            if ticks:
                frame.pts, frame.time_base = ticks[i], Fraction(1, 100)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def difference(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(a.astype(int) - b.astype(int)).mean())


def test_what_is_written_is_read(tmp_path):
    frames = np.stack([np.roll(picture(96, 64), 2 * i, axis=1) for i in range(17)])
    path = tmp_path / "clips with spaces" / "päper ☂.mp4"
    write_video(path, frames, fps=24000 / 1001)
    assert probe(path) == MediaInfo(96, 64, 17, 24000 / 1001, False)
    read = read_frames(path, VideoSize(96, 64, 17))
    assert read.shape == (17, 64, 96, 3)
    assert difference(read, frames) < 3.0
    np.testing.assert_allclose(read[0, 32, [10, 48, 85]], [RED, GREEN, BLUE], atol=3)
    assert [p.name for p in path.parent.iterdir()] == ["päper ☂.mp4"]


def test_odd_sizes_are_kept(tmp_path):
    write_video(tmp_path / "odd.mp4", moving(9, 97, 65), fps=12.5)
    assert probe(tmp_path / "odd.mp4") == MediaInfo(97, 65, 9, 12.5, False)


def test_frames_cover_the_size_and_the_centre_is_cut_out(tmp_path):
    write_video(tmp_path / "wide.mp4", np.stack([picture(384, 64)] * 9), fps=25)
    frames = read_frames(tmp_path / "wide.mp4", VideoSize(96, 64, 9))
    assert difference(frames, np.broadcast_to(GREEN, frames.shape)) < 3

    tall = np.stack([picture(384, 128).transpose(1, 0, 2)] * 9)
    write_video(tmp_path / "tall.mp4", tall, fps=25)
    frames = read_frames(tmp_path / "tall.mp4", VideoSize(64, 64, 1))
    assert difference(frames, np.broadcast_to(GREEN, frames.shape)) < 3


def test_shrinking_averages_and_keeps_colours(tmp_path):
    stripes = np.zeros((9, 256, 256, 3), np.uint8)
    stripes[:, :, ::2] = (240, 120, 60)
    encode(tmp_path / "stripes.mkv", stripes, pixel_format="yuv444p")
    frames = read_frames(tmp_path / "stripes.mkv", VideoSize(32, 32, 9)).astype(int)
    frames = frames[:, 2:-2, 2:-2]
    assert frames.std(axis=(0, 1, 2)).max() < 1.5
    np.testing.assert_allclose(frames.mean(axis=(0, 1, 2)), [120, 60, 30], atol=3)


def test_only_the_needed_frames_are_read(tmp_path):
    path = tmp_path / "long.mkv"
    noise = np.random.default_rng(0).integers(0, 255, (60, 64, 96, 3), dtype=np.uint8)
    encode(path, noise)
    whole = read_frames(path, VideoSize(96, 64, 9))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    np.testing.assert_array_equal(read_frames(path, VideoSize(96, 64, 9)), whole)


@pytest.mark.parametrize(
    ("name", "codec", "pixel_format"),
    [
        ("a.mov", "libx264", "yuv420p"),
        ("a.mkv", "libx264", "yuv420p10le"),
        ("a.webm", "libvpx-vp9", "yuv420p"),
        ("a.avi", "mpeg4", "yuv420p"),
        ("a.gif", "gif", "rgb8"),
    ],
)
def test_containers(tmp_path, name, codec, pixel_format):
    encode(tmp_path / name, moving(17), codec, pixel_format)
    info = probe(tmp_path / name)
    assert (info.width, info.height, info.frames, info.fps) == (96, 64, 17, 25)
    levels = read_frames(tmp_path / name, VideoSize(96, 64, 17)).mean(axis=(1, 2, 3))
    tolerance = 20 if name.endswith("gif") else 3
    np.testing.assert_allclose(levels, 10 + 3 * np.arange(17), atol=tolerance)


def test_sound_is_ignored(tmp_path):
    encode(tmp_path / "a.mp4", moving(9), with_sound=True)
    assert probe(tmp_path / "a.mp4").frames == 9
    assert len(read_frames(tmp_path / "a.mp4", VideoSize(96, 64, 9))) == 9


def test_transparent_parts_are_black(tmp_path):
    frames = np.zeros((2, 64, 64, 4), np.uint8)
    frames[..., :3] = 255
    frames[:, :, 32:, 3] = 255
    encode(tmp_path / "a.mkv", frames, "ffv1", "bgra")
    read = read_frames(tmp_path / "a.mkv", VideoSize(64, 64, 1))[0]
    assert read[:, :31].max() == 0
    assert read[:, 33:].min() == 255


@pytest.mark.skipif(
    not hasattr(av.video.stream.VideoStream, "set_display_rotation"),
    reason="this PyAV can't write rotated files",
)
@pytest.mark.parametrize("rotation", [90, 180, -90])
def test_rotation_is_applied(tmp_path, rotation):
    shown = np.stack([picture(96, 64)] * 9)
    stored = np.rot90(shown, -rotation // 90, axes=(1, 2))
    encode(tmp_path / "phone.mp4", stored, rotation=rotation)
    info = probe(tmp_path / "phone.mp4")
    assert (info.width, info.height) == (96, 64)
    assert difference(read_frames(tmp_path / "phone.mp4", VideoSize(96, 64, 9)), shown) < 3


def test_pixels_that_are_not_square(tmp_path):
    encode(tmp_path / "wide.mp4", np.stack([picture(96, 64)] * 9), aspect=Fraction(2, 1))
    info = probe(tmp_path / "wide.mp4")
    assert (info.width, info.height) == (192, 64)
    inner = read_frames(tmp_path / "wide.mp4", VideoSize(64, 64, 1))[:, :, 4:-4]
    assert difference(inner, np.broadcast_to(GREEN, inner.shape)) < 2


@pytest.mark.parametrize("name", ["vfr.mp4", "vfr.mkv"])
def test_a_variable_rate_gives_its_average(tmp_path, name):
    ticks = [*range(0, 40, 2), *range(40, 440, 20)]
    encode(tmp_path / name, moving(40), ticks=ticks)
    info = probe(tmp_path / name)
    assert info.frames == 40
    assert 8.5 < info.fps < 11
    levels = read_frames(tmp_path / name, VideoSize(96, 64, 9)).mean(axis=(1, 2, 3))
    np.testing.assert_allclose(levels, 10 + 3 * np.arange(9), atol=3)


def test_a_short_video_says_how_many_frames_it_has(tmp_path):
    write_video(tmp_path / "short.mp4", moving(5), fps=25)
    with pytest.raises(DataError, match=r"short\.mp4: ends after 5 of the 9 frames needed"):
        read_frames(tmp_path / "short.mp4", VideoSize(96, 64, 9))


def test_files_that_are_no_videos_are_named(tmp_path):
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"\x00\x01nothing that decodes" * 100)
    with pytest.raises(DataError, match=r"broken\.mp4: can't be read as a video or image"):
        probe(broken)
    with pytest.raises(DataError, match=r"absent\.mp4: no such file"):
        probe(tmp_path / "absent.mp4")
    cut = tmp_path / "cut.mp4"
    write_video(cut, moving(17), fps=25)
    cut.write_bytes(cut.read_bytes()[:300])
    with pytest.raises(DataError, match=r"cut\.mp4"):
        probe(cut)


def test_a_file_with_sound_alone_holds_no_video(tmp_path):
    with av.open(str(tmp_path / "sound.mp4"), "w") as container:
        sound = container.add_stream("aac", rate=8000, layout="mono")
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        silence.sample_rate = 8000
        container.mux(sound.encode(silence))
        container.mux(sound.encode(None))
    with pytest.raises(DataError, match="holds no video"):
        probe(tmp_path / "sound.mp4")
