"""What a clip becomes: decided from its files, before any model is loaded."""

from dataclasses import dataclass, replace
from pathlib import Path

from ..errors import DataError
from ..files import sha256_file, sha256_json
from ..geometry import VideoSize
from ..media.video import MediaInfo, probe
from .buckets import choose_bucket
from .captions import without_opening
from .index import (
    CONDITIONS,
    EMPTY_CAPTION,
    LATENTS,
    MASKS,
    REFERENCE_LATENTS,
    SUFFIX,
    Caption,
    Item,
    Stored,
)
from .manifest import Clip

SHAPE_TOLERANCE = 0.02
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
    mask: MediaJob | None


@dataclass(frozen=True)
class CaptionStyle:
    """What is done to every caption: the usual openings removed, a trigger word put before it."""

    id_token: str = ""
    remove_llm_prefixes: bool = False

    def apply(self, caption: str) -> str:
        text = without_opening(caption) if self.remove_llm_prefixes else caption
        return f"{self.id_token.strip()} {text}".strip()


def plan_empty_caption(model_identity: str) -> Stored:
    """Where the embedding of no text at all is kept."""
    return Stored(f"{EMPTY_CAPTION}{SUFFIX}", _key(model_identity, ""))


def plan_clip(
    clip: Clip, buckets: tuple[VideoSize, ...], style: CaptionStyle, model_identity: str
) -> Planned:
    """Inspects a clip's files; a reference and a mask get the size of their target.

    Keys stand for the content of the media, the size, the caption and the model, not for names.

    Raises:
        DataError: a file is broken, or fits no bucket.
    """
    info = probe(clip.media)
    reference_info = probe(clip.reference) if clip.reference else None
    mask_info = probe(clip.mask) if clip.mask else None
    long_mask = mask_info if mask_info and not mask_info.is_image else None
    size = choose_bucket(buckets, *filter(None, (info, reference_info, long_mask)))

    def stored(folder: str, *content: str, part: str = "") -> Stored:
        key = _key(model_identity, *content)
        return Stored(f"{folder}/{clip.name}{part}{SUFFIX}", key)

    def media_job(folder: str, media: Path, info: MediaInfo, size: VideoSize) -> MediaJob:
        target = stored(folder, sha256_file(media), str(size))
        return MediaJob(clip.name, media, info, size, target)

    video = media_job(LATENTS, clip.media, info, size)
    reference = None
    if clip.reference and reference_info:
        reference = media_job(REFERENCE_LATENTS, clip.reference, reference_info, size)
    mask = None
    if clip.mask and mask_info:
        _require_same_shape(mask_info, info)
        frames = 1 if mask_info.is_image else size.frames
        mask = media_job(MASKS, clip.mask, mask_info, replace(size, frames=frames))
    texts = list(dict.fromkeys(map(style.apply, clip.captions)))
    captions = [
        Caption(text, stored(CONDITIONS, text, part=f".caption{number}" if number > 1 else ""))
        for number, text in enumerate(texts, start=1)
    ]
    item = Item(
        name=clip.name,
        caption=captions[0].text,
        size=str(size),
        fps=info.fps,
        latents=video.stored,
        conditions=captions[0].conditions,
        reference_latents=reference.stored if reference else None,
        mask=mask.stored if mask else None,
        more_captions=tuple(captions[1:]),
    )
    return Planned(item, video, reference, mask)


def _key(*content: str) -> str:
    """Stands for everything that a cached file depends on."""
    return sha256_json([RECIPE_VERSION, *content])


def _require_same_shape(mask: MediaInfo, clip: MediaInfo) -> None:
    if abs(mask.width / mask.height / (clip.width / clip.height) - 1) > SHAPE_TOLERANCE:
        raise DataError(
            f"its mask is {mask.width}x{mask.height} and the clip {clip.width}x{clip.height}: "
            "give a mask of the clip's shape"
        )
