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
from .index import FOLDER_NAME, Index, Item, Stored, index_path, write_index
from .manifest import Clip, Columns, read_manifest
from .masks import latent_mask
from .plan import MediaJob, Planned, plan_clip

T = TypeVar("T")


@dataclass(frozen=True)
class PreprocessSettings:
    """What to preprocess, and how.

    Attributes:
        source: a metadata file (csv, json, jsonl) or a folder of media with .txt captions.
        model_source: the base model whose VAE and text encoder are used.
        resolution_buckets: "WxHxF;WxHxF;..."; each clip goes to the one that loses least.
        output_dir: by default `.precomputed` beside the metadata file, or in the folder.
        caption_column, video_column, reference_column: names of the metadata columns; without
            the default reference column the data set has no references.
        id_token: a trigger word put before every caption.
        text_encoder_source, vae_source: in place of the model's own, as in the configuration.
    """

    source: Path
    model_source: str
    resolution_buckets: str
    output_dir: Path | None = None
    caption_column: str = "caption"
    video_column: str = "media_path"
    reference_column: str = "reference_path"
    id_token: str = ""
    text_encoder_source: str | None = None
    vae_source: str | None = None

    @property
    def root(self) -> Path:
        if self.output_dir is not None:
            return Path(self.output_dir)
        source = Path(self.source)
        return (source if source.is_dir() else source.parent) / FOLDER_NAME


@dataclass(frozen=True)
class PreprocessSummary:
    """`written` and `reused` count files; `skipped` are (name, reason) of clips left out."""

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
    columns = Columns(settings.caption_column, settings.video_column, settings.reference_column)
    manifest = read_manifest(settings.source, columns)
    run = _Run(settings, report, stop or NeverStop())
    for skipped in manifest.skipped:
        run.skip(skipped.name, skipped.reason)
    planned = run.inspect(manifest.clips, buckets)
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
        self.model.require_video_codec()
        self.model.require_text_encoder()
        self.identity = self.model.identity
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
                planned.append(plan_clip(clip, buckets, self.settings.id_token, self.identity))
            except DataError as error:
                self.skip(clip.name, str(error))
        self._refuse_nothing(planned)
        return planned

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
        missing: dict[str, list[Item]] = {}
        for item in self._missing((p.item.conditions, p.item) for p in planned):
            missing.setdefault(item.caption, []).append(item)
        if not missing:
            return
        encoder = self.model.load_text_encoder().to(default_device())
        for caption in self._each("encode captions", list(missing)):
            embeds = encoder.encode([caption])[0]
            for item in missing[caption]:
                self._write(item.conditions, "prompt_embeds", embeds, {"caption": caption})
        del encoder
        free_memory()

    def write_index(self, planned: list[Planned]) -> None:
        """From here on the data set can be trained on."""
        settings = {
            "resolution_buckets": self.settings.resolution_buckets,
            "id_token": self.settings.id_token,
        }
        model = {"name": self.model.name, "identity": self.identity}
        write_index(self.root, Index(model, settings, tuple(p.item for p in planned)))

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
            if _stored_key(self.root / stored.path) == stored.key:
                self.reused += 1
            else:
                missing.append(thing)
        return missing

    def _write(self, stored: Stored, name: str, tensor: Tensor, metadata: dict[str, str]) -> None:
        # An index of older files would vouch for a mixture, should this run be interrupted.
        index_path(self.root).unlink(missing_ok=True)
        write_safetensors(self.root / stored.path, {name: tensor}, metadata | {"key": stored.key})
        self.written += 1

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
