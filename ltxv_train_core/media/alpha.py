"""Which frames are transparent, and transparency that FFmpeg's own decoders drop without a warning.

VP8 and VP9 in WebM and Matroska hold it beside each frame (`alpha_mode`), which libvpx alone decodes; HEVC
holds it in a second layer, which FFmpeg decodes since 8.0.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.video.stream import VideoStream

from ..errors import DataError, install_command
from .readable import printable

LIBVPX = {"vp8": "libvpx", "vp9": "libvpx-vp9"}
ALPHA_CHANNEL_INFORMATION = (b"\x4e\x01\xa5", b"\x4e\x09\xa5")
"""The first bytes of a SEI of HEVC that announces a layer of transparency (ITU-T H.265, F.14)."""


def is_beside(stream: VideoStream) -> bool:
    """Whether a stream has transparency that its usual decoder drops."""
    return stream.codec_context.name in LIBVPX and stream.metadata.get("alpha_mode") == "1"


def has_alpha(frame: av.VideoFrame) -> bool:
    """Whether a frame has a channel of transparency, or a palette with colours that use it."""
    has_channel = any(component.is_alpha for component in frame.format.components)
    return has_channel or has_transparent_palette(frame)


def has_transparent_palette(frame: av.VideoFrame) -> bool:
    """Whether any pixel is of a colour that is not opaque."""
    if frame.format.name != "pal8":
        return False
    pixels, palette = (np.frombuffer(memoryview(plane), np.uint8) for plane in frame.planes[:2])
    rows = pixels.reshape(-1, frame.planes[0].line_size)[: frame.height, : frame.width]
    return bool((palette.view(np.uint32)[np.unique(rows)] >> 24 < 255).any())


def frames_with_alpha(
    path: Path, container: av.container.InputContainer, stream: VideoStream
) -> Iterator[av.VideoFrame]:
    """Yields every frame of such a stream, with its transparency.

    Raises:
        DataError: this FFmpeg has no decoder for it.
    """
    usual = stream.codec_context
    try:
        decoder: Any = av.CodecContext.create(LIBVPX[usual.name], "r")
    except av.codec.codec.UnknownCodecError as error:
        raise DataError(_undecoded(path, usual.name)) from error
    decoder.options = usual.options
    decoder.thread_count = usual.thread_count
    for packet in container.demux(stream):
        yield from decoder.decode(packet if packet.size else None)


def require_transparency(path: Path, stream: VideoStream, frame: av.VideoFrame) -> None:
    """Raises `DataError` where a layer of transparency was dropped."""
    setup = stream.codec_context.extradata or b""
    if (
        stream.codec_context.name == "hevc"
        and not has_alpha(frame)
        and any(mark in setup for mark in ALPHA_CHANNEL_INFORMATION)
    ):
        raise DataError(_undecoded(path, stream.codec_context.name))


def _undecoded(path: Path, codec: str) -> str:
    return (
        f"{printable(path)}: has transparency in {codec.upper()}, which this PyAV "
        f"can't decode: {install_command('av', '--upgrade')}, or save it as ProRes 4444"
    )
