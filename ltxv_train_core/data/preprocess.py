"""Media and captions to cached latents and text embeddings, ready to train on.

Every clip is inspected first (content, size, bucket), then the VAE encodes what is not there yet,
then the text encoder does: one model in memory at a time, and none if nothing is missing.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ..config import PreprocessSettings
from ..errors import DataError
from ..events import (
    ClipSkipped,
    NeverStop,
    Progress,
    Reporter,
    StopSignal,
    ignore,
    raise_if_stopped,
)
from ..files import write_safetensors
from ..geometry import VideoSize, parse_buckets
from ..media.tensors import frames_to_tensor
from ..media.video import read_frames
from ..models.device import default_device, free_memory
from ..models.source import open_model
from ..models.video_codec import VideoCodec
from .index import Index, Stored, index_path, write_index
from .manifest import Clip, Columns, read_manifest
from .masks import latent_mask
from .plan import CaptionStyle, MediaJob, Planned, plan_clip, plan_empty_caption

T = TypeVar("T")


@dataclass(frozen=True)
class PreprocessSummary:
    """`written` and `reused` count the clips' files; `skipped` are (name, reason) of clips left out."""

    root: Path
    written: int
    reused: int
    skipped: tuple[tuple[str, str], ...]
    seconds: float


def preprocess(
    settings: PreprocessSettings, report: Reporter = ignore, stop: StopSignal | None = None
) -> PreprocessSummary:
    """Encodes a data set, or what changed of it since the last time.

    A clip that can't be used is reported and left out, with its caption and its reference.

    Raises:
        DataError: the source can't be read, or no clip of it can be used.
        ConfigurationError: a bucket is off the grid.
        ModelError: there is no such model.
        Cancelled: stopped; what was encoded is kept, and the next call goes on from there.
    """
    started = time.monotonic()
    buckets = parse_buckets(settings.resolution_buckets)
    manifest = read_manifest(settings.source, Columns.of(settings), settings.default_caption)
    run = _Run(settings, report, stop or NeverStop())
    for skipped in manifest.skipped:
        run.skip(skipped.name, skipped.reason)
    planned = run.inspect(manifest.clips, buckets)
    run.require_model(planned)
    planned = run.encode_media(planned)
    run.encode_captions(planned)
    run.write_index(planned)
    seconds = time.monotonic() - started
    return PreprocessSummary(run.root, run.written, run.reused, tuple(run.skipped), seconds)


class _Run:
    """One pass over a data set: what it writes, reuses and skips."""

    def __init__(self, settings: PreprocessSettings, report: Reporter, stop: StopSignal):
        self.settings = settings
        self.root = settings.root
        self.model = open_model(
            settings.model_source, settings.text_encoder_source, settings.vae_source, report, stop
        )
        self.identity = self.model.identity
        self.style = CaptionStyle(settings.id_token, settings.remove_llm_prefixes)
        self.empty_caption = plan_empty_caption(self.identity)
        self.report = report
        self.stop = stop
        self.written = 0
        self.reused = 0
        self.skipped: list[tuple[str, str]] = []

    def skip(self, name: str, reason: str) -> None:
        self.skipped.append((name, reason))
        self.report(ClipSkipped(name, reason))

    def inspect(self, clips: Sequence[Clip], buckets: tuple[VideoSize, ...]) -> list[Planned]:
        planned = []
        for clip in self._each("inspect clips", clips):
            try:
                planned.append(plan_clip(clip, buckets, self.style, self.identity))
            except DataError as error:
                self.skip(clip.name, str(error))
        self._refuse_nothing(planned)
        return planned

    def require_model(self, planned: list[Planned]) -> None:
        """Raises `ModelError` now, rather than after hours, when a part that is needed is missing."""
        if any(not self._is_there(p.item.conditions) for p in planned):
            self.model.require_text_encoder()
        if any(not self._is_there(p.video.stored) for p in planned):
            self.model.require_video_codec()

    def encode_media(self, planned: list[Planned]) -> list[Planned]:
        """Reads masks, encodes videos, then references.

        Returns:
            the clips of which every file could be read.
        """
        videos = self._missing((p.video.stored, p.video) for p in planned)
        references = self._missing(
            (p.reference.stored, p.reference) for p in planned if p.reference
        )
        masks = self._missing((p.mask.stored, p.mask) for p in planned if p.mask)
        broken: set[str] = set()
        self._convert("read masks", masks, "mask", latent_mask, broken)
        if videos or references:
            codec = self.model.load_video_codec().to(default_device())
            encode = partial(_encode, codec)
            self._convert("encode videos", videos, "latents", encode, broken)
            self._convert("encode references", references, "latents", encode, broken)
            del codec, encode
            free_memory()
        remaining = [p for p in planned if p.item.name not in broken]
        self._refuse_nothing(remaining)
        return remaining

    def encode_captions(self, planned: list[Planned]) -> None:
        """Encodes each different caption once, alone: no other one touches its numbers."""
        missing: dict[str, list[Stored]] = {}
        captions = [caption for p in planned for caption in p.item.captions]
        for caption in self._missing((c.conditions, c) for c in captions):
            missing.setdefault(caption.text, []).append(caption.conditions)
        if not self._is_there(self.empty_caption):
            missing.setdefault("", []).append(self.empty_caption)
        if not missing:
            return
        encoder = self.model.load_text_encoder().to(default_device())
        for text in self._each("encode captions", list(missing)):
            embeds = encoder.encode([text])[0]
            for stored in missing[text]:
                self._write(stored, "prompt_embeds", embeds, {"caption": text})
        del encoder
        free_memory()

    def write_index(self, planned: list[Planned]) -> None:
        """From here on the data set can be trained on."""
        settings = {
            "resolution_buckets": self.settings.resolution_buckets,
            "id_token": self.settings.id_token,
            "remove_llm_prefixes": self.settings.remove_llm_prefixes,
        }
        model = {"name": self.model.name, "identity": self.identity}
        items = tuple(p.item for p in planned)
        write_index(self.root, Index(model, settings, items, self.empty_caption))

    def _convert(
        self,
        phase: str,
        jobs: list[MediaJob],
        name: str,
        convert: Callable[[np.ndarray], Tensor],
        broken: set[str],
    ) -> None:
        """Writes the tensor `name` of each job's frames; those that can't be read are `broken`."""
        for job in self._each(phase, jobs):
            if job.name in broken:
                continue
            try:
                frames = read_frames(job.media, job.size)
            except DataError as error:
                broken.add(job.name)
                self.skip(job.name, str(error))
                continue
            self._write(job.stored, name, convert(frames), _description(job))

    def _each(self, phase: str, items: Sequence[T]) -> Iterator[T]:
        """Reports progress, and stops between two items."""
        for done, item in enumerate(items):
            self.report(Progress(phase, done, len(items), "clip"))
            raise_if_stopped(self.stop)
            yield item
        if items:
            self.report(Progress(phase, len(items), len(items), "clip"))

    def _missing(self, work: Iterable[tuple[Stored, T]]) -> list[T]:
        """Those whose file isn't there with the right key; the others count as reused."""
        missing = []
        for stored, thing in work:
            if self._is_there(stored):
                self.reused += 1
            else:
                missing.append(thing)
        return missing

    def _is_there(self, stored: Stored) -> bool:
        return _stored_key(self.root / stored.path) == stored.key

    def _write(self, stored: Stored, name: str, tensor: Tensor, metadata: dict[str, str]) -> None:
        # An index of older files would vouch for a mixture, should this run be interrupted.
        index_path(self.root).unlink(missing_ok=True)
        write_safetensors(self.root / stored.path, {name: tensor}, metadata | {"key": stored.key})
        self.written += stored != self.empty_caption

    def _refuse_nothing(self, planned: list[Planned]) -> None:
        if planned:
            return
        shown = [f"- {name}: {reason}" for name, reason in self.skipped[:10]]
        if len(self.skipped) > len(shown):
            shown.append(f"- and {len(self.skipped) - len(shown)} more")
        raise DataError(
            "\n".join([f"{self.settings.source}: none of its clips can be used", *shown])
        )


def _encode(codec: VideoCodec, frames: np.ndarray) -> Tensor:
    return codec.encode(frames_to_tensor(frames))[0]


def _stored_key(path: Path) -> str | None:
    """The key that a cached file was written with; None without a readable file."""
    if not path.is_file():
        return None
    try:
        with safe_open(str(path), framework="pt") as file:
            return (file.metadata() or {}).get("key")
    except SafetensorError:
        return None


def _description(job: MediaJob) -> dict[str, str]:
    return {
        "size": str(job.size),
        "fps": repr(job.info.fps),
        "source_size": f"{job.info.width}x{job.info.height}x{job.info.frames}",
    }
