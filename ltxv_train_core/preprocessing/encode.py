"""Media and captions to files in the cache: threads read while an encoder works."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from functools import partial

import numpy as np
import torch
from torch import Tensor

from ..config import PreprocessSettings
from ..datasets.cache import Cache
from ..datasets.index import Stored
from ..datasets.summary import Verified
from ..errors import DataError, ModelError
from ..media.tensors import frames_to_tensor
from ..media.video import read_frames
from ..models.device import empty_cache
from ..storage.tensors import is_finite
from .contact_sheet import Strips, on_sheet, strip_of, verify
from .encoders import CaptionEncoder, EncoderSource, VideoEncoder
from .masks import latent_mask
from .planner import MediaJob, Planned
from .prefetch import read_ahead
from .progress import PassLog

Read = tuple[MediaJob, np.ndarray]


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
        self._on_sheet: set[MediaJob] = set()
        self.verified: tuple[Verified, ...] = ()
        self.strips: Strips = {}
        self.failures: dict[str, str] = {}

    def run(self, planned: list[Planned], source: EncoderSource[VideoEncoder]) -> list[Planned]:
        """Reads masks, encodes videos, then references.

        Returns:
            the clips of which every file could be read.

        Raises:
            ModelError: the device's memory is too small.
        """
        self._on_sheet = {p.video for p in on_sheet(planned)}
        masks = self._missing(p.mask for p in planned)
        videos = self._missing(p.video for p in planned)
        references = self._missing(p.reference for p in planned)
        self._convert("read masks", masks, "mask", lambda frames: [latent_mask(frames[0])], 1)
        if videos or references or self._settings.verify_clips:
            encoder = source.load()
            encode, size = partial(_encode, encoder), self._settings.vae_batch_size
            self._convert("encode videos", videos, "latents", encode, size)
            self._convert("encode references", references, "latents", encode, size)
            remaining = self._remaining(planned)
            self.verified = verify(
                encoder,
                remaining,
                self._settings.verify_clips,
                self._cache,
                self._log,
                self._settings.max_megapixels,
            )
            del encoder, encode
            empty_cache()
        return self._remaining(planned)

    def _remaining(self, planned: list[Planned]) -> list[Planned]:
        return [p for p in planned if p.item.name not in self._broken]

    def _missing(self, jobs: Iterable[MediaJob | None]) -> list[MediaJob]:
        """Those whose file isn't there; in batches of one size, where there are batches."""
        missing = []
        for job in filter(None, jobs):
            if self._cache.holds(job.stored, job.size):
                self._log.reused += 1
            else:
                missing.append(job)
                self._log.reread += bool(job.earlier and self._cache.holds(job.earlier, job.size))
        if self._settings.vae_batch_size > 1:
            missing.sort(key=lambda job: job.size)
        return missing

    def _convert(
        self,
        phase: str,
        jobs: list[MediaJob],
        name: str,
        convert: Callable[[list[np.ndarray]], Iterable[Tensor]],
        batch_size: int,
    ) -> None:
        """Writes the tensor `name` of each job's frames."""
        for batch in _batches(self._read(phase, jobs), batch_size):
            tensors = convert([frames for _, frames in batch])
            for (job, _), tensor in zip(batch, tensors, strict=True):
                if not is_finite(tensor):
                    self._break(job, "its latents are not finite; set vae_dtype to float32")
                    continue
                self._cache.write(job.stored, {name: tensor}, job.description)
                self._log.written += 1

    def _read(self, phase: str, jobs: list[MediaJob]) -> Iterator[Read]:
        """Frames of those jobs that can be read; the others take their clip along."""
        jobs = [job for job in jobs if job.name not in self._broken]
        settings = self._settings
        frames_of = partial(_frames, megapixels=settings.max_megapixels)
        with closing(read_ahead(frames_of, jobs, settings.decode_threads)) as read:
            for job, frames in self._log.each(phase, read, len(jobs), lambda pair: pair[0].name):
                try:
                    pixels = frames.result()
                except DataError as error:
                    self._break(job, str(error))
                    continue
                if job in self._on_sheet:
                    self.strips[job] = strip_of(pixels)
                yield job, pixels
                del frames, pixels

    def _break(self, job: MediaJob, reason: str) -> None:
        self._broken.add(job.name)
        self.failures[job.stored.key] = reason
        self._log.skip(job.name, reason)


def encode_captions(
    planned: list[Planned],
    empty: Stored,
    source: EncoderSource[CaptionEncoder],
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
    missing: dict[str, list[Stored]] = {}
    captions = {c.conditions: c.text for p in planned for c in p.item.captions}
    for stored, text in captions.items():
        if cache.holds(stored):
            log.reused += 1
        else:
            missing.setdefault(text, []).append(stored)
    if not cache.holds(empty):
        missing.setdefault("", []).append(empty)
    failures: dict[str, str] = {}
    if not missing:
        return failures
    encoder = source.load()
    for text in log.each("encode captions", list(missing), len(missing), lambda text: text[:60]):
        try:
            embedding = encoder.encode([text])[0]
        except DataError as error:
            failures |= {stored.key: str(error) for stored in missing[text]}
            continue
        if not all(map(is_finite, embedding.values())):
            reason = "its embedding is not finite: take another text encoder file"
            if not text:  # which every data set has
                raise ModelError(f"the empty caption: {reason}")
            failures |= {stored.key: reason for stored in missing[text]}
            continue
        for stored in missing[text]:
            cache.write(stored, embedding, {"caption": text})
            log.written += stored != empty
    del encoder
    empty_cache()
    return failures


def _frames(job: MediaJob, megapixels: float) -> np.ndarray:
    return read_frames(job.media, job.size, job.selection, job.like, megapixels)


def _batches(read: Iterator[Read], size: int) -> Iterator[list[Read]]:
    """Up to `size` in a row whose frames have one shape."""
    batch: list[Read] = []
    for job, frames in read:
        if batch and batch[0][0].size != job.size:
            yield batch
            batch = []
        batch.append((job, frames))
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
    except torch.cuda.OutOfMemoryError as error:
        raise ModelError(
            f"the VAE does not fit into the device's memory with {len(frames)} x "
            f"{frames[0].shape[2]}x{frames[0].shape[1]}x{len(frames[0])}: set vae_tile_px (512 for "
            "example), a smaller vae_batch_size, or smaller buckets. What was encoded is kept"
        ) from error
