"""Small real media files, and what strangers do to them."""

import io
import struct
import zlib
from collections.abc import Callable
from fractions import Fraction
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import av
import numpy as np
from PIL import Image, features

from ltxv_train_core.geometry import VideoSize
from ltxv_train_core.media.images import read_image
from ltxv_train_core.media.video import iterate_frames, probe, read_frames

WIDTH, HEIGHT, FRAMES = 96, 64, 17
LEVEL = 120
SIZE = VideoSize(WIDTH, HEIGHT, 9)

VIDEOS: dict[str, tuple[str, str, dict[str, str]]] = {
    "mp4": ("libx264", "yuv420p", {}),
    "mov": ("mpeg4", "yuv420p", {}),
    "mkv": ("libx264", "yuv420p", {}),
    "webm": ("libvpx", "yuv420p", {}),
    "avi": ("mpeg4", "yuv420p", {}),
    "gif": ("gif", "rgb8", {}),
    "ts": ("libx264", "yuv420p", {}),
    "mpg": ("mpeg2video", "yuv420p", {}),
    "wmv": ("wmv2", "yuv420p", {}),
    "flv": ("flv", "yuv420p", {}),
    "mxf": ("mpeg2video", "yuv420p", {}),
    "fragments.mp4": ("libx264", "yuv420p", {"movflags": "frag_keyframe+empty_moov"}),
    "png.mov": ("png", "rgb24", {}),
    "ffv1.mkv": ("ffv1", "yuv420p", {}),
    "mjpeg.avi": ("mjpeg", "yuvj420p", {}),
    "alpha.webm": ("libvpx-vp9", "yuva420p", {}),
    "interlaced.mp4": ("libx264", "yuv420p", {}),
    "interlaced.ts": ("mpeg2video", "yuv420p", {}),
    "hlg.mp4": ("libx264", "yuv420p10le", {}),
}
IMAGES: dict[str, tuple[str, dict[str, Any]]] = {
    "png": ("RGB", {}),
    "palette.png": ("P", {}),
    "grey16.png": ("I;16", {}),
    "alpha.png": ("RGBA", {}),
    "jpg": ("RGB", {}),
    "progressive.jpg": ("RGB", {"progressive": True}),
    "cmyk.jpg": ("CMYK", {}),
    "webp": ("RGB", {}),
    "lossless.webp": ("RGBA", {"lossless": True}),
    "bmp": ("RGB", {}),
    "tif": ("RGB", {}),
    "deflate.tif": ("RGB", {"compression": "tiff_deflate"}),
    "avif": ("RGB", {}),
}
if not features.check("avif"):
    del IMAGES["avif"]
ANIMATIONS = ("animated.webp", "animated.png")
NAMES = (*VIDEOS, *IMAGES, *ANIMATIONS)


def suffix(name: str) -> str:
    return Path(f"a.{name}").suffix


@cache
def media(name: str) -> bytes:
    """A small file of even grey: the same in every run, as far as encoders are."""
    with TemporaryDirectory() as folder:
        path = Path(folder, f"a.{name}")
        if name in VIDEOS:
            codec, pixel_format, options = VIDEOS[name]
            write_video(path, codec, pixel_format, options, change=partial(_set, name))
        elif name in ANIMATIONS:
            path.write_bytes(animated(path.suffix[1:].upper(), WIDTH, HEIGHT, FRAMES, step=1))
        else:
            mode, options = IMAGES[name]
            picture(mode).save(path, **options)
        return path.read_bytes()


def _set(name: str, stream: Any) -> None:
    if name.startswith("interlaced"):
        stream.options = {"flags": "+ilme+ildct"}
    if name.startswith("hlg"):
        stream.codec_context.color_trc, stream.codec_context.colorspace = 18, 9


def picture(mode: str, width: int = WIDTH, height: int = HEIGHT) -> Image.Image:
    if mode == "I;16":
        return Image.fromarray(np.full((height, width), LEVEL * 257, np.uint16))
    return Image.new("RGB", (width, height), (LEVEL,) * 3).convert(mode)


def write_video(
    path: Path,
    codec: str = "libx264",
    pixel_format: str = "yuv420p",
    options: dict[str, str] | None = None,
    width: int = WIDTH,
    height: int = HEIGHT,
    times: list[int] | None = None,
    change: Callable[[Any], None] = lambda stream: None,
) -> None:
    """Args:
    times: of frames, in hundredths of a second.
    change: what is done to the stream before frames are encoded.
    """
    with av.open(str(path), "w", options=options or {}) as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = width, height, pixel_format
        change(stream)
        if times:
            stream.codec_context.time_base = Fraction(1, 100)
        pixels = np.full((height, width, 3), LEVEL, np.uint8)
        for number in range(len(times) if times else FRAMES):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            if times:
                frame.pts, frame.time_base = times[number], Fraction(1, 100)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def write_sound(path: Path, codec: str = "aac", cover: bool = False) -> None:
    """Sound alone, or with a cover picture."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=8000, layout="mono")
        pictures = container.add_stream("png", rate=1) if cover else None
        if pictures:
            pictures.width, pictures.height, pictures.pix_fmt = 32, 32, "rgb24"
            pictures.disposition = av.stream.Disposition.attached_pic
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        silence.sample_rate = 8000
        container.mux(stream.encode(silence))
        container.mux(stream.encode(None))
        if pictures:
            frame = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")
            container.mux(pictures.encode(frame))
            container.mux(pictures.encode(None))


def look(path: Path) -> tuple[Any, np.ndarray]:
    """Everything that is done to a clip: looked at, read, read from the middle, read whole."""
    info = probe(path)
    frames = read_frames(path, VideoSize(WIDTH, HEIGHT, 1 if info.frames < 9 else 9))
    if info.is_image:
        assert read_image(path).shape == (info.height, info.width, 3)
    shapes = {frame.shape for frame in iterate_frames(path)}
    assert shapes == {(info.height, info.width, 3)}, shapes
    return info, frames


def is_grey(value: tuple[Any, np.ndarray]) -> str:
    """What is wrong with what `look` gave of an undamaged file."""
    level = value[1].mean()
    return "" if abs(level - LEVEL) < 12 else f"shows {level:.0f} instead of {LEVEL}"


def has_shape(value: tuple[Any, np.ndarray]) -> str:
    """What is wrong with what `look` gave of a damaged file."""
    info, frames = value
    right = frames.shape[1:] == (HEIGHT, WIDTH, 3) and info.width > 0 and info.height > 0
    return "" if right and 0 < info.fps <= 10_000 else f"{info}, {frames.shape}"


def png_chunk(kind: bytes, content: bytes) -> bytes:
    checksum = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)


def png(width: int, height: int, content: bytes, *more: bytes) -> bytes:
    """A PNG of 8 bit grey that says this size; `content` is compressed already."""
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunks = (png_chunk(b"IHDR", head), *more, png_chunk(b"IDAT", content), png_chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def replaced(content: bytes, at: bytes, skip: int, value: bytes, occurrence: int = 0) -> bytes:
    """Content with other bytes `skip` behind a mark."""
    start = -1
    for _ in range(occurrence + 1):
        start = content.index(at, start + 1)
    start += len(at) + skip
    return content[:start] + value + content[start + len(value) :]


def box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", 8 + len(content)) + kind + content


def animated(format: str, width: int, height: int, frames: int = 2, step: int = 60) -> bytes:
    file = io.BytesIO()
    pictures = [Image.new("RGB", (width, height), (LEVEL + step * i,) * 3) for i in range(frames)]
    pictures[0].save(file, format, save_all=True, append_images=pictures[1:])
    return file.getvalue()


def samples(count: int) -> bytes:
    """An MP4 whose tables claim so many samples of one byte."""
    content = replaced(media("mp4"), b"stsz", 4, struct.pack(">II", 1, count))
    content = replaced(content, b"stsc", 8, struct.pack(">III", 1, count, 1))
    content = replaced(content, b"stts", 8, struct.pack(">II", count, 512))
    return content.replace(b"ctts", b"free").replace(b"stss", b"free")


def fragment(count: int, times: int = 1) -> bytes:
    """A fragmented MP4 with runs that claim so many samples, without a size for each."""
    run = box(b"trun", struct.pack(">II", 0, count)) * times
    header = box(b"tfhd", struct.pack(">IIII", 0x000018, 1, 512, 1))
    return media("fragments.mp4") + box(b"moof", box(b"traf", header + run))
