"""What a clip becomes: decided from its files, before any model is loaded."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import astuple, dataclass, replace
from pathlib import Path
from random import Random

from ..config import PreprocessSettings
from ..datasets.index import (
    CONDITIONS,
    EMPTY_CAPTION,
    WINDOW_MARK,
    CachedFile,
    Caption,
    Example,
    folder_of,
)
from ..errors import DataError
from ..families.names import LATENTS, MASK, REFERENCE, VIDEO
from ..geometry import LatentSize, VideoSize
from ..manifests.captions import with_speech, without_opening
from ..manifests.manifest import Clip
from ..manifests.time_ranges import TimeRanges
from ..media.info import HDR, MediaInfo, Selection
from ..models.text_bounds import require_few_characters
from ..storage.atomic import sha256_json
from .buckets import choose_bucket, choose_length, read_buckets
from .encoders import Encoders
from .probe_cache import FactsMemory, FileFacts

# Tools round sizes to even numbers.
SHAPE_TOLERANCE = 0.02
RECIPE_VERSION = 1
"""Raised when the same media and settings give other latents or embeddings than before."""


@dataclass(frozen=True)
class EncodeTask:
    """Frames of a video or image to encode into a file.

    Attributes:
        name: of the example that it is for.
        stream, role: which of its tensors it makes.
        like: the clip that a reference or a mask goes with frame by frame, see `read_frames`.
        earlier: what an earlier version made of it, which read it another way.
        is_apart: its sound comes from a file of its own, which goes with the video that `info` is of.
        every: every so-many-th frame is taken; `size` counts those.
        ranges: of a sound's mask, seconds of the clip that are to be generated.
    """

    name: str
    stream: str
    role: str
    media: Path
    info: MediaInfo
    size: VideoSize
    selection: Selection
    file: CachedFile
    like: Path | None = None
    earlier: CachedFile | None = None
    is_apart: bool = False
    every: int = 1
    ranges: TimeRanges = ()

    @property
    def read_size(self) -> VideoSize:
        """Of the frames that are read."""
        return replace(self.size, frames=(self.size.frames - 1) * self.every + 1)

    @property
    def start_seconds(self) -> float:
        """When it begins, counted from the first frame of the clip."""
        return self.selection.start / self.fps

    @property
    def fps(self) -> float:
        """Of the frames that are read."""
        return self.selection.fps or self.info.fps

    @property
    def description(self) -> dict[str, str]:
        """How it was made, for the metadata of the file."""
        info, chosen = self.info, self.selection
        if info.is_sound:
            return {"seconds": repr(self.size.frames / self.fps), "from": repr(self.start_seconds)}
        return {
            "size": str(self.size),
            "fps": repr(self.fps),
            "source_size": f"{info.width}x{info.height}x{info.frames}",
            "first_frame": str(chosen.start),
            "crop": f"{chosen.x:g},{chosen.y:g}",
        }


@dataclass(frozen=True)
class PlannedExample:
    """An example that can be made, and what is to be encoded for it.

    Attributes:
        is_silent: its clip has no sound, where sound is trained.
    """

    example: Example
    tasks: tuple[EncodeTask, ...]
    is_silent: bool = False

    @property
    def video(self) -> EncodeTask | None:
        """The latents of its video; None of a sound alone."""
        return next((t for t in self.tasks if (t.stream, t.role) == (VIDEO, LATENTS)), None)


@dataclass(frozen=True)
class CaptionStyle:
    """What is done to every caption: the usual openings removed, what is said put into it, a trigger word put
    before it."""

    id_token: str = ""
    remove_llm_prefixes: bool = False
    speech_template: str = "{caption} {speech}"

    def apply(self, caption: str, speech: str = "") -> str:
        text = without_opening(caption) if self.remove_llm_prefixes else caption
        if speech:
            text = with_speech(text, speech, self.speech_template)
        return f"{self.id_token.strip()} {text}".strip()


Locate = Callable[[str, str], CachedFile]
"""The cached file of a path without suffix and of a key: `Cache.locate`."""


def plan_empty_caption(locate: Locate, text_identity: str) -> CachedFile:
    """Where the embedding of no text at all is kept."""
    return locate(EMPTY_CAPTION, _key(text_identity, ""))


class Planner:
    """Decides what clips become; files are looked at through a memory of facts."""

    def __init__(
        self,
        settings: PreprocessSettings,
        facts: FactsMemory,
        locate: Locate,
        encoders: Encoders,
    ):
        """Raises `ConfigurationError` for buckets that are off the family's grid."""
        self._settings = settings
        self._streams = encoders.family.streams
        self._buckets = read_buckets(settings.resolution_buckets, encoders.family.grid)
        self._style = CaptionStyle(
            settings.id_token, settings.remove_llm_prefixes, settings.speech_template
        )
        self._facts = facts
        self._locate = locate
        self._encoders = encoders

    def plan(self, clip: Clip) -> list[PlannedExample]:
        """Plans a clip, as one example or as one for each window of it.

        A reference and a mask get the frames and the part of the picture that their target gets.
        Keys stand for content, selection, size and encoder, not for names.

        Raises:
            DataError: a file is broken, or fits no bucket, or a caption is too long.
        """
        facts = self._facts.of
        video = _File(clip.media, facts(clip.media))
        if video.info.is_sound:
            return self._plan_sound(clip, video)
        reference = _File(clip.reference, facts(clip.reference)) if clip.reference else None
        mask = _File(clip.mask, facts(clip.mask)) if clip.mask else None
        if mask:
            _require_same_shape(mask.info, video.info)
        long = [video, reference, mask if mask and not mask.info.is_image else None]
        infos = [file.info for file in long if file]
        if reference:
            scaled = self._settings.reference_downscale_factor
            infos[1] = replace(
                infos[1], width=infos[1].width * scaled, height=infos[1].height * scaled
            )
        if self._settings.hdr == "refuse":
            _require_sdr(file for file in (video, reference, mask) if file)
        size = choose_bucket(
            self._buckets,
            *infos,
            fps=self._settings.target_fps,
            allow_upscaling=self._settings.allow_upscaling,
        )
        frames = min(info.frames_at(self._settings.target_fps) for info in infos)
        files = {LATENTS: video, REFERENCE: reference, MASK: mask}
        return self._plan_windows(
            clip, {r: file for r, file in files.items() if file}, size, frames
        )

    def _plan_sound(self, clip: Clip, sound: "_File") -> list[PlannedExample]:
        """A clip that is a sound alone."""
        if not any(each.sound_rate is not None for each in self._streams.values()):
            raise DataError(f"is a sound alone, and {self._encoders.family.name} makes none")
        if not self._settings.with_sound:
            raise DataError("is a sound alone, and with_sound is off")
        if clip.reference or clip.mask:
            raise DataError(
                "is a sound alone, and has the reference or the mask of a video: name those of its sound in the "
                "columns reference_audio and audio_mask"
            )
        fps = self._settings.target_fps
        size = choose_length(self._buckets, sound.info, self._encoders.family.grid, fps)
        return self._plan_windows(clip, {LATENTS: sound}, size, sound.info.frames_at(fps))

    def _plan_windows(
        self, clip: Clip, files: Mapping[str, "_File"], size: VideoSize, frames: int
    ) -> list[PlannedExample]:
        captions = self._captions(clip)
        video = files[LATENTS]
        sounds, is_silent = self._sounds(clip, video)
        return [
            self._plan_window(
                clip.name if number == 1 else f"{clip.name}{WINDOW_MARK}{number}",
                files,
                captions,
                size,
                self._selection(video, start),
                sounds,
                is_silent,
            )
            for number, start in enumerate(self._starts(frames, size.frames), start=1)
        ]

    def _plan_window(
        self,
        name: str,
        files: Mapping[str, "_File"],
        captions: tuple[Caption, ...],
        size: VideoSize,
        selection: Selection,
        sounds: "Mapping[str, _Sound]",
        is_silent: bool,
    ) -> PlannedExample:
        tasks = [
            self._task(name, stream, role, files, size, selection)
            for stream, its_format in self._streams.items()
            if its_format.sound_rate is None and not files[LATENTS].info.is_sound
            for role in files
            if role == LATENTS or role in its_format.roles
        ]
        tasks += [
            self._sound_task(name, stream, role, sound, files[LATENTS], size, selection)
            for stream, its_format in self._streams.items()
            if its_format.sound_rate is not None
            for role, sound in sounds.items()
            if role == LATENTS or role in its_format.roles
        ]
        streams: dict[str, dict[str, CachedFile]] = {}
        for task in tasks:
            streams.setdefault(task.stream, {})[task.role] = task.file
        video = files[LATENTS].info
        fps = (None if video.is_image else selection.fps) or video.fps
        example = Example(name, str(size), fps, streams, captions)
        return PlannedExample(example, tuple(tasks), is_silent)

    def _sounds(self, clip: Clip, video: "_File") -> "tuple[dict[str, _Sound], bool]":
        """Where a clip's sound, its reference and its mask come from, by role; and whether it has no sound.

        Raises:
            DataError: it is to have sound and has none, or a file can't be read.
        """
        own, is_silent = self._own_sound(clip, video)
        if own is None:
            return {}, is_silent
        found = {LATENTS: own}
        if (file := clip.reference_audio) is not None:
            found[REFERENCE] = _Sound(file, self._facts.digest(file), is_apart=True)
        if clip.audio_mask:
            found[MASK] = replace(own, ranges=clip.audio_mask)
        return found, is_silent

    def _own_sound(self, clip: Clip, video: "_File") -> "tuple[_Sound | None, bool]":
        """Where the sound of a clip comes from, None where its video alone is trained; and whether it has none.

        Raises:
            DataError: it is to have sound and has none, or the file of its sound can't be read.
        """
        is_trained = any(each.sound_rate is not None for each in self._streams.values())
        if not (is_trained and self._settings.with_sound) or video.info.is_image:
            return None, False
        if clip.audio_problem:
            raise DataError(clip.audio_problem)
        if clip.audio is not None:
            return _Sound(clip.audio, self._facts.digest(clip.audio), is_apart=True), False
        own = _Sound(clip.media, video.facts.sha256, is_apart=video.info.is_sound)
        if video.info.is_sound:
            return own, False
        if self._facts.has_sound(clip.media):
            return own, False
        if self._settings.missing_sound == "skip":
            raise DataError(
                "it has no sound: name a file in the column `audio`, or set missing_sound to silence or video_only"
            )
        return (own if self._settings.missing_sound == "silence" else None), True

    def _sound_task(
        self,
        name: str,
        stream: str,
        role: str,
        sound: "_Sound",
        video: "_File",
        size: VideoSize,
        selection: Selection,
    ) -> EncodeTask:
        reading = video.info.reading

        def cached(*reading: str) -> CachedFile:
            key = self._media_key(stream, role, sound.sha256, size, selection, *reading)
            # A file of its own, and a mask, are cut by the frames that the clip is shown with.
            if sound.is_apart or sound.ranges:
                key = _key(key, repr(selection.fps or video.info.fps), *map(repr, sound.ranges))
            return self._locate(f"{folder_of(stream, role)}/{name}", key)

        return EncodeTask(
            name,
            stream,
            role,
            sound.media,
            video.info,
            size,
            selection,
            cached(*reading),
            earlier=cached() if reading else None,
            is_apart=sound.is_apart,
            ranges=sound.ranges,
        )

    def _task(
        self,
        name: str,
        stream: str,
        role: str,
        files: Mapping[str, "_File"],
        size: VideoSize,
        selection: Selection,
    ) -> EncodeTask:
        file, video, info = files[role], files[LATENTS], files[role].info
        every = 1
        if role == MASK and info.is_image:
            size = replace(size, frames=1)
        if role == REFERENCE:
            size, every = self._reference_size(stream, size), self._every(size)
        chosen = replace(selection, start=0, fps=None) if info.is_image else selection
        like = video.path if chosen.fps and file.goes_with(video) else None

        def cached(*reading: str) -> CachedFile:
            key = self._media_key(stream, role, file.facts.sha256, size, chosen, *reading)
            key = _key(key, video.facts.sha256) if like else key
            key = _key(key, str(every)) if every > 1 else key
            return self._locate(f"{folder_of(stream, role)}/{name}", key)

        earlier = cached() if info.reading else None
        target = cached(*info.reading)
        return EncodeTask(
            name, stream, role, file.path, info, size, chosen, target, like, earlier, every=every
        )

    def _every(self, size: VideoSize) -> int:
        """Every so-many-th frame of a clip's reference is taken; of an image its only one."""
        return 1 if size.frames == 1 else self._settings.reference_temporal_scale_factor

    def _reference_size(self, stream: str, size: VideoSize) -> VideoSize:
        """That of the reference of a clip of a size.

        Raises:
            DataError: the family takes no such reference.
        """
        scale, grid = self._settings.reference_scale, self._encoders.family.grid
        if scale == (1, 1):
            return size
        shape, fps = scale.latent(grid.latent(size)), 1.0
        if shape is None:
            raise DataError(
                f"its reference would be {scale.spatial} times smaller than {size} with every {scale.temporal}th "
                f"frame: choose buckets of multiples of {grid.spatial * scale.spatial} and of "
                f"{grid.temporal * scale.temporal}n + 1 frames, or smaller factors of references"
            )
        if not self._streams[stream].takes_reference(shape, size, fps):
            raise DataError(
                f"reference_downscale_factor {scale.spatial} and reference_temporal_scale_factor {scale.temporal}: "
                f"references of {self._encoders.family.name} have their clip's size; set both to 1"
            )
        return grid.pixels(LatentSize(*shape))

    def _captions(self, clip: Clip) -> tuple[Caption, ...]:
        """All windows of a clip share them."""
        texts = dict.fromkeys(self._style.apply(each, clip.speech) for each in clip.captions)
        for text in texts:
            require_few_characters(text)
        identity = self._encoders.text.identity
        return tuple(
            Caption(text, self._locate(_captions_stem(clip, number), _key(identity, text)))
            for number, text in enumerate(texts, start=1)
        )

    def _starts(self, frames: int, needed: int) -> list[int]:
        """First frames of the windows: spread evenly from the beginning to the end."""
        count = max(1, min(self._settings.windows, frames // needed))
        gaps = max(1, count - 1)
        return [(frames - needed) * number // gaps for number in range(count)]

    def _selection(self, video: "_File", start: int) -> Selection:
        x = y = 0.5
        if self._settings.crop == "random":
            seed = int(sha256_json([self._settings.crop_seed, video.facts.sha256, start])[:16], 16)
            random = Random(seed)
            x, y = random.random(), random.random()
        return Selection(start, self._settings.target_fps, x, y)

    def _media_key(
        self,
        stream: str,
        role: str,
        sha256: str,
        size: VideoSize,
        chosen: Selection,
        *reading: str,
    ) -> str:
        """Masks go through no encoder. Most files have no `reading` (`MediaInfo.reading`)."""
        if role == MASK:
            return _key(sha256, str(size), *map(repr, astuple(chosen)), *reading)
        tile = self._settings.vae_tile_px or max(size.width, size.height)
        tile = 0 if max(size.width, size.height) <= tile else tile
        content = (sha256, str(size), *map(repr, astuple(chosen)), str(tile), *reading)
        return _key(self._encoders.of_stream(stream).identity, *content)


@dataclass(frozen=True)
class _Sound:
    """A file that a clip's sound is read from."""

    media: Path
    sha256: str
    is_apart: bool = False
    ranges: TimeRanges = ()


@dataclass(frozen=True)
class _File:
    path: Path
    facts: FileFacts

    @property
    def info(self) -> MediaInfo:
        return self.facts.info

    def goes_with(self, clip: "_File") -> bool:
        """Whether it has a frame for each of the clip's, whatever the timestamps of both say."""
        videos = not self.info.is_image and not clip.info.is_image
        return self != clip and videos and self.info.frames == clip.info.frames


def _captions_stem(clip: Clip, number: int) -> str:
    part = f".caption{number}" if number > 1 else ""
    return f"{CONDITIONS}/{clip.name}{part}"


def _key(*content: str) -> str:
    """Stands for everything that a cached file depends on."""
    return sha256_json([RECIPE_VERSION, *content])


def _require_sdr(files: Iterable[_File]) -> None:
    for file in files:
        for transfer in HDR.intersection(file.info.traits):
            raise DataError(
                f"{file.path.name} is of high dynamic range ({transfer.upper()}): save it in SDR, or "
                "set hdr to tone_map"
            )


def _require_same_shape(mask: MediaInfo, clip: MediaInfo) -> None:
    if abs(mask.width / mask.height / (clip.width / clip.height) - 1) > SHAPE_TOLERANCE:
        raise DataError(
            f"its mask is {mask.width}x{mask.height} and the clip {clip.width}x{clip.height}: "
            "give a mask of the clip's shape"
        )
