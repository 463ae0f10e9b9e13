"""Video files, opened to be read: containers of the table alone, and nothing but the file itself.

FFmpeg would follow playlists, patterns of names and addresses in a file into other files.
"""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import av
from av.stream import Disposition
from av.video.stream import VideoStream

from ..errors import DataError
from .formats import SOUND_READERS, VIDEO_READERS, VIDEO_SHARE
from .mp4_boxes import require_modest_tables
from .readable import LARGE_PIXELS, printable, require_pixels

_large = threading.RLock()
BOUNDED_PROBING = tuple(map(int, av.__version__.split(".")[:2])) >= (17, 1)
"""Older PyAV crashes where decoders have options while it looks for the streams of an MPEG program
stream or an FLV. With those the bound of pixels counts from there on."""


@contextmanager
def open_video(
    path: Path, megapixels: float, decode_ahead: bool = True, in_turn: bool = True
) -> Iterator[tuple[av.container.InputContainer, VideoStream]]:
    """Yields the container and its first video stream; sound is never decoded.

    Threads decode some frames ahead, which is wasted on one frame alone. Two clips are usually read
    at a time: each takes half of the processor.

    Args:
        megapixels: of pictures; frames of more than 0.4 times that are not decoded.
        in_turn: threads read large videos one at a time.

    Raises:
        DataError: it holds no video that can be decoded, or larger frames.
        Exception: whatever PyAV raises.
    """
    require_modest_tables(path)
    megapixels *= VIDEO_SHARE
    # An absolute name is no address. What is in the file must be neither.
    whitelists = {"format_whitelist": ",".join(VIDEO_READERS), "protocol_whitelist": "file"}
    bound = {"max_pixels": str(int(megapixels * 1e6))}
    with av.open(
        str(path.absolute()),
        container_options=whitelists,
        options=bound if BOUNDED_PROBING else {},
    ) as container:
        stream = _video_stream(path, container)
        codec = stream.codec_context
        require_pixels(path, codec.width, codec.height, megapixels)
        pixels = codec.width * codec.height
        large = pixels >= LARGE_PIXELS
        codec.options = bound
        stream.thread_type = "AUTO" if decode_ahead and not large else "SLICE"
        codec.thread_count = 1 if large else max(1, (os.cpu_count() or 1) // 2)
        with _large if large and in_turn else nullcontext():
            yield container, stream


@contextmanager
def open_sound(path: Path) -> Iterator[tuple[av.container.InputContainer, float]]:
    """Yields the container of a file that is read for its sound, and the second at which it begins: that of its
    first frame where it holds a video, otherwise 0.

    Raises:
        DataError: it is of a kind that isn't read.
        Exception: whatever PyAV raises.
    """
    require_modest_tables(path)
    whitelists = {"format_whitelist": ",".join(SOUND_READERS), "protocol_whitelist": "file"}
    with av.open(str(path.absolute()), container_options=whitelists) as container:
        videos = [
            s for s in container.streams.video if not s.disposition & Disposition.attached_pic
        ]
        first = videos[0] if videos else None
        begin = (first.start_time or 0) * (first.time_base or 0) if first else 0
        yield container, float(begin)


def _video_stream(path: Path, container: av.container.InputContainer) -> VideoStream:
    """The first one that is no cover picture."""
    streams = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
    if not streams:
        raise DataError(f"{printable(path)}: holds no video")
    if streams[0].codec_context is None:
        raise DataError(
            f"{printable(path)}: its video is of a kind that PyAV can't decode: save it as H.264"
        )
    return streams[0]
