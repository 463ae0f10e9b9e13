"""Media and captions to cached latents and text embeddings, ready to train on.

Every clip is inspected first (content, size, bucket), then the VAE encodes what is not there yet,
then the text encoder does: one model in memory at a time, and none if nothing is missing. Nothing
that is imported here imports torch: files are looked at while it is.
"""

import time
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from functools import partial
from pathlib import Path

from ..config import PreprocessSettings
from ..config.preprocessing import WITHOUT_EFFECT
from ..errors import DataError
from ..events import NeverStop, Reporter, StopSignal, ignore
from .buckets import read_buckets
from .cache import Cache
from .encoders import CaptionEncoder, Encoders, EncoderSource, VideoEncoder
from .file_facts import FactsMemory
from .index import Index, write_index
from .manifest import Clip, Columns, read_manifest
from .pass_log import PassLog
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
    stop = stop or NeverStop()
    log = PassLog(report, stop)
    buckets = read_buckets(settings.resolution_buckets)
    manifest = read_manifest(settings.source, Columns.of(settings), settings.default_caption)
    for skipped in manifest.skipped:
        log.skip(skipped.name, skipped.reason)
    facts = FactsMemory(settings.root, _base(settings.source), settings.recheck_files)
    with ThreadPoolExecutor(1, "ltxv-models") as aside:
        find = partial(_find_encoders, settings, video_encoder, caption_encoder, report, stop)
        finding = aside.submit(find)
        clips = _look_at(manifest.clips, facts, finding, settings, log)
        encoders = finding.result()
    planner = Planner(settings, buckets, facts.of, encoders.video.identity, encoders.text.identity)
    planned = _plan(clips, planner, settings, log)
    facts.save(finished=True)

    from .encoding import MediaEncoding, encode_captions
    from .pictures import SHEET_NAME, VERIFICATION_NAME, Pictures

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


def _base(source: Path) -> Path:
    return source if source.is_dir() else source.parent


def _find_encoders(
    settings: PreprocessSettings,
    video: EncoderSource[VideoEncoder] | None,
    text: EncoderSource[CaptionEncoder] | None,
    report: Reporter,
    stop: StopSignal,
) -> Encoders:
    """In a thread of its own: the import alone takes seconds."""
    if video and text:
        return Encoders(video, text)
    from .model_encoders import find_encoders

    return find_encoders(settings, video, text, report, stop)


def _look_at(
    clips: tuple[Clip, ...],
    facts: FactsMemory,
    finding: Future[Encoders],
    settings: PreprocessSettings,
    log: PassLog,
) -> list[Clip]:
    """Looks at every file; what was learned is kept for the next time.

    Returns:
        the clips of which every file can be read. It ends early when there are no encoders.
    """

    def look(clip: Clip) -> None:
        for path in filter(None, (clip.media, clip.reference, clip.mask)):
            facts.of(path)

    found = []
    saved = time.monotonic()
    with closing(read_ahead(look, clips, settings.decode_threads)) as looks:
        for clip, looked in log.each("inspect clips", looks, len(clips), _name):
            if finding.done():
                finding.result()
            try:
                looked.result()
                found.append(clip)
            except DataError as error:
                log.skip(clip.name, str(error))
            if time.monotonic() - saved > SAVE_FACTS_EVERY_SECONDS:
                facts.save()
                saved = time.monotonic()
    return found


def _plan(
    clips: list[Clip], planner: Planner, settings: PreprocessSettings, log: PassLog
) -> list[Planned]:
    planned: list[Planned] = []
    for clip in clips:
        try:
            planned += planner.plan(clip)
        except DataError as error:
            log.skip(clip.name, str(error))
    _refuse_nothing(settings, planned, log)
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
