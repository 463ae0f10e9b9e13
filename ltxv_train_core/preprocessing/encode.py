"""Media and captions to files in the cache: threads read while an encoder works."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from functools import partial

import numpy as np
import torch
from torch import Tensor

from ..config import PreprocessSettings
from ..datasets.cache import Cache
from ..datasets.cached_tensors import example_forms, text_form
from ..datasets.index import CachedFile
from ..datasets.summary import Verified
from ..errors import DataError, ModelError
from ..families.family import Family, StreamFormat
from ..families.names import AUDIO, LATENTS, MASK, REFERENCE, VIDEO
from ..geometry import Grid
from ..media.tensors import frames_to_tensor
from ..media.video import read_frames
from ..memory_errors import lacks_device_memory
from ..models.device import empty_cache
from ..storage.tensors import is_finite
from .contact_sheet import Strips, on_sheet, strip_of, verify
from .encoders import AudioEncoder, Encoders, VideoEncoder
from .masks import latent_mask, sound_mask
from .planner import EncodeTask, PlannedExample
from .prefetch import read_ahead
from .progress import PassLog
from .sounds import sound_of

Read = tuple[EncodeTask, np.ndarray]

_PHASES = {
    (VIDEO, LATENTS): "encode videos",
    (VIDEO, REFERENCE): "encode references",
    (AUDIO, LATENTS): "encode sounds",
    (AUDIO, REFERENCE): "encode reference sounds",
}
"""As progress calls them."""


class MediaEncoding:
    """Encodes what is missing of the planned clips' media.

    Attributes:
        verified: (name, PSNR in dB) of the clips that were decoded again.
        strips: of clips for the contact sheet, which need not be read for it once more.
        failures: why files could not be made, by their keys.
    """

    def __init__(self, cache: Cache, settings: PreprocessSettings, log: PassLog):
        self._cache = cache
        self._settings = settings
        self._log = log
        self._broken: set[str] = set()
        self._on_sheet: set[EncodeTask] = set()
        self.verified: tuple[Verified, ...] = ()
        self.strips: Strips = {}
        self.failures: dict[str, str] = {}

    def run(self, planned: list[PlannedExample], encoders: Encoders) -> list[PlannedExample]:
        """Reads masks; encodes latents, then references, stream by stream.

        Returns:
            the clips of which every file could be read.

        Raises:
            ModelError: the device's memory is too small.
        """
        self._on_sheet = {p.video for p in on_sheet(planned) if p.video}
        family, settings = encoders.family, self._settings
        missing = self._missing(planned, family)
        for stream in family.streams:
            masks = missing.get((stream, MASK), [])
            if family.streams[stream].sound_rate is not None:
                self._write_sound_masks(masks, family.streams[stream])
                continue
            read = partial(_masks, grid=family.grid)
            self._convert("read masks", masks, MASK, read, 1)
        for stream in family.streams:
            tasks = {role: missing.get((stream, role), []) for role in (LATENTS, REFERENCE)}
            verified = settings.verify_clips if stream == VIDEO and any(tasks.values()) else 0
            if not verified and not any(tasks.values()):
                continue
            rate = family.streams[stream].sound_rate
            encoder = encoders.of_stream(stream).load()
            encode = partial(_encode if rate is None else _encode_sound, encoder)
            batch = settings.vae_batch_size if rate is None else 1
            for role, some in tasks.items():
                phase = _PHASES.get((stream, role), f"encode {stream} {role}")
                self._convert(phase, some, LATENTS, encode, batch, rate)
            if verified:
                remaining = self._remaining(planned)
                pixels = settings.max_megapixels
                self.verified = verify(encoder, remaining, verified, self._cache, self._log, pixels)
            del encoder, encode
            empty_cache()
        return self._remaining(planned)

    def _write_sound_masks(self, tasks: list[EncodeTask], stream: StreamFormat) -> None:
        for task in tasks:
            marked = sound_mask(task.ranges, stream, task.size, task.fps, task.start_seconds)
            self._cache.write(task.file, {MASK: marked}, task.description)
            self._log.written += 1

    def _remaining(self, planned: list[PlannedExample]) -> list[PlannedExample]:
        return [p for p in planned if p.example.name not in self._broken]

    def _missing(
        self, planned: list[PlannedExample], family: Family
    ) -> dict[tuple[str, str], list[EncodeTask]]:
        """Tasks whose file isn't there, by stream and role; in batches of one size, where there are
        batches."""
        missing: dict[tuple[str, str], list[EncodeTask]] = {}
        for example in planned:
            forms = example_forms(example.example, family)
            for task in example.tasks:
                form = forms[task.file]
                if self._cache.holds(task.file, form):
                    self._log.reused += 1
                    continue
                missing.setdefault((task.stream, task.role), []).append(task)
                self._log.reread += bool(task.earlier and self._cache.holds(task.earlier, form))
        if self._settings.vae_batch_size > 1:
            for tasks in missing.values():
                tasks.sort(key=lambda task: task.size)
        return missing

    def _convert(
        self,
        phase: str,
        tasks: list[EncodeTask],
        name: str,
        convert: Callable[[list[np.ndarray]], Iterable[Tensor]],
        batch_size: int,
        sound_rate: int | None = None,
    ) -> None:
        """Writes the tensor `name` of each task's frames, or of its sound at a rate."""
        for batch in _batches(self._read(phase, tasks, sound_rate), batch_size):
            tensors = convert([frames for _, frames in batch])
            for (task, _), tensor in zip(batch, tensors, strict=True):
                if not is_finite(tensor):
                    self._break(task, "its latents are not finite; set vae_dtype to float32")
                    continue
                self._cache.write(task.file, {name: tensor}, task.description)
                self._log.written += 1

    def _read(self, phase: str, tasks: list[EncodeTask], sound_rate: int | None) -> Iterator[Read]:
        """Frames or sound of those tasks that can be read; the others take their clip along."""
        tasks = [task for task in tasks if task.name not in self._broken]
        settings = self._settings
        content_of = partial(_frames, megapixels=settings.max_megapixels)
        if sound_rate is not None:
            content_of = partial(_sound, rate=sound_rate, megapixels=settings.max_megapixels)
        with closing(read_ahead(content_of, tasks, settings.decode_threads)) as read:
            for task, frames in self._log.each(phase, read, len(tasks), lambda pair: pair[0].name):
                try:
                    pixels = frames.result()
                except DataError as error:
                    self._break(task, str(error))
                    continue
                if task in self._on_sheet:
                    self.strips[task] = strip_of(pixels)
                yield task, pixels
                del frames, pixels

    def _break(self, task: EncodeTask, reason: str) -> None:
        self._broken.add(task.name)
        self.failures[task.file.key] = reason
        self._log.skip(task.name, reason)


def encode_captions(
    planned: list[PlannedExample],
    empty: CachedFile,
    encoders: Encoders,
    cache: Cache,
    log: PassLog,
) -> dict[str, str]:
    """Encodes each different caption once, alone: no other one touches its numbers.

    Args:
        empty: where the embedding of no text at all goes; it isn't counted.

    Returns:
        why captions could not be encoded, by their keys.

    Raises:
        ModelError: the text encoder makes numbers that are not finite of no text at all.
    """
    missing: dict[str, list[CachedFile]] = {}
    captions = {c.embedding: c.text for p in planned for c in p.example.captions}
    form = text_form(encoders.family)
    for file, text in captions.items():
        if cache.holds(file, form):
            log.reused += 1
        else:
            missing.setdefault(text, []).append(file)
    if not cache.holds(empty, form):
        missing.setdefault("", []).append(empty)
    failures: dict[str, str] = {}
    if not missing:
        return failures
    encoder = encoders.text.load()
    for text in log.each("encode captions", list(missing), len(missing), lambda text: text[:60]):
        try:
            embedding = encoder.encode([text])[0]
        except DataError as error:
            failures |= {file.key: str(error) for file in missing[text]}
            continue
        if not all(map(is_finite, embedding.values())):
            reason = "its embedding is not finite: take another text encoder file"
            if not text:  # which every data set has
                raise ModelError(f"the empty caption: {reason}")
            failures |= {file.key: reason for file in missing[text]}
            continue
        for file in missing[text]:
            cache.write(file, embedding, {"caption": text})
            log.written += file != empty
    del encoder
    empty_cache()
    return failures


def _frames(task: EncodeTask, megapixels: float) -> np.ndarray:
    size = task.read_size
    return read_frames(task.media, size, task.selection, task.like, megapixels)[:: task.every]


def _sound(task: EncodeTask, rate: int, megapixels: float) -> np.ndarray:
    return sound_of(task, rate, megapixels).samples


def _masks(videos: list[np.ndarray], grid: Grid) -> list[Tensor]:
    return [latent_mask(frames, grid) for frames in videos]


def _batches(read: Iterator[Read], size: int) -> Iterator[list[Read]]:
    """Up to `size` in a row whose frames have one shape."""
    batch: list[Read] = []
    for task, frames in read:
        if batch and batch[0][0].size != task.size:
            yield batch
            batch = []
        batch.append((task, frames))
        del frames
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def _encode(encoder: VideoEncoder, frames: list[np.ndarray]) -> Tensor:
    try:
        videos = [frames_to_tensor(video) for video in frames]
        return encoder.encode(torch.cat(videos) if len(videos) > 1 else videos[0])
    except Exception as error:
        if not lacks_device_memory(error):
            raise
        raise ModelError(
            f"the VAE does not fit into the device's memory with {len(frames)} x "
            f"{frames[0].shape[2]}x{frames[0].shape[1]}x{len(frames[0])}: set vae_tile_px (512 for "
            "example), a smaller vae_batch_size, or smaller buckets. What was encoded is kept"
        ) from error


def _encode_sound(encoder: AudioEncoder, sounds: list[np.ndarray]) -> Tensor:
    return encoder.encode(torch.from_numpy(np.stack(sounds)))
