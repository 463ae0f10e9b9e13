"""What a clip becomes: decided from its files, before any model is loaded."""

from dataclasses import dataclass
from pathlib import Path

from ..files import sha256_file, sha256_json
from ..geometry import VideoSize
from ..media.video import MediaInfo, probe
from .buckets import choose_bucket
from .index import CONDITIONS, LATENTS, REFERENCE_LATENTS, SUFFIX, Item, Stored
from .manifest import Clip

RECIPE_VERSION = 1
"""Raised when the same media and settings give other latents or embeddings than before."""


@dataclass(frozen=True)
class MediaJob:
    """A video or image to encode at `size` into `stored`; `name` is its clip's."""

    name: str
    media: Path
    info: MediaInfo
    size: VideoSize
    stored: Stored


@dataclass(frozen=True)
class Planned:
    """A clip that can be used."""

    item: Item
    video: MediaJob
    reference: MediaJob | None


def plan_clip(
    clip: Clip, buckets: tuple[VideoSize, ...], id_token: str, model_identity: str
) -> Planned:
    """Inspects a clip's files; a reference gets the size of its target.

    Keys stand for the content of the media, the size, the caption and the model, not for names.

    Raises:
        DataError: a file is broken, or fits no bucket.
    """
    info = probe(clip.media)
    reference_info = probe(clip.reference) if clip.reference else None
    size = choose_bucket(buckets, *filter(None, (info, reference_info)))

    def stored(folder: str, *content: str) -> Stored:
        key = sha256_json([RECIPE_VERSION, model_identity, *content])
        return Stored(f"{folder}/{clip.name}{SUFFIX}", key)

    def media_job(folder: str, media: Path, info: MediaInfo) -> MediaJob:
        target = stored(folder, sha256_file(media), str(size))
        return MediaJob(clip.name, media, info, size, target)

    video = media_job(LATENTS, clip.media, info)
    reference = None
    if clip.reference and reference_info:
        reference = media_job(REFERENCE_LATENTS, clip.reference, reference_info)
    caption = f"{id_token.strip()} {clip.caption}".strip()
    item = Item(
        name=clip.name,
        caption=caption,
        size=str(size),
        fps=info.fps,
        latents=video.stored,
        conditions=stored(CONDITIONS, caption),
        reference_latents=reference.stored if reference else None,
    )
    return Planned(item, video, reference)
