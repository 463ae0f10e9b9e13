"""Sound out of video files: stereo at a wanted rate, and of exactly the seconds that frames are shown.

Shapes: S samples, in an array [2, S], left first.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import av
import numpy as np
from av.audio.stream import AudioStream
from numpy.typing import NDArray

from ..errors import DataError, shown
from .container import open_sound, open_video
from .formats import is_image
from .info import IMAGE_FPS, MOST_FRAMES, MediaInfo
from .readable import DEFAULT_MEGAPIXELS, printable, readable

# Lengths of sounds are sums of rounded times.
LEAST_OF_A_FRAME = 1e-4
# What studio files have at most.
HIGHEST_RATE = 768_000
LIKELY_RATE = 48_000
"""Of a sound that doesn't say."""
# Matroska and FLV write whole milliseconds: frames that are placed by them have gaps and overlaps, which are heard.
_TIMESTAMP_ROUNDING_SECONDS = 0.002
_LAYOUTS = {2: "stereo", 3: "2.1", 4: "4.0", 5: "5.0", 6: "5.1", 7: "6.1", 8: "7.1"}
"""FFmpeg's own for so many channels."""
# Filters of a resampler need what comes before and after the cut.
_CONTEXT_SECONDS = 0.05
# Codecs such as AAC and Opus need packets before the wanted one to be right.
_SEEK_MARGIN_SECONDS = 0.5


@dataclass(frozen=True, eq=False)
class Sound:
    """Stereo sound.

    Attributes:
        samples: float32 [2, S], left first; 1 is the loudest that files hold.
        rate: samples a second.
    """

    samples: NDArray[np.float32]
    rate: int

    @property
    def seconds(self) -> float:
        return float(self.samples.shape[1] / self.rate)


def has_sound(path: Path, megapixels: float = DEFAULT_MEGAPIXELS) -> bool:
    """Whether there is sound beside the frames that `read_frames` reads; nothing is decoded.

    Raises:
        DataError: the file is missing, broken, too large or holds no video.
    """
    if is_image(path):
        return False
    with readable(path), open_video(path, megapixels) as (container, _):
        return bool(container.streams.audio)


def probe_sound(path: Path) -> MediaInfo:
    """Reads how long the sound of a file is, as frames that would be shown with it; decodes all of it.

    Raises:
        DataError: the file is missing, broken, empty or has no sound.
    """
    with readable(path), open_sound(path) as (container, begin):
        stream = _stream_of(path, container)
        seconds = 0.0
        for frame in container.decode(stream):
            if frame.time is not None:
                seconds = max(seconds, frame.time + frame.samples / frame.sample_rate - begin)
    frames = int(seconds * IMAGE_FPS + LEAST_OF_A_FRAME)
    if not 1 <= frames <= MOST_FRAMES:
        raise DataError(
            f"{printable(path)}: its sound is {seconds:.3g} seconds long: give one of "
            f"{1 / IMAGE_FPS:g} seconds to {MOST_FRAMES / IMAGE_FPS / 3600:.0f} hours"
        )
    return MediaInfo(0, 0, frames, IMAGE_FPS, False)


def read_sound(
    path: Path,
    rate: int | None,
    seconds: float,
    start_seconds: float = 0.0,
    megapixels: float = DEFAULT_MEGAPIXELS,
) -> Sound | None:
    """Reads what is heard while frames are shown: round(seconds * rate) samples.

    Mono is heard on both sides; more channels are mixed down to two, which can go beyond 1. Where there
    is no sound yet, or no more, there is silence.

    Args:
        rate: samples a second; None takes the file's own.
        start_seconds: when it begins, counted from the first frame of the video.

    Returns:
        None where the file has no sound.

    Raises:
        DataError: the file is missing, broken, too large or holds no video, or its sound can't be
            decoded.
    """
    if is_image(path):
        return None
    with readable(path), open_video(path, megapixels) as (container, video):
        if not container.streams.audio:
            return None
        first_frame = float((video.start_time or 0) * (video.time_base or 0))
        return _read(path, container, rate, seconds, first_frame + start_seconds)


def read_sound_file(
    path: Path, rate: int | None, seconds: float, start_seconds: float = 0.0
) -> Sound:
    """The same of a file that is read for its sound alone, whatever else it holds.

    Args:
        start_seconds: counted from its beginning, of a video from its first frame.

    Raises:
        DataError: the file is missing, broken, of an unknown kind, or has no sound.
    """
    with readable(path), open_sound(path) as (container, begin):
        return _read(path, container, rate, seconds, begin + start_seconds)


def _read(
    path: Path,
    container: av.container.InputContainer,
    rate: int | None,
    seconds: float,
    begin: float,
) -> Sound:
    """The first stream's sound from a moment of the container's time on."""
    stream = _stream_of(path, container)
    frames = _frames_from(container, stream, begin - _SEEK_MARGIN_SECONDS)
    found = _gathered(path, frames, begin, seconds)
    return _resampled(found, rate or (found.rate if found else LIKELY_RATE), seconds)


def _stream_of(path: Path, container: av.container.InputContainer) -> AudioStream:
    """The first stream of sound. Raises `DataError` where there is none that can be decoded."""
    if not container.streams.audio:
        raise DataError(f"{printable(path)}: holds no sound")
    stream = container.streams.audio[0]
    _require_decodable(path, stream)
    return stream


def _require_decodable(path: Path, stream: AudioStream) -> None:
    if stream.codec_context is None:
        raise DataError(
            f"{printable(path)}: its sound is of a kind that PyAV can't decode: save it as AAC"
        )
    if not 0 < stream.codec_context.sample_rate <= HIGHEST_RATE:
        raise DataError(
            f"{printable(path)}: its sound has {stream.codec_context.sample_rate} samples a second, and "
            f"at most {HIGHEST_RATE} are read: save it with 48000"
        )


def _frames_from(
    container: av.container.InputContainer, stream: AudioStream, second: float
) -> Iterator[av.AudioFrame]:
    """Frames from a moment or before it on; from the first one where seeking misses."""
    if second > 0 and stream.time_base:
        container.seek(int(second / stream.time_base), stream=stream)
    frames = container.decode(stream)
    first = next(frames, None)
    if first is not None and (first.time is None or first.time > second > 0):
        container.seek(0)
        return container.decode(stream)
    return chain([] if first is None else [first], frames)


def _gathered(
    path: Path, frames: Iterator[av.AudioFrame], begin: float, seconds: float
) -> Sound | None:
    """What was recorded in that time, a little before it and after it, at its own rate, each frame in
    its place, behind the one before where that is as exact as timestamps are; None where there is nothing."""
    found: NDArray[np.float32] | None = None
    rate, behind = 0, -math.inf
    planes = _StereoPlanes()
    for frame in frames:
        if found is None:
            rate = frame.sample_rate
            count = round((seconds + 2 * _CONTEXT_SECONDS) * rate)
            found = np.zeros((2, count), np.float32)
        if frame.time is None:
            continue
        at = round((frame.time - begin + _CONTEXT_SECONDS) * rate)
        if abs(at - behind) <= _TIMESTAMP_ROUNDING_SECONDS * rate:
            at = int(behind)
        if at >= found.shape[1]:
            break
        samples = planes.of(frame, rate)
        behind = at + samples.shape[1]
        first, last = max(at, 0), min(at + samples.shape[1], found.shape[1])
        if first < last:
            found[:, first:last] = samples[:, first - at : last - at]
    return None if found is None else Sound(found, rate)


class _StereoPlanes:
    """Turns frames of any format and layout into float32 [2, S]."""

    def __init__(self) -> None:
        self._converters: dict[tuple[str, str, int], av.AudioResampler] = {}

    def of(self, frame: av.AudioFrame, rate: int) -> NDArray[np.float32]:
        is_mono = frame.layout.nb_channels == 1
        kind = (frame.format.name, frame.layout.name, frame.sample_rate)
        if kind not in self._converters:
            layout = "mono" if is_mono else "stereo"
            self._converters[kind] = av.AudioResampler(format="fltp", layout=layout, rate=rate)
        parts = [part.to_ndarray() for part in self._converters[kind].resample(frame)]
        if not parts:
            return np.zeros((2, 0), np.float32)
        samples: NDArray[np.float32] = np.concatenate(parts, axis=1)
        return np.repeat(samples, 2, axis=0) if is_mono else samples


def _resampled(sound: Sound | None, rate: int, seconds: float) -> Sound:
    """The sound at another rate, without what was gathered around it."""
    count = round(seconds * rate)
    result = np.zeros((2, count), np.float32)
    if sound is not None:
        samples = resample(sound, rate).samples
        first = round(_CONTEXT_SECONDS * rate)
        samples = samples[:, first : first + count]
        result[:, : samples.shape[1]] = samples
    return Sound(result, rate)


def stereo_of(samples: NDArray[np.float32], rate: object, name: str) -> Sound:
    """A sound of any channels [C, S], mono on both sides, more than two mixed down as those of files.

    Args:
        name: of what it comes from, for errors.

    Raises:
        DataError: it has a number of channels or a rate that sounds haven't, or samples that are not finite.
    """
    channels, count = samples.shape
    if not isinstance(rate, int) or not 1 <= rate <= HIGHEST_RATE:
        raise DataError(f"{name}: has {shown(rate)} samples a second, expected 1 to {HIGHEST_RATE}")
    if not count or not (channels == 1 or channels in _LAYOUTS):
        raise DataError(
            f"{name}: has {channels} channels of {count} samples, expected 1 to {max(_LAYOUTS)} channels with a sound"
        )
    if not np.isfinite(samples).all():
        raise DataError(f"{name}: has samples that are not finite")
    if channels == 1:
        return Sound(np.repeat(samples, 2, axis=0), rate)
    frame = av.AudioFrame.from_ndarray(
        np.ascontiguousarray(samples), format="fltp", layout=_LAYOUTS[channels]
    )
    frame.sample_rate = rate
    return Sound(_StereoPlanes().of(frame, rate), rate)


def resample(sound: Sound, rate: int) -> Sound:
    """The same sound at another rate."""
    if sound.rate == rate:
        return sound
    resampler = av.AudioResampler(format="fltp", layout="stereo", rate=rate)
    parts = [*resampler.resample(as_frame(sound)), *resampler.resample(None)]
    return Sound(np.concatenate([part.to_ndarray() for part in parts], axis=1), rate)


def as_frame(sound: Sound) -> av.AudioFrame:
    """All of it as one frame of PyAV."""
    samples = np.ascontiguousarray(sound.samples, np.float32)
    frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout="stereo")
    frame.sample_rate, frame.pts = sound.rate, 0
    return frame
