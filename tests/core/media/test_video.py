"""Videos in and out of files: what is written is what is read, whatever the container."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.video.stream import VideoStream
from PIL import Image

from ltxv_train_core.errors import DataError
from ltxv_train_core.geometry import VideoSize
from ltxv_train_core.media.info import MediaInfo, Selection
from ltxv_train_core.media.video import iterate_frames, probe, read_frames
from ltxv_train_core.media.write import write_video

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
    matrix: list[int] | None = None,
    options: dict[str, str] | None = None,
) -> None:
    """Writes a file as other programs might; `ticks` are times of frames in hundredths."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = pixel_format
        if codec in ("libx264", "libvpx-vp9"):
            stream.options = {"crf": "8"}
        if options:
            stream.options = options
        if matrix:
            stream.set_display_matrix(matrix)
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
    not hasattr(VideoStream, "set_display_rotation"),
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


def test_a_clip_that_was_trimmed_without_encoding_it_has_the_frames_that_are_shown(tmp_path):
    """As phones trim: all frames since the key frame stay in the file, hidden by an edit list."""
    encode(tmp_path / "whole.mp4", moving(40))
    with (
        av.open(str(tmp_path / "whole.mp4")) as whole,
        av.open(str(tmp_path / "a.mp4"), "w") as cut,
    ):
        stream = cut.add_stream_from_template(whole.streams.video[0])
        hidden = round(10 / 25 / stream.time_base)
        for packet in whole.demux(video=0):
            if packet.dts is not None:
                packet.pts, packet.dts, packet.stream = (
                    packet.pts - hidden,
                    packet.dts - hidden,
                    stream,
                )
                cut.mux(packet)
    assert probe(tmp_path / "a.mp4").frames == 30
    levels = read_frames(tmp_path / "a.mp4", VideoSize(96, 64, 9), Selection(21)).mean(
        axis=(1, 2, 3)
    )
    np.testing.assert_allclose(levels, 10 + 3 * np.arange(31, 40), atol=3)


def test_a_recording_in_fragments_has_all_its_frames(tmp_path):
    options = {"movflags": "frag_keyframe"}
    with av.open(str(tmp_path / "a.mp4"), "w", options=options) as container:
        stream = container.add_stream("libx264", rate=25, options={"g": "12"})
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        for pixels in moving(40):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels.copy(), format="rgb24")))
        container.mux(stream.encode(None))
    assert probe(tmp_path / "a.mp4").frames == 40


@pytest.mark.parametrize("later", [(64, 48), (128, 96), (48, 96)])
def test_a_recording_that_changes_its_size_keeps_the_first_one(tmp_path, later):
    """As browsers record a stream: every part begins with a key frame, in a size of its own."""
    encode(tmp_path / "first.webm", moving(9), "libvpx")
    encode(tmp_path / "later.webm", moving(9, *later), "libvpx")
    path = tmp_path / "a.webm"
    with (
        av.open(str(tmp_path / "first.webm")) as first,
        av.open(str(tmp_path / "later.webm")) as second,
        av.open(str(path), "w") as joined,
    ):
        stream = joined.add_stream_from_template(first.streams.video[0])
        for part, shift in ((first, 0), (second, 360)):
            for packet in part.demux(video=0):
                if packet.dts is not None:
                    packet.pts, packet.dts = packet.pts + shift, packet.dts + shift
                    packet.stream = stream
                    joined.mux(packet)
    assert probe(path) == MediaInfo(96, 64, 18, 25, False)
    frames = np.stack(list(iterate_frames(path)))
    assert frames.shape == (18, 64, 96, 3)
    levels = [*moving(9)[:, 0, 0, 0]] * 2
    np.testing.assert_allclose(frames.mean(axis=(1, 2, 3)), levels, atol=4)
    np.testing.assert_array_equal(read_frames(path, VideoSize(96, 64, 17)), frames[:17])


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


def levels_of(path: Path, frames: int, **selected) -> np.ndarray:
    """Which frame of `moving` each frame read is."""
    read = read_frames(path, VideoSize(96, 64, frames), Selection(**selected))
    return ((read.mean(axis=(1, 2, 3)) - 10) / 3).round().astype(int)


@pytest.mark.parametrize(
    ("name", "codec", "options"),
    [
        ("a.mp4", "libx264", {"g": "12", "bf": "3"}),
        ("open.mp4", "libx264", {"g": "12", "bf": "3", "x264-params": "open-gop=1:scenecut=0"}),
        ("a.mov", "libx264", {"g": "250"}),
        ("a.mkv", "libx264", {"g": "12", "bf": "2"}),
        ("a.webm", "libvpx-vp9", {"g": "16"}),
        ("a.gif", "gif", {}),
        ("a.avi", "mpeg4", {"g": "8"}),
        ("b.avi", "mpeg4", {"g": "8", "bf": "2"}),
        ("h264.avi", "libx264", {"g": "12", "bf": "2"}),
    ],
)
def test_a_later_window_is_what_reading_from_the_beginning_gives(tmp_path, name, codec, options):
    path = tmp_path / name
    frames = moving(73)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options=options | {"crf": "10"})
        stream.width, stream.height = 96, 64
        stream.pix_fmt = "rgb8" if codec == "gif" else "yuv420p"
        for pixels in frames:
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    whole = read_frames(path, VideoSize(96, 64, 73))
    for start in (0, 1, 7, 12, 23, 24, 25, 50, 64):
        part = read_frames(path, VideoSize(96, 64, 9), Selection(start=start))
        np.testing.assert_array_equal(part, whole[start : start + 9], err_msg=str(start))
    with pytest.raises(DataError, match="ends after 8 of the 9"):
        read_frames(path, VideoSize(96, 64, 9), Selection(start=65))


def test_a_later_window_decodes_from_the_key_frame_before_it(tmp_path, monkeypatch):
    path = tmp_path / "long.mp4"
    noise = np.random.default_rng(0).integers(0, 255, (60, 64, 96, 3), dtype=np.uint8)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"g": "10", "bf": "0"})
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        for pixels in noise:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode(None))
    wanted = read_frames(path, VideoSize(96, 64, 9), Selection(start=45))
    data = bytearray(path.read_bytes())
    begin = data.index(b"mdat") + 4
    data[begin : begin + (len(data) - begin) // 2] = bytes((len(data) - begin) // 2)
    path.write_bytes(data)
    read = read_frames(path, VideoSize(96, 64, 9), Selection(start=45))
    np.testing.assert_array_equal(read, wanted)


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.avi"])
def test_resampling_takes_the_frame_that_is_shown(tmp_path, name):
    encode(tmp_path / name, moving(50))
    info = probe(tmp_path / name)
    assert [info.frames_at(fps) for fps in (None, 25, 12.5, 10, 50, 24)] == [
        50,
        50,
        25,
        20,
        100,
        48,
    ]
    levels = levels_of(tmp_path / name, 25, fps=12.5)
    assert levels.tolist() == list(range(0, 50, 2))
    assert levels_of(tmp_path / name, 9, fps=10.0).tolist() == [0, 2, 5, 7, 10, 12, 15, 17, 20]
    assert levels_of(tmp_path / name, 9, fps=50.0).tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4]
    assert levels_of(tmp_path / name, 9, fps=12.5, start=12).tolist() == list(range(24, 42, 2))
    with pytest.raises(DataError, match="ends after 25 of the 33"):
        levels_of(tmp_path / name, 33, fps=12.5)


@pytest.mark.parametrize("name", ["vfr.mp4", "vfr.mkv"])
def test_resampling_follows_the_timestamps_of_a_variable_rate(tmp_path, name):
    """20 frames of 0.02 s, then 20 of 0.2 s: at 10 fps, 4 of the first and each later one twice."""
    ticks = [*range(0, 40, 2), *range(40, 440, 20)]
    encode(tmp_path / name, moving(40), ticks=ticks)
    levels = levels_of(tmp_path / name, 41, fps=10.0)
    later = [level for i in range(20, 40) for level in (i, i)]
    assert levels.tolist() == [0, 5, 10, 15, *later][:41]


def test_the_part_that_is_kept_can_be_chosen(tmp_path):
    write_video(tmp_path / "wide.mp4", np.stack([picture(384, 64)] * 9), fps=25)
    for x, color in ((0.0, RED), (0.5, GREEN), (1.0, BLUE)):
        frames = read_frames(tmp_path / "wide.mp4", VideoSize(96, 64, 9), Selection(x=x))
        assert difference(frames, np.broadcast_to(color, frames.shape)) < 3


def test_odd_sizes_and_ten_bits_are_read(tmp_path):
    frames = np.stack([picture(129, 97)] * 9)
    write_video(tmp_path / "odd.mp4", frames, fps=25)
    encode(tmp_path / "deep.mkv", frames[:, :96, :128], pixel_format="yuv420p10le")
    for name in ("odd.mp4", "deep.mkv"):
        read = read_frames(tmp_path / name, VideoSize(64, 64, 9))[0]
        np.testing.assert_allclose(read[32, 32], GREEN, atol=3)


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / np.mean((a.astype(float) - b.astype(float)) ** 2)))


@pytest.mark.parametrize("scale", [2, 3.75])
def test_the_decoders_resize_is_as_good_as_an_antialiased_one(tmp_path, scale):
    """Fine texture shrunk by swscale, against Pillow's filter of the same kind."""
    width, height = round(128 * scale), round(96 * scale)
    y, x = np.mgrid[0:height, 0:width]
    waves = [127 + 90 * np.sin(x * y / f) for f in (900.0, 500.0, 300.0)]
    noise = np.random.default_rng(0).normal(0, 20, (height, width, 3))
    pixels = (np.stack(waves, axis=-1) + noise).clip(0, 255).astype(np.uint8)
    encode(tmp_path / "texture.mkv", pixels[None], "ffv1", "bgr0")
    read = read_frames(tmp_path / "texture.mkv", VideoSize(128, 96, 1))[0]
    reference = Image.fromarray(pixels).resize((128, 96), Image.Resampling.BICUBIC)
    aliased = Image.fromarray(pixels).resize((128, 96), Image.Resampling.NEAREST)
    assert psnr(read, np.asarray(reference)) > 40
    assert psnr(np.asarray(aliased), np.asarray(reference)) < 25
