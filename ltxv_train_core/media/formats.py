"""The media files that there are: what each suffix stands for, and by which decoder it is read.

Content decides among the formats of one kind, as pictures and videos often have another's suffix; what
is in none of them is not opened, whatever it is called. Imports nothing that decodes.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal


@dataclass(frozen=True)
class Format:
    """Attributes:
    reader: its name in Pillow (images), or those of its demuxers in FFmpeg (videos).
    share: of the largest number of pixels that is read, for decoders that hold a picture more often.
    """

    kind: Literal["image", "video"]
    reader: str
    share: float = 1.0


_PNG = Format("image", "PNG")
_JPEG = Format("image", "JPEG")
_WEBP = Format("image", "WEBP", share=0.5)
_BMP = Format("image", "BMP")
_TIFF = Format("image", "TIFF")
_AVIF = Format("image", "AVIF", share=0.75)
_HEIF = Format("image", "HEIF", share=0.75)
_MP4 = Format("video", "mov")
_MATROSKA = Format("video", "matroska")
_TRANSPORT_STREAM = Format("video", "mpegts")
_PROGRAM_STREAM = Format("video", "mpeg,mpegvideo")

FORMATS: dict[str, Format] = {
    ".png": _PNG,
    ".jpg": _JPEG,
    ".jpeg": _JPEG,
    ".jfif": _JPEG,
    ".webp": _WEBP,
    ".bmp": _BMP,
    ".tif": _TIFF,
    ".tiff": _TIFF,
    ".avif": _AVIF,
    ".heic": _HEIF,
    ".heif": _HEIF,
    ".mp4": _MP4,
    ".m4v": _MP4,
    ".mov": _MP4,
    ".3gp": _MP4,
    ".mkv": _MATROSKA,
    ".webm": _MATROSKA,
    ".avi": Format("video", "avi"),
    ".gif": Format("video", "gif"),
    ".ts": _TRANSPORT_STREAM,
    ".mts": _TRANSPORT_STREAM,
    ".m2ts": _TRANSPORT_STREAM,
    ".mpg": _PROGRAM_STREAM,
    ".mpeg": _PROGRAM_STREAM,
    ".wmv": Format("video", "asf"),
    ".flv": Format("video", "flv"),
    ".mxf": Format("video", "mxf"),
    ".ogv": Format("video", "ogg"),
}
IMAGE_SUFFIXES = frozenset(suffix for suffix, f in FORMATS.items() if f.kind == "image")
VIDEO_SUFFIXES = frozenset(suffix for suffix, f in FORMATS.items() if f.kind == "video")
IMAGE_READERS = tuple(dict.fromkeys(FORMATS[s].reader for s in FORMATS if s in IMAGE_SUFFIXES))
VIDEO_READERS = tuple(dict.fromkeys(FORMATS[s].reader for s in FORMATS if s in VIDEO_SUFFIXES))
SOUND_SUFFIXES = frozenset(
    (".wav", ".flac", ".mp3", ".ogg", ".oga", ".opus", ".m4a", ".aac", ".aif", ".aiff")
)
"""Of files that hold a sound alone."""
SOUND_READERS = (*VIDEO_READERS, "wav", "mp3", "flac", "aac", "aiff")
"""Of files that are read for their sound alone, among them m4a (mov), opus and ogg."""
VIDEO_SHARE = 0.4
"""Decoders of videos hold frames that others refer to."""
IMAGE_SHARES = {f.reader: f.share for f in FORMATS.values() if f.kind == "image"}


def listed(suffixes: Iterable[str]) -> str:
    """Suffixes as a message lists them."""
    return ", ".join(sorted(suffixes, key=lambda suffix: (suffix[1].isdigit(), suffix)))


def is_image(path: Path) -> bool:
    """Whether the suffix is of an image. The file is not opened."""
    return path.suffix.lower() in IMAGE_SUFFIXES


def is_sound(path: Path) -> bool:
    """Whether the suffix is of a sound alone. The file is not opened."""
    return path.suffix.lower() in SOUND_SUFFIXES


def is_media(path: Path) -> bool:
    """Whether the suffix is of an image or a video. The file is not opened."""
    return path.suffix.lower() in FORMATS
