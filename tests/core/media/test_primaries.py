"""Colours of other primaries than BT.709 are those that a standard display shows."""

import json
import os
import struct
import zlib
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image, ImageCms, features

from ltxv_train_core.errors import DataError
from ltxv_train_core.geometry import VideoSize
from ltxv_train_core.media import primaries as primaries_module
from ltxv_train_core.media.images import read_image
from ltxv_train_core.media.primaries import CHROMATICITIES, STANDARDS, brought_to_bt709
from ltxv_train_core.media.video import iterate_frames, probe, read_frames
from ltxv_train_core.media.write import write_video

BT709, UNSPECIFIED, PAL, NTSC, BT2020, DCI_P3, DISPLAY_P3 = 1, 2, 5, 6, 9, 11, 12
PQ = 16
# Published matrices of linear light: BT.2087 and Display P3's from BT.709, RP 145's and EBU's to it.
FROM_BT709 = {
    BT2020: [[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.0880, 0.8956]],
    DISPLAY_P3: [[0.8225, 0.1774, 0.0], [0.0332, 0.9669, 0.0], [0.0171, 0.0724, 0.9108]],
}
TO_BT709 = {
    NTSC: [[0.9395, 0.0502, 0.0103], [0.0178, 0.9658, 0.0164], [-0.0016, -0.0044, 1.0060]],
    PAL: [[1.0440, -0.0440, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0118, 0.9882]],
}


def through(matrix: list[list[float]], rgb: tuple[int, int, int]) -> tuple[int, ...]:
    """A colour of sRGB's curve after a matrix on its light."""
    codes = np.array(rgb) / 255
    light = np.where(codes <= 0.04045, codes / 12.92, ((codes + 0.055) / 1.055) ** 2.4)
    light = np.array(matrix) @ light
    codes = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    return tuple(int(code) for code in (255 * codes).round())


OCHRE = (200, 120, 40)
OCHRE_IN = {name: through(matrix, OCHRE) for name, matrix in FROM_BT709.items()}


def write(path: Path, rgb, primaries: int, transfer: int = BT709, matrix: int = BT709, count=9):
    """Frames of one colour in lossless H.264 of full resolution, limited range."""
    red, blue = {BT709: (0.2126, 0.0722), BT2020: (0.2627, 0.0593)}[matrix]
    r, g, b = (value / 255 for value in rgb)
    y = red * r + (1 - red - blue) * g + blue * b
    codes = (
        16 + 219 * y,
        128 + 224 * (b - y) / (2 * (1 - blue)),
        128 + 224 * (r - y) / (2 * (1 - red)),
    )
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "0"})
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv444p"
        context = stream.codec_context
        context.color_primaries, context.color_trc, context.colorspace = primaries, transfer, matrix
        context.color_range = 1
        for number in range(count):
            frame = av.VideoFrame(64, 64, "yuv444p")
            frame.pts, frame.colorspace, frame.color_range = number, matrix, 1
            if hasattr(frame, "color_primaries"):  # newer encoders write what the frame says
                frame.color_primaries, frame.color_trc = primaries, transfer
            for plane, code in zip(frame.planes, codes, strict=True):
                np.frombuffer(plane, np.uint8)[:] = round(code)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


@pytest.mark.parametrize(
    ("primaries", "matrix", "trait"),
    [(BT2020, BT2020, "bt2020"), (BT2020, BT709, "bt2020"), (DISPLAY_P3, BT709, "display_p3")],
)
@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov"])
def test_a_colour_is_shown_as_it_is_meant(tmp_path, primaries, matrix, trait, suffix):
    path = tmp_path / f"a{suffix}"
    write(path, OCHRE_IN[primaries], primaries, matrix=matrix)
    assert probe(path).traits == (trait,)
    for frame in (next(iter(iterate_frames(path))), read_frames(path, VideoSize(32, 32, 1))[0]):
        assert np.abs(frame.astype(int) - OCHRE).max() <= 4


@pytest.mark.parametrize("primaries", [BT709, UNSPECIFIED])
def test_others_are_left_as_they_are(tmp_path, primaries):
    write(tmp_path / "a.mp4", OCHRE, primaries)
    assert probe(tmp_path / "a.mp4").traits == ()
    frame = next(iter(iterate_frames(tmp_path / "a.mp4")))
    assert np.abs(frame.astype(int) - OCHRE).max() <= 1


def test_what_is_written_here_has_the_primaries_of_bt_709(tmp_path):
    write_video(tmp_path / "a.mp4", np.full((2, 64, 64, 3), OCHRE, np.uint8), 25)
    assert probe(tmp_path / "a.mp4").traits == ()


@pytest.mark.parametrize(("primaries", "trait"), [(NTSC, "bt601_525"), (PAL, "bt601_625")])
def test_saturated_green_of_standard_definition_is_another(tmp_path, primaries, trait):
    write(tmp_path / "a.mp4", (100, 200, 100), primaries)
    assert probe(tmp_path / "a.mp4").traits == (trait,)
    shown = next(iter(iterate_frames(tmp_path / "a.mp4")))[32, 32].astype(int)
    assert np.abs(shown - through(TO_BT709[primaries], (100, 200, 100))).max() <= 2
    assert abs(int(shown[0]) - 100) >= 7


@pytest.mark.parametrize("name", sorted(CHROMATICITIES))
def test_greys_stay_and_stripes_are_as_the_whole(monkeypatch, name):
    greys = np.repeat(np.arange(256, dtype=np.uint8)[:, None, None], 3, axis=2)
    assert np.abs(brought_to_bt709(greys, name).astype(int) - greys).max() <= 1
    pixels = np.random.default_rng(0).integers(0, 2**16, (40, 30, 3)).astype(np.uint16)
    whole = brought_to_bt709(pixels, name)
    monkeypatch.setattr(primaries_module, "STRIPE_PIXELS", 100)
    np.testing.assert_array_equal(brought_to_bt709(pixels, name), whole)


def test_every_standard_has_its_chromaticities():
    assert set(STANDARDS.values()) == set(CHROMATICITIES)


def test_tone_mapping_minds_the_primaries(tmp_path):
    for primaries in (BT2020, DISPLAY_P3, UNSPECIFIED):
        write(tmp_path / f"{primaries}.mp4", (130, 100, 90), primaries, PQ, BT2020)
    shown = {
        n: next(iter(iterate_frames(tmp_path / f"{n}.mp4")))[32, 32].astype(int)
        for n in (BT2020, DISPLAY_P3, UNSPECIFIED)
    }
    assert probe(tmp_path / "9.mp4").traits == probe(tmp_path / "2.mp4").traits == ("pq",)
    assert probe(tmp_path / "12.mp4").traits == ("pq", "display_p3")
    np.testing.assert_array_equal(shown[BT2020], shown[UNSPECIFIED])
    assert shown[BT2020][0] - shown[DISPLAY_P3][0] >= 3  # the same numbers are a stronger red


def profile_of(primaries: str) -> bytes:
    """sRGB's profile with other primaries, adapted to D50 as profiles have them."""
    to_srgb = primaries_module.light_to_bt709(primaries).astype(float)
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    corners = {}
    for number in range(struct.unpack(">I", srgb[128:132])[0]):
        tag, at, _ = struct.unpack(">4sII", srgb[132 + 12 * number : 144 + 12 * number])
        if tag in (b"rXYZ", b"gXYZ", b"bXYZ"):
            corners[tag] = at + 8
    places = [corners[tag] for tag in (b"rXYZ", b"gXYZ", b"bXYZ")]
    own = np.stack([np.array(struct.unpack(">3i", srgb[p : p + 12])) for p in places], axis=1)
    changed = bytearray(srgb)
    for place, corner in zip(places, (own @ to_srgb).T, strict=True):
        changed[place : place + 12] = struct.pack(">3i", *(round(n) for n in corner))
    return bytes(changed)


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "tif", "avif"])
def test_a_picture_is_converted_by_its_profile(tmp_path, suffix):
    if suffix == "avif" and not features.check("avif"):
        pytest.skip("this Pillow has no AVIF")
    picture = Image.new("RGB", (32, 32), OCHRE_IN[DISPLAY_P3])
    picture.save(tmp_path / f"a.{suffix}", icc_profile=profile_of("display_p3"), quality=98)
    shown = read_image(tmp_path / f"a.{suffix}")[16, 16].astype(int)
    assert np.abs(shown - OCHRE).max() <= 5
    assert probe(tmp_path / f"a.{suffix}").traits == ()  # as the first version did


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_a_profile_that_cannot_be_used_is_told(tmp_path, mode):
    picture = Image.new("RGB", (32, 32), OCHRE).convert(mode)
    picture.save(tmp_path / "a.jpg", quality=98)
    plain = read_image(tmp_path / "a.jpg")
    broken = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()[:200]
    picture.save(tmp_path / "b.jpg", quality=98, icc_profile=broken)
    np.testing.assert_array_equal(read_image(tmp_path / "b.jpg"), plain)
    info = probe(tmp_path / "b.jpg")
    assert (info.traits, info.reading) == (("unusable_profile",), ())
    assert "colour profile that can't be used, which is ignored" in info.told


def with_cicp(path: Path, primaries: int, transfer: int, **save) -> Path:
    """A PNG that states its colours by number."""
    Image.new("RGBA", (32, 32), (*OCHRE_IN[DISPLAY_P3], 255)).save(path, **save)
    content = path.read_bytes()
    chunk = b"cICP" + bytes([primaries, transfer, 0, 1])
    whole = struct.pack(">I", 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
    path.write_bytes(content[:33] + whole + content[33:])
    return path


def test_a_png_that_states_its_primaries(tmp_path):
    path = with_cicp(tmp_path / "a.png", DISPLAY_P3, 13)
    assert probe(path).traits == ("display_p3",)
    assert np.abs(read_image(path)[16, 16].astype(int) - OCHRE).max() <= 2
    # They count before a profile.
    both = with_cicp(tmp_path / "b.png", DISPLAY_P3, 13, icc_profile=profile_of("bt2020"))
    np.testing.assert_array_equal(read_image(both), read_image(path))
    plain = with_cicp(tmp_path / "c.png", BT709, 13)
    assert probe(plain).traits == ()
    assert tuple(read_image(plain)[16, 16]) == OCHRE_IN[DISPLAY_P3]


def test_a_picture_of_high_dynamic_range_is_left_out_by_name(tmp_path):
    for name, transfer in (("PQ", 16), ("HLG", 18)):
        with pytest.raises(DataError, match=rf"a\.png: is an image of high dynamic range .{name}"):
            probe(with_cicp(tmp_path / "a.png", BT2020, transfer))


@pytest.mark.skipif(not features.check("avif"), reason="this Pillow has no AVIF")
def test_an_avif_that_states_its_colours(tmp_path):
    path = tmp_path / "a.avif"
    Image.new("RGB", (64, 64), OCHRE_IN[DISPLAY_P3]).save(path, quality=100)
    plain = path.read_bytes()
    assert plain.count(b"colrnclx") == 1
    assert probe(path).traits == ()
    at = plain.index(b"colrnclx") + 8

    def stating(primaries, transfer):
        path.write_bytes(plain[:at] + struct.pack(">HH", primaries, transfer) + plain[at + 4 :])

    stating(DISPLAY_P3, 13)
    assert probe(path).traits == ("display_p3",)
    assert np.abs(read_image(path)[16, 16].astype(int) - OCHRE).max() <= 4
    stating(BT2020, 16)
    with pytest.raises(DataError, match=r"high dynamic range \(PQ\): save it in SDR"):
        probe(path)


def test_clips_are_encoded_again_where_the_version_before_left_their_primaries(
    tmp_path, write_clip, make, monkeypatch
):
    """Its facts had traits, but none of these."""
    write_clip("a.mp4")
    write(tmp_path / "b.mp4", OCHRE_IN[BT2020], BT2020)
    for path in tmp_path.glob("*.mp4"):
        os.utime(path, (1_600_000_000, 1_600_000_000))
    rows = [{"media_path": name, "caption": f"clip {name}"} for name in ("a.mp4", "b.mp4")]
    with monkeypatch.context() as earlier:
        earlier.setattr("ltxv_train_core.media.decoding.primaries_of", lambda stream: None)
        before = make(rows)
    facts = before.root / "files.json"
    value = json.loads(facts.read_text(encoding="utf-8"))
    del value["traits"]
    facts.write_text(json.dumps(value), encoding="utf-8")
    summary = make(rows)
    assert (summary.written, summary.reread, summary.reused) == (1, 1, 3)
    assert "1 converted from the primaries of BT.2020" in summary.text
    assert (make(rows).written, make(rows).reused) == (0, 4)
