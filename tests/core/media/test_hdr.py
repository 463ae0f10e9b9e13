"""HLG and PQ are shown as on a standard display, by light of known strength."""

from pathlib import Path

import av
import numpy as np
import pytest

from ltxv_train_core.errors import DataError
from ltxv_train_core.geometry import VideoSize
from ltxv_train_core.media.hdr import tone_mapped
from ltxv_train_core.media.video import iterate_frames, probe, read_frames

PQ, HLG, BT2020 = 16, 18, 9


def code_of(codes: tuple[float, float, float]) -> tuple[int, int, int]:
    """R'G'B' to 10-bit YCbCr of BT.2020, limited range (ITU-R BT.2020, tables 4 and 5)."""
    r, g, b = codes
    y = 0.2627 * r + 0.6780 * g + 0.0593 * b
    blue, red = (b - y) / 1.8814, (r - y) / 1.4746
    return round(64 + 876 * y), round(512 + 896 * blue), round(512 + 896 * red)


def write(
    path: Path,
    codes: tuple[float, float, float],
    transfer: int,
    matrix: int = BT2020,
    count: int = 3,
):
    with av.open(str(path), "w") as container:
        stream = container.add_stream(
            "libx265", rate=25, options={"x265-params": "log-level=none", "crf": "1"}
        )
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p10le"
        context = stream.codec_context
        primaries = BT2020 if transfer in (PQ, HLG) else 1
        context.color_trc, context.color_primaries, context.color_range = transfer, primaries, 1
        context.colorspace = matrix
        for number in range(count):
            frame = av.VideoFrame(64, 64, "yuv420p10le")
            frame.pts = number
            for plane, code in zip(frame.planes, code_of(codes), strict=True):
                np.frombuffer(plane, np.uint16)[:] = code
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


@pytest.mark.parametrize(
    ("transfer", "code", "shown"),
    [
        (PQ, 0.0, 0),
        (PQ, 0.30248, 63),  # 10 cd/m2, below the knee: a twentieth of white
        (PQ, 0.58069, 228),  # 203 cd/m2, diffuse white
        (HLG, 0.75, 228),  # the same in HLG (ITU-R BT.2408, table 1)
        (PQ, 0.7518, 255),  # 1,000 cd/m2
        (PQ, 1.0, 255),
        (HLG, 1.0, 255),
        (HLG, 0.0, 0),
    ],
)
@pytest.mark.parametrize("matrix", [BT2020, 2])
def test_greys_have_the_brightness_of_their_light(tmp_path, transfer, code, shown, matrix):
    path = tmp_path / "a.mp4"
    write(path, (code,) * 3, transfer, matrix)
    assert probe(path).traits == ("pq" if transfer == PQ else "hlg",)
    for frame in (next(iter(iterate_frames(path))), read_frames(path, VideoSize(32, 32, 1))[0]):
        assert np.abs(frame.astype(int) - shown).max() <= 2


def test_colours_are_brought_to_bt_709(tmp_path):
    """Red of BT.709 in light of 40 cd/m2 stays red alone."""
    nits = 40 * np.array([0.6274, 0.0691, 0.0164])
    power = (nits / 10_000) ** (2610 / 16384)
    codes = ((0.8359375 + 18.8515625 * power) / (1 + 18.6875 * power)) ** 78.84375
    write(tmp_path / "a.mp4", tuple(codes), PQ)
    red, green, blue = next(iter(iterate_frames(tmp_path / "a.mp4")))[32, 32]
    assert abs(int(red) - 123) <= 3  # 40 / 203 of light, in sRGB
    assert max(green, blue) <= 25


def test_brighter_light_is_never_shown_darker():
    codes = np.linspace(0, 65535, 4096).astype(np.uint16)
    for transfer in ("pq", "hlg"):
        shown = tone_mapped(np.repeat(codes[None, :, None], 3, axis=2), transfer)[0, :, 0]
        assert (np.diff(shown.astype(int)) >= 0).all()
        assert (shown[0], shown[-1]) == (0, 255)


def test_a_stripe_is_as_the_whole(monkeypatch):
    pixels = np.random.default_rng(0).integers(0, 65535, (64, 40, 3), np.uint16)
    whole = tone_mapped(pixels, "hlg")
    monkeypatch.setattr("ltxv_train_core.media.hdr.STRIPE_PIXELS", 200)
    np.testing.assert_array_equal(tone_mapped(pixels, "hlg"), whole)


def test_transparent_parts_are_black(tmp_path):
    path = tmp_path / "a.mov"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("prores_ks", rate=25)
        stream.width, stream.height, stream.pix_fmt = 90, 64, "yuva444p10le"
        context = stream.codec_context
        context.color_trc, context.color_primaries, context.colorspace = HLG, BT2020, BT2020
        frame = av.VideoFrame(90, 64, "yuva444p10le")
        frame.colorspace = BT2020
        if hasattr(frame, "color_trc"):  # newer encoders write what the frame says
            frame.color_trc, frame.color_primaries = HLG, BT2020
        codes = (*code_of((0.75,) * 3), np.where(np.arange(90) < 45, 1023, 0))
        for plane, code in zip(frame.planes, codes, strict=True):
            np.frombuffer(plane, np.uint16).reshape(64, -1)[:, :90] = code
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    assert probe(path).traits == ("hlg",)
    frame = next(iter(iterate_frames(path)))
    assert np.abs(frame[:, 2:40].astype(int) - 228).max() <= 3
    assert frame[:, 50:].max() == 0


def test_a_standard_video_of_ten_bits_is_left_alone(tmp_path):
    write(tmp_path / "a.mp4", (0.5, 0.5, 0.5), 1)
    assert probe(tmp_path / "a.mp4").traits == ()
    frame = next(iter(iterate_frames(tmp_path / "a.mp4")))
    assert np.abs(frame.astype(int) - 128).max() <= 1


def test_dolby_vision_without_a_base_layer_is_left_out_by_name(tmp_path):
    for name, transfer in (("alone.mp4", 2), ("with.mp4", PQ)):
        path = tmp_path / name
        write(path, (0.5, 0.5, 0.5), transfer)
        content = path.read_bytes()
        assert content.count(b"hev1") == 1
        path.write_bytes(content.replace(b"hev1", b"dvh1"))
    with pytest.raises(DataError, match=r"alone\.mp4: is Dolby Vision without a base layer"):
        probe(tmp_path / "alone.mp4")
    assert probe(tmp_path / "with.mp4").traits == ("pq",)
