"""Transparent parts are black, whatever codec holds them: their hidden colour is never seen."""

import av
import numpy as np
import pytest
from PIL import Image

from ltxv_train_core.errors import DataError
from ltxv_train_core.geometry import VideoSize
from ltxv_train_core.media import alpha
from ltxv_train_core.media.info import Selection
from ltxv_train_core.media.video import iterate_frames, probe, read_frames
from tests.core.media.quarters import COLORS, letters_of, quarters
from tests.core.media.test_video import encode

COUNT = 20
CODECS = {
    "vp8.webm": ("libvpx", "yuva420p", {"b": "2M", "auto-alt-ref": "0"}),
    "vp9.webm": ("libvpx-vp9", "yuva420p", {"crf": "4", "auto-alt-ref": "0"}),
    "vp9.mkv": ("libvpx-vp9", "yuva420p", {"crf": "4", "auto-alt-ref": "0", "g": "5"}),
    "prores.mov": ("prores_ks", "yuva444p10le", {}),
    "qtrle.mov": ("qtrle", "argb", {}),
    "png.mov": ("png", "rgba", {}),
    "ffv1.mkv": ("ffv1", "yuva420p", {}),
}


def transparent() -> np.ndarray:
    """Red, green, blue and white; two quarters of it are transparent, others in odd frames."""
    frames = np.empty((COUNT, 64, 96, 4), np.uint8)
    frames[..., :3], frames[..., 3] = quarters(), 255
    frames[::2, :, 48:, 3] = 0
    frames[1::2, :, :48, 3] = 0
    return frames


@pytest.mark.parametrize("name", CODECS)
def test_transparent_parts_of_a_video_are_black(tmp_path, name):
    path = tmp_path / name
    codec, layout, options = CODECS[name]
    encode(path, transparent(), codec, layout, options=options)
    assert probe(path).traits == (("alpha_beside",) if name.startswith("vp") else ())
    seen = [letters_of(frame) for frame in iterate_frames(path)]
    assert seen == ["RkBk", "kGkW"] * (COUNT // 2)
    window = read_frames(path, VideoSize(96, 64, 9), Selection(start=7))
    assert [letters_of(frame) for frame in window] == seen[7:16]


@pytest.mark.parametrize("opacity", [0, 255])
def test_a_video_with_a_palette(tmp_path, opacity):
    path = tmp_path / "a.mov"
    places = np.repeat(np.repeat(np.arange(4, dtype=np.uint8).reshape(2, 2), 32, 0), 48, 1)
    palette = np.zeros((256, 4), np.uint8)  # the others are used by no pixel
    palette[:4, 0], palette[:4, 1:] = 255, [COLORS[letter] for letter in "RGBW"]
    palette[1, 0] = opacity
    with av.open(str(path), "w") as container:
        stream = container.add_stream("png", rate=25)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "pal8"
        frame = av.VideoFrame.from_ndarray((places, palette), format="pal8")
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    assert probe(path).traits == (() if opacity else ("alpha_beside",))
    assert letters_of(next(iter(iterate_frames(path)))) == ("RGBW" if opacity else "RkBW")


def test_transparent_parts_of_a_gif_are_black(tmp_path):
    images = [Image.fromarray(pixels) for pixels in transparent()]
    images[0].save(
        tmp_path / "a.gif", save_all=True, append_images=images[1:], duration=100, disposal=2
    )
    seen = [letters_of(frame) for frame in iterate_frames(tmp_path / "a.gif")]
    assert seen == ["RkBk", "kGkW"] * (COUNT // 2)


@pytest.mark.parametrize("suffix", [".png", ".webp", ".tiff"])
def test_transparent_parts_of_a_picture_are_black(tmp_path, suffix):
    options = {"lossless": True, "exact": True} if suffix == ".webp" else {}
    Image.fromarray(transparent()[0]).save(tmp_path / f"a{suffix}", **options)
    assert letters_of(next(iter(iterate_frames(tmp_path / f"a{suffix}")))) == "RkBk"


def test_a_palette_with_a_transparent_colour(tmp_path):
    image = Image.fromarray(quarters()).convert("P", palette=Image.Palette.ADAPTIVE, colors=4)
    image.save(tmp_path / "a.png", transparency=image.getpixel((0, 0)))
    assert letters_of(next(iter(iterate_frames(tmp_path / "a.png")))) == "kGBW"


def test_a_video_whose_transparency_can_not_be_decoded_is_named(tmp_path, monkeypatch):
    codec, layout, options = CODECS["vp9.webm"]
    encode(tmp_path / "a.webm", transparent(), codec, layout, options=options)
    monkeypatch.setitem(alpha.LIBVPX, "vp9", "no-such-decoder")
    with pytest.raises(DataError, match=r"a\.webm: has transparency in VP9"):
        probe(tmp_path / "a.webm")


def test_a_layer_of_transparency_in_hevc_is_not_left_out_silently(tmp_path):
    """The codec's setup tells of one that the frames don't have, as where FFmpeg is older than 8.0."""
    path = tmp_path / "a.mp4"
    options = {"x265-params": "log-level=none"}
    encode(path, transparent()[..., :3], "libx265", options=options)
    content = path.read_bytes()
    setup = content.index(b"hvcC")
    information = content.index(b"\x4e\x01\x05", setup)  # x265's own SEI, of type 5
    path.write_bytes(content[: information + 2] + b"\xa5" + content[information + 3 :])
    with pytest.raises(DataError, match=r"a\.mp4: has transparency in HEVC"):
        probe(path)


def test_a_usual_decoder_is_kept_for_opaque_videos(tmp_path):
    encode(tmp_path / "a.webm", transparent()[..., :3], "libvpx-vp9", options={"crf": "4"})
    with av.open(str(tmp_path / "a.webm")) as container:
        assert not alpha.is_beside(container.streams.video[0])
    assert probe(tmp_path / "a.webm").traits == ()


@pytest.mark.parametrize("pixel_format", ["yuva420p", "yuva420p10le"])
def test_transparent_parts_of_hevc_are_black(tmp_path, pixel_format):
    """Of what x265 writes, where it was built for that."""
    path = tmp_path / "a.mov"
    try:
        with av.open(str(path), "w") as container:
            stream = container.add_stream("libx265", rate=25)
            stream.width, stream.height, stream.pix_fmt = 96, 64, pixel_format
            for pixels in transparent():
                frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgba")
                container.mux(stream.encode(frame.reformat(format=pixel_format)))
            container.mux(stream.encode(None))
    except (OSError, ValueError):
        pytest.skip("this x265 writes no transparency")
    frame = next(iter(iterate_frames(path)))
    opaque = transparent()[0][..., 3] > 0
    assert frame[~opaque].mean() <= 20
    assert frame[opaque].mean() >= 60
