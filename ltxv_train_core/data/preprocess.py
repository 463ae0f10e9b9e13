"""Media and captions to cached latents and text embeddings, ready to train on.

Every clip is inspected first (content, size, bucket), then the VAE encodes what is not there yet,
then the text encoder does: one model in memory at a time, and none if nothing is missing.
"""

import time
from contextlib import closing

from ..config import PreprocessSettings
from ..config.preprocessing import WITHOUT_EFFECT
from ..errors import DataError
from ..events import NeverStop, Reporter, StopSignal, ignore
from .buckets import BucketSet, read_buckets
from .cache import Cache
from .encoders import CaptionEncoder, Encoders, EncoderSource, VideoEncoder, find_encoders
from .encoding import MediaEncoding, encode_captions
from .file_facts import FactsMemory
from .index import Index, write_index
from .manifest import Clip, Columns, read_manifest
from .pass_log import PassLog
from .pictures import SHEET_NAME, VERIFICATION_NAME, Pictures
from .plan import Planned, Planner, plan_empty_caption
from .read_ahead import read_ahead
from .summary import PreprocessSummary, summarize

__all__ = ["PreprocessSettings", "PreprocessSummary", "preprocess"]

SAVE_FACTS_EVERY_SECONDS = 10.0
PERSONAL = frozenset({"source", "output_dir"})


def preprocess(
    settings: PreprocessSettings,
    report: Reporter = ignore,
    stop: StopSignal | None = None,
    video_encoder: EncoderSource[VideoEncoder] | None = None,
    caption_encoder: EncoderSource[CaptionEncoder] | None = None,
) -> PreprocessSummary:
    """Encodes a data set, or what changed of it since the last time.

    A clip that can't be used is reported and left out, with its caption and its reference.

    Args:
        video_encoder, caption_encoder: in place of those of `settings.model_source`.

    Raises:
        DataError: the source can't be read, or no clip of it can be used.
        ConfigurationError: a bucket is off the grid, or this machine can't do what is asked for.
        ModelError: there is no such model, or it doesn't fit into memory.
        Cancelled: stopped; what was encoded is kept, and the next call goes on from there.
    """
    started = time.monotonic()
    log = PassLog(report, stop or NeverStop())
    buckets = read_buckets(settings.resolution_buckets)
    manifest = read_manifest(settings.source, Columns.of(settings), settings.default_caption)
    for skipped in manifest.skipped:
        log.skip(skipped.name, skipped.reason)
    encoders = find_encoders(settings, video_encoder, caption_encoder, report, stop)
    planned = _inspect(manifest.clips, buckets, settings, encoders, log)
    cache = Cache(settings.root)
    _require(encoders, planned, cache)
    pictures = Pictures(planned)
    media = MediaEncoding(cache, settings, log, pictures)
    planned = media.run(planned, encoders.video)
    _refuse_nothing(settings, planned, log)
    empty = plan_empty_caption(encoders.text.identity)
    encode_captions(planned, empty, encoders.text, cache, log)

    index = Index(
        _model(settings, encoders), _effective(settings), tuple(p.item for p in planned), empty
    )
    changed = write_index(cache.root, index)
    if changed or not (cache.root / SHEET_NAME).is_file():
        pictures.write(cache.root)
    orphans = cache.orphans(index)
    if settings.remove_orphans:
        cache.remove(orphans)
    return PreprocessSummary(
        root=cache.root,
        written=log.written,
        reused=log.reused,
        skipped=tuple(log.skipped),
        seconds=time.monotonic() - started,
        dataset=summarize(index, cache),
        orphans=tuple(path.relative_to(cache.root).as_posix() for path in orphans),
        orphans_removed=settings.remove_orphans,
        verified=media.verified,
        sheet=cache.root / SHEET_NAME,
        verification=cache.root / VERIFICATION_NAME if media.verified else None,
    )


def _inspect(
    clips: tuple[Clip, ...],
    buckets: tuple[BucketSet, ...],
    settings: PreprocessSettings,
    encoders: Encoders,
    log: PassLog,
) -> list[Planned]:
    """Looks at every file; what was learned is kept for the next time."""
    base = settings.source if settings.source.is_dir() else settings.source.parent
    facts = FactsMemory(settings.root, base, settings.recheck_files)
    planner = Planner(settings, buckets, facts.of, encoders.video.identity, encoders.text.identity)
    planned: list[Planned] = []
    saved = time.monotonic()
    with closing(read_ahead(planner.plan, clips, settings.decode_threads)) as plans:
        for clip, plan in log.each("inspect clips", plans, len(clips), _name):
            try:
                planned += plan.result()
            except DataError as error:
                log.skip(clip.name, str(error))
            if time.monotonic() - saved > SAVE_FACTS_EVERY_SECONDS:
                facts.save()
                saved = time.monotonic()
    _refuse_nothing(settings, planned, log)
    facts.save(finished=True)
    return planned


def _require(encoders: Encoders, planned: list[Planned], cache: Cache) -> None:
    """Raises `ModelError` now, rather than after hours, when a part that is needed is missing."""
    if not all(cache.holds(p.item.conditions) for p in planned):
        encoders.text.require()
    if not all(cache.holds(p.video.stored) for p in planned):
        encoders.video.require()


def _name(pair: tuple[Clip, object]) -> str:
    return pair[0].name


def _model(settings: PreprocessSettings, encoders: Encoders) -> dict[str, str]:
    return {
        "name": settings.model_source,
        "vae": encoders.video.identity,
        "text_encoder": encoders.text.identity,
    }


def _effective(settings: PreprocessSettings) -> dict[str, object]:
    """The settings that decide what comes out, without paths of this machine."""
    return settings.model_dump(mode="json", exclude=set(WITHOUT_EFFECT | PERSONAL))


def _refuse_nothing(settings: PreprocessSettings, planned: list[Planned], log: PassLog) -> None:
    if planned:
        return
    shown = [f"- {name}: {reason}" for name, reason in log.skipped[:10]]
    if len(log.skipped) > len(shown):
        shown.append(f"- and {len(log.skipped) - len(shown)} more")
    raise DataError("\n".join([f"{settings.source}: none of its clips can be used", *shown]))
