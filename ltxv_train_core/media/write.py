"""Frames, and sound with them, to video files."""

from collections.abc import Iterable, Mapping
from fractions import Fraction
from itertools import chain
from pathlib import Path

import av
import numpy as np

from ..storage.atomic import atomic_path
from ..storage.paths import require_short
from .sound import Sound, as_frame

BT709 = 1
LIMITED_RANGE = 1
_FULL_RANGE = 2
ENCODER_THREADS = 4
"""What x264 writes depends on how many there are; by itself it takes as many as the machine has."""


# Generous for two channels of AAC: the sound of samples is measured on the written file.
SOUND_BITS_PER_SECOND = 192_000


def write_video(
    path: Path,
    frames: Iterable[np.ndarray],
    fps: float,
    crf: int = 12,
    sound: Sound | None = None,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Writes an h264 mp4, atomically, tagged BT.709 so that every player shows the same colours.

    Args:
        frames: uint8 RGB [frames, height, width, 3], or one frame after the other. Odd sizes are
            written as yuv444p.
        fps: frames per second; written as the nearest fraction with a denominator up to 1001.
        crf: x264's constant rate factor; 0 is nearly lossless, 51 the coarsest.
        sound: heard from the first frame on, written as AAC.
        metadata: texts by name. They stand before the frames: ComfyUI's interface looks for its graph
            there.

    Raises:
        DataError: its path is too long for this system.
    """
    require_short(path)
    remaining = iter(frames)
    first = next(remaining)
    assert first.dtype == np.uint8, first.dtype
    height, width, channels = first.shape
    assert channels == 3, first.shape
    pixel_format = "yuv420p" if height % 2 == 0 and width % 2 == 0 else "yuv444p"
    options = {"movflags": "use_metadata_tags+faststart"} if metadata else {}
    with (
        atomic_path(path) as temporary,
        av.open(str(temporary), "w", format="mp4", options=options) as container,
    ):
        container.metadata.update(metadata or {})
        stream = container.add_stream(
            "libx264", rate=Fraction(fps).limit_denominator(1001), options={"crf": str(crf)}
        )
        stream.codec_context.thread_count = ENCODER_THREADS
        stream.width, stream.height, stream.pix_fmt = width, height, pixel_format
        stream.codec_context.colorspace = BT709
        stream.codec_context.color_primaries = BT709
        stream.codec_context.color_trc = BT709
        stream.codec_context.color_range = LIMITED_RANGE
        heard = None if sound is None else container.add_stream("aac", rate=sound.rate)
        for pixels in chain([first], remaining):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
            converted = frame.reformat(format=pixel_format, dst_colorspace=BT709)
            container.mux(stream.encode(converted))
        container.mux(stream.encode())
        if heard is not None and sound is not None:
            heard.bit_rate = SOUND_BITS_PER_SECOND
            container.mux(heard.encode(as_frame(sound)))
            container.mux(heard.encode())


def write_exact_sound(path: Path, sound: Sound) -> None:
    """Writes a wav that gives back exactly the samples that it was made of, atomically."""
    require_short(path)
    with atomic_path(path) as temporary, av.open(str(temporary), "w", format="wav") as container:
        stream = container.add_stream("pcm_f32le", rate=sound.rate, layout="stereo")
        converter = av.AudioResampler(format="flt", layout="stereo", rate=sound.rate)
        for frame in converter.resample(as_frame(sound)):
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def write_exact_video(
    path: Path, frames: Iterable[np.ndarray], fps: float, grey: bool = False
) -> None:
    """Writes an mp4 that gives back exactly the frames that it was made of, atomically.

    Few players show such files (h264 in RGB or grey). Frames, fps and `DataError` as in
    `write_video`.

    Args:
        grey: the three colours of every pixel are equal: a third of the size.
    """
    require_short(path)
    with atomic_path(path) as temporary, av.open(str(temporary), "w", format="mp4") as container:
        stream = container.add_stream(
            "libx264" if grey else "libx264rgb",
            rate=Fraction(fps).limit_denominator(1001),
            options={"crf": "0", "preset": "veryfast"},
        )
        stream.codec_context.thread_count = ENCODER_THREADS
        stream.pix_fmt = "gray" if grey else "rgb24"
        if grey:
            stream.codec_context.color_range = _FULL_RANGE
        for pixels in frames:
            if not stream.codec_context.is_open:
                stream.height, stream.width = pixels.shape[:2]
            stored = np.ascontiguousarray(pixels[..., 0] if grey else pixels)
            frame = av.VideoFrame.from_ndarray(stored, format=stream.pix_fmt)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
