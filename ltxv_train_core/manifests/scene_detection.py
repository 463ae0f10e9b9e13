"""Where the scenes of a video begin, found by PySceneDetect in the frames that we decode ourselves."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

from ..config import SplitSettings
from ..errors import DataError, install_command
from ..events import StopSignal, raise_if_stopped
from ..media.video import iterate_frames, probe

INSTALL_SCENEDETECT = (
    f"splitting into scenes needs PySceneDetect: {install_command('scenedetect-headless')} (where another "
    f"kind of OpenCV is installed already: "
    f"{install_command('scenedetect-headless click platformdirs', '--no-deps')})"
)


def find_scenes(
    path: Path, settings: SplitSettings, progress: Callable[[int, int], None], stop: StopSignal
) -> list[tuple[int, int]]:
    """Scenes as (first frame, frame after the last), in order and without gaps.

    Args:
        progress: called with frames seen and frames in all.

    Raises:
        DataError: the video can't be read, or PySceneDetect is not installed.
        Cancelled: when it was stopped.
    """
    try:
        from scenedetect import SceneManager
    except ImportError as error:
        raise DataError(f"{INSTALL_SCENEDETECT} ({error})") from error
    video = _stream(path, progress, stop)
    manager = SceneManager()
    manager.add_detector(_detector(settings))
    manager.detect_scenes(video, show_progress=False)
    raise_if_stopped(stop)
    if video.error is not None:
        raise video.error
    found = [(int(a.frame_num), int(b.frame_num)) for a, b in manager.get_scene_list()]
    return found or [(0, video.frame_number)]


def _detector(settings: SplitSettings) -> Any:
    """A detector that takes every cut for one: which scenes are too short is asked later."""
    import scenedetect

    kinds = {
        "content": (scenedetect.ContentDetector, "threshold"),
        "adaptive": (scenedetect.AdaptiveDetector, "adaptive_threshold"),
        "histogram": (scenedetect.HistogramDetector, "threshold"),
        "threshold": (scenedetect.ThresholdDetector, "threshold"),
    }
    kind, name = kinds[settings.detector]
    given = {} if settings.threshold is None else {name: settings.threshold}
    return kind(min_scene_len=1, **given)


def _stream(path: Path, progress: Callable[[int, int], None], stop: StopSignal) -> Any:
    """Our frames as PySceneDetect's VideoStream: numbered as we read them again when we cut."""
    from scenedetect import FrameTimecode
    from scenedetect.video_stream import VideoStream

    info = probe(path)
    rate = Fraction(info.fps).limit_denominator(1001)

    class Frames(VideoStream):  # type: ignore[misc]
        def __init__(self) -> None:
            self.error: DataError | None = None
            self._count = 0
            self._frames = iterate_frames(path)

        path = property(lambda self: str(path))
        name = property(lambda self: path.stem)
        is_seekable = property(lambda self: False)
        frame_rate = property(lambda self: rate)
        duration = property(lambda self: FrameTimecode(info.frames, rate))
        frame_size = property(lambda self: (info.width, info.height))
        aspect_ratio = property(lambda self: 1.0)
        position = property(lambda self: FrameTimecode(max(0, self._count - 1), rate))
        position_ms = property(lambda self: float(1000 * max(0, self._count - 1) / rate))
        frame_number = property(lambda self: self._count)

        def read(self, decode: bool = True) -> Any:
            """The next frame as BGR, or False. Runs in a thread of PySceneDetect's."""
            try:
                frame = None if stop.is_set() else next(self._frames, None)
            except DataError as error:
                self.error, frame = error, None
            if frame is None:
                return False
            self._count += 1
            progress(self._count, info.frames)
            return frame[..., ::-1].copy()

        def reset(self) -> None:
            self._frames, self._count = iterate_frames(path), 0

        def seek(self, target: Any) -> None:
            raise NotImplementedError("these frames come in order")

    return Frames()
