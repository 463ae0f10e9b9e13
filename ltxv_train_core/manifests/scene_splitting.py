"""Long videos cut into scenes, as a data set to caption.

<output>/<video>-<number>.mp4    a scene, exact to the frame
<output>/dataset.json            metadata; captions that people edited stay, those of scenes that
                                 are not wanted now move to dataset-left-out.json
<output>/scenes.json             scenes by video, so that no video is searched twice
"""

from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from ..config import SplitSettings
from ..errors import DataError
from ..events import (
    ClipSkipped,
    NeverStop,
    Notice,
    PermissionAsked,
    Progress,
    Reporter,
    StopSignal,
    ignore,
    raise_if_stopped,
)
from ..media.formats import VIDEO_SUFFIXES, listed
from ..media.info import MOST_FRAMES
from ..media.video import iterate_frames, probe
from ..media.write import write_video
from ..permissions import Ledger, NotAllowedError, no_such_path, policy
from ..storage.atomic import sha256_file, sha256_json, write_json
from ..storage.paths import files_below
from ..storage.reading import read_json
from .clip_files import row
from .editing import report_captions_aside, require_edited, write_edited
from .manifest import shortened
from .scene_detection import find_scenes

FOUND = "scenes.json"


@dataclass(frozen=True)
class SplitSummary:
    """Counts of scenes: `written`, `reused`, `too_short`. `skipped` are (name, reason) of videos."""

    metadata: Path
    written: int
    reused: int
    too_short: int
    skipped: tuple[tuple[str, str], ...]


def split_videos(
    settings: SplitSettings, report: Reporter = ignore, stop: StopSignal | None = None
) -> SplitSummary:
    """Finds scenes and writes those that are long enough, without sound.

    A video that can't be read is reported and skipped. Videos that were split before with the same
    options are not searched again while their scene files exist.

    Raises:
        DataError: there is no video, none can be read, the folder to write holds files of somebody
            else, or PySceneDetect is not installed.
        NotAllowedError: the videos may not be read, or the folder may not be written.
        Cancelled: stopped; the scenes of earlier videos are written.
    """
    run = _Run(settings, report, stop or NeverStop())
    for path in run.videos:
        raise_if_stopped(run.stop)
        try:
            policy().require_read(path)
            run.split(path)
        except NotAllowedError as error:
            run.skip(path.relative_to(run.source).as_posix(), str(error))
            report(PermissionAsked(error.ask.kind, error.ask.value))
        except DataError as error:
            run.skip(path.relative_to(run.source).as_posix(), str(error))
    return run.finish()


class _Run:
    """One pass over the videos."""

    def __init__(self, settings: SplitSettings, report: Reporter, stop: StopSignal):
        self.settings, self.report, self.stop = settings, report, stop
        self.root = settings.root
        self.source, self.videos = _videos(settings.source, self.root)
        self.found = _read_found(self.root / FOUND)
        self.ledger = Ledger(self.root)
        self.ledger.claim(lambda: bool(self.found))
        self.ledger.add([FOUND])
        require_edited(settings.metadata)
        self.written = self.reused = self.too_short = 0
        self.files: list[Path] = []
        self.skipped: list[tuple[str, str]] = []

    def skip(self, name: str, reason: str) -> None:
        self.skipped.append((name, reason))
        self.report(ClipSkipped(name, reason))

    def split(self, path: Path) -> None:
        name = path.relative_to(self.source).as_posix()
        info = probe(path)
        fps = info.fps
        if info.told:
            self.report(Notice(f"{name}: {info.told}"))
        content = sha256_file(path, partial(raise_if_stopped, self.stop))
        key = sha256_json([content, self.settings.detector, self.settings.threshold, *info.reading])
        known = self.found.get(name, {})
        if known.get("key") == key:
            scenes = [(first, end) for first, end in known["scenes"]]
        else:
            phase = f"find scenes of {name}"

            def progress(done: int, total: int) -> None:
                self.report(Progress(phase, done, max(done, total), "frame"))

            scenes = find_scenes(path, self.settings, progress, self.stop)
        wanted = [(a, b) for a, b in scenes if (b - a) / fps >= self.settings.min_seconds]
        files = [self._file(name, a, b) for a, b in wanted]
        self.too_short += len(scenes) - len(wanted)
        same = known.get("key") == key
        missing = {f: s for f, s in zip(files, wanted, strict=True) if not (same and f.is_file())}
        self.reused += len(files) - len(missing)
        self._write(path, fps, missing)
        self.found[name] = {"key": key, "scenes": scenes}
        self.files += files
        write_json(self.root / FOUND, self.found)

    def finish(self) -> SplitSummary:
        if not self.files:
            reasons = "; ".join(f"{name}: {reason}" for name, reason in self.skipped[:3])
            raise DataError(
                f"{self.settings.source}: no scene of {self.settings.min_seconds} seconds or more"
                + (f" ({reasons})" if reasons else "; lower min_seconds")
            )
        path = self.settings.metadata
        write_edited(path, [row((), self._name(file)) for file in self.files])
        report_captions_aside(path, self.report)
        return SplitSummary(path, self.written, self.reused, self.too_short, tuple(self.skipped))

    def _file(self, name: str, first: int, end: int) -> Path:
        video = self.root / name
        return video.with_name(f"{shortened(video.name)}-{first:06d}-{end:06d}.mp4")

    def _name(self, file: Path) -> str:
        return file.relative_to(self.root).as_posix()

    def _write(self, path: Path, fps: float, scenes: dict[Path, tuple[int, int]]) -> None:
        """Writes scenes in the order of the video, which is decoded once."""
        if not scenes:
            return
        position = 0
        with closing(iterate_frames(path)) as frames:
            for done, (file, (first, end)) in enumerate(scenes.items()):
                raise_if_stopped(self.stop)
                self.report(Progress(f"write scenes of {path.name}", done, len(scenes), "scene"))
                for _ in islice(frames, first - position):
                    pass
                write_video(self.ledger.path(self._name(file)), islice(frames, end - first), fps)
                position = end
                self.written += 1
        self.report(Progress(f"write scenes of {path.name}", len(scenes), len(scenes), "scene"))


def _videos(source: Path, root: Path) -> tuple[Path, list[Path]]:
    """The folder of the videos, and the videos; what lies in the output is none."""
    policy().require_read(source)
    if source.is_file():
        return source.parent, [source]
    if not source.is_dir():
        raise DataError(no_such_path(source, "file or folder"))
    videos = [
        path
        for path in files_below(source, policy().may_read)
        if path.suffix.lower() in VIDEO_SUFFIXES
        and not path.absolute().is_relative_to(root.absolute())
    ]
    if not videos:
        raise DataError(f"{source}: holds no video; known are {listed(VIDEO_SUFFIXES)}")
    return source, videos


def _read_found(path: Path) -> dict[str, dict[str, Any]]:
    """What was found before, as far as it can be read."""
    try:
        value = read_json(path)
    except (OSError, ValueError):
        return {}
    if not isinstance(value, dict):
        return {}
    return {name: entry for name, entry in value.items() if _is_found(entry)}


def _is_found(entry: Any) -> bool:
    """Whether it holds scenes one after the other, as they are written here."""
    if not isinstance(entry, dict) or not isinstance(entry.get("scenes"), list):
        return False
    end = 0
    for scene in entry["scenes"]:
        if not isinstance(scene, list) or [type(number) for number in scene] != [int, int]:
            return False
        if not end <= scene[0] < scene[1] <= MOST_FRAMES:
            return False
        end = scene[1]
    return isinstance(entry.get("key"), str)
