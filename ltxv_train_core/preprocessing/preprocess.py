"""Media and captions to cached latents and text embeddings, ready to train on.

Every clip is looked at first (content, size, bucket), then the VAE encodes what is not there yet,
then the text encoder does: one model in memory at a time, and none if nothing is missing. Nothing
that is imported here imports torch: files are looked at while it is, and an unchanged data set
is recognised without it.
"""

import time
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ..config import PreprocessSettings
from ..config.tools.preprocessing import WITHOUT_EFFECT
from ..datasets.cache import Cache
from ..datasets.cached_tensors import Form, example_forms, text_form
from ..datasets.encoded_with import content_key
from ..datasets.foreign_folders import holds_pt_latents
from ..datasets.index import (
    SHEET_NAME,
    VERIFICATION_NAME,
    CachedFile,
    Index,
    index_path,
    index_paths,
    indexes,
    own_index_path,
)
from ..datasets.summary import PreprocessSummary, Verified, count_traits, summarize
from ..errors import DataError
from ..events import NeverStop, Notice, Reporter, StopSignal, ignore, raise_if_stopped
from ..families.grids import require_size
from ..families.names import MASK, TEXT_ENCODER, VIDEO
from ..manifests.manifest import Clip, Columns, read_manifest
from ..models.sources.allowed import require_allowed
from ..permissions import policy
from ..storage.paths import require_short
from ..team import Team
from .buckets import NoBucketError, named_sizes
from .data_set_name import PATHS, data_set_name
from .encoder_cache import model_stamp, remembered_encoders
from .encoders import Encoders, EncoderSource
from .nothing_usable import nothing_usable, smaller_size
from .planner import PlannedExample, Planner, plan_empty_caption
from .prefetch import read_ahead
from .probe_cache import FactsMemory
from .progress import PassLog

if TYPE_CHECKING:
    from .contact_sheet import Strips

__all__ = ["PreprocessSettings", "PreprocessSummary", "encode_share", "preprocess"]

# What a kill loses of hashes and sizes; each save writes the whole file.
SAVE_FACTS_EVERY_SECONDS = 10.0
FAILED_BEFORE = "That was in an earlier pass: recheck_files tries again"


def preprocess(
    settings: PreprocessSettings,
    report: Reporter = ignore,
    stop: StopSignal | None = None,
    encoders: Mapping[str, EncoderSource[object]] | None = None,
) -> PreprocessSummary:
    """Encodes a data set, or what changed of it since the last time.

    A clip that can't be used is reported and skipped, with its caption and its reference.

    Args:
        encoders: in place of those of `settings.model_source`, by the part that each is.

    Raises:
        DataError: the source can't be read, no clip of it can be used, the folder to write holds
            files of somebody else, or another program has preprocessed into it meanwhile.
        NotAllowedError: the source or the model may not be read, or the folder may not be written.
        ConfigurationError: a bucket is off the grid, or this machine can't do what is asked for.
        ModelError: there is no such model, or it doesn't fit into memory.
        Cancelled: stopped; what was encoded is kept, and the next call resumes from there.
    """
    require_allowed((settings.model_source, *settings.part_sources().values()))
    log = PassLog(report, stop or NeverStop())
    if theirs := _of_ltx_trainer(settings.source):
        from .from_ltx_trainer import read_ltx_trainer

        return read_ltx_trainer(settings, theirs, log)
    work = _Pass(settings, log, encoders or {})
    manifest = read_manifest(settings.source, Columns.of(settings), settings.default_caption)
    work.cache.claim()
    for skipped in manifest.skipped:
        log.skip(skipped.name, skipped.reason)
    manifest.report_notes(report)
    known = remembered_encoders(settings, work.given)
    if known:
        clips = work.look_at(manifest.clips)
        planned = work.plan(clips, known)
        if not settings.verify_clips and work.is_complete(planned, known):
            log.reused = len({file.path for p in planned for file in p.example.files})
            return work.finish(planned, known)
        found = work.find_encoders()
        if found.identities != known.identities:
            usable = {p.example.name for p in planned}
            planned = work.plan([clip for clip in clips if clip.name in usable], found)
    else:
        with ThreadPoolExecutor(1, "ltxv-models") as aside:
            finding = aside.submit(work.find_encoders)
            clips = work.look_at(manifest.clips, finding)
            found = finding.result()
        planned = work.plan(clips, found)
    return work.finish(work.encode(planned, found), found)


def encode_share(
    settings: PreprocessSettings,
    team: Team,
    report: Reporter = ignore,
    stop: StopSignal | None = None,
    encoders: Mapping[str, EncoderSource[object]] | None = None,
) -> None:
    """Encodes this process's share of a data set into the cache; returns when all have encoded theirs.

    There is no index then: `preprocess` of one process writes it, and finds everything encoded. What can't
    be used is left to it as well. Raises as `preprocess`.
    """
    require_allowed((settings.model_source, *settings.part_sources().values()))
    if _of_ltx_trainer(settings.source):
        return  # nothing is encoded
    work = _Pass(settings, PassLog(report, stop or NeverStop()), encoders or {})
    manifest = read_manifest(settings.source, Columns.of(settings), settings.default_caption)
    if team.rank == 0:
        work.cache.claim()
    team.agree(None)
    clips = manifest.clips[team.rank :: team.count]
    if clips:
        found = work.find_encoders()
        with suppress(DataError):  # of these clips none can be used, and others may be
            work.encode(work.plan(work.look_at(clips), found), found)
    team.agree(None)


def _of_ltx_trainer(source: Path) -> Path | None:
    """The folder of a data set that ltx-trainer has preprocessed; None for other sources."""
    policy().require_read(source)
    if not holds_pt_latents(source):
        return None
    from ..datasets.ltx_trainer import find_root

    return find_root(source)


class _Pass:
    """One pass over a data set."""

    def __init__(
        self,
        settings: PreprocessSettings,
        log: PassLog,
        given: Mapping[str, EncoderSource[object]],
    ):
        """Raises `ConfigurationError` for buckets that can't be read."""
        self.started, self.started_at = time.monotonic(), time.time()
        self.settings = settings
        self.log = log
        self.given = given
        self.strips: Strips = {}
        self.verified: tuple[Verified, ...] = ()
        for size in named_sizes(settings.resolution_buckets):
            require_size(size)
        self.cache = Cache(settings.root)
        self.data_set = data_set_name(settings, given)
        self.index = own_index_path(settings.root, self.data_set)
        self.facts = FactsMemory(
            settings.root,
            settings.recheck_files,
            settings.max_megapixels,
            partial(raise_if_stopped, log.stop),
        )

    def find_encoders(self) -> Encoders:
        """The encoders themselves; importing their code takes seconds."""
        from .model_encoders import find_encoders

        found = find_encoders(self.settings, self.given, self.log.report, self.log.stop)
        for index in indexes(self.cache.root):
            found = found.known_as(index.model)
        return found

    @property
    def other_indexes(self) -> tuple[str, ...]:
        """Names of the indexes of other data sets in the folder."""
        mine = (self.index, index_path(self.cache.root))
        return tuple(path.name for path in index_paths(self.cache.root) if path not in mine)

    def save_facts(self) -> None:
        """Writes what is known of files; what other data sets of the folder need is kept."""
        self.facts.save(finished=not self.other_indexes)

    def look_at(
        self, clips: tuple[Clip, ...], finding: Future[Encoders] | None = None
    ) -> list[Clip]:
        """Looks at every file; what was learned is kept for the next time.

        Returns:
            the clips of which every file can be read. Ends early when encoders can't be found.
        """

        def look(clip: Clip) -> None:
            for path in filter(None, (clip.media, clip.reference, clip.mask)):
                self.facts.of(path)
            for path in filter(None, (clip.audio, clip.reference_audio)):
                self.facts.digest(path)

        found = []
        saved = time.monotonic()
        threads = self.settings.decode_threads
        with closing(read_ahead(look, clips, threads)) as looks:
            for clip, looked in self.log.each("inspect clips", looks, len(clips), _name):
                if finding and finding.done():
                    finding.result()
                try:
                    looked.result()
                    found.append(clip)
                except DataError as error:
                    self.log.skip(clip.name, str(error))
                if time.monotonic() - saved > SAVE_FACTS_EVERY_SECONDS:
                    self.facts.save()
                    saved = time.monotonic()
        return found

    def plan(self, clips: list[Clip], encoders: Encoders) -> list[PlannedExample]:
        """Raises `DataError` when no clip can be used."""
        planner = Planner(self.settings, self.facts, self.cache.locate, encoders)
        planned: dict[str, PlannedExample] = {}
        unfilled: list[Clip] = []
        for clip in clips:
            try:
                items = {p.example.name: p for p in planner.plan(clip) if self._can_be_made(p)}
            except DataError as error:
                self.log.skip(clip.name, str(error))
                if isinstance(error, NoBucketError):
                    unfilled.append(clip)
                continue
            if taken := planned.keys() & items.keys():
                self.log.skip(clip.name, f"{min(taken)} names a window of another clip: rename it")
                continue
            planned |= items
        if not planned:
            files = [path for clip in unfilled for path in (clip.media, clip.reference) if path]
            media = [self.facts.of(path).info for path in files]
            hint = smaller_size(self.settings, media, encoders.family.grid)
            raise nothing_usable(
                self.settings.source,
                self.log.skipped,
                hint if len(unfilled) == len(self.log.skipped) else "",
            )
        self.save_facts()
        return list(planned.values())

    def _can_be_made(self, planned: PlannedExample) -> bool:
        """False where it failed before, with the same content and options.

        Raises:
            DataError: this system can't write one of its files.
        """
        for file in planned.example.files:
            require_short(self.cache.root / file.path)
        keys = [task.file.key for task in planned.tasks]
        for key in keys + [caption.embedding.key for caption in planned.example.captions]:
            if reason := self.facts.failure(key):
                self.log.skip(planned.example.name, f"{reason}. {FAILED_BEFORE}")
                return False
        return True

    def is_complete(self, planned: list[PlannedExample], encoders: Encoders) -> bool:
        """Whether everything is there that training reads."""
        forms: dict[CachedFile, Form] = {self.empty_caption(encoders): text_form(encoders.family)}
        for p in planned:
            forms |= example_forms(p.example, encoders.family)
        return all(self.cache.holds(file, form) for file, form in forms.items())

    def empty_caption(self, encoders: Encoders) -> CachedFile:
        """Where the embedding of no text at all is kept."""
        return plan_empty_caption(self.cache.locate, encoders.text.identity)

    def encode(self, planned: list[PlannedExample], encoders: Encoders) -> list[PlannedExample]:
        """Encodes what is missing; returns the clips that could be read."""
        from .encode import MediaEncoding, encode_captions

        self._require(encoders, planned)
        empty = self.empty_caption(encoders)
        files = [empty, *(file for p in planned for file in p.example.files)]
        self.cache.begin(files, indexes(self.cache.root))
        media = MediaEncoding(self.cache, self.settings, self.log)
        planned = media.run(planned, encoders)
        self.facts.add_failures(media.failures)
        self.save_facts()
        self._require_some(planned)
        failures = encode_captions(planned, empty, encoders, self.cache, self.log)
        if failures:
            self.facts.add_failures(failures)
            self.save_facts()
            planned = self._without(planned, failures)
        if not self.is_complete(planned, encoders):
            raise DataError(
                f"{self.cache.root}: another program has deleted or replaced files in it meanwhile: "
                "preprocess again when it is done"
            )
        self.strips, self.verified = media.strips, media.verified
        return planned

    def _without(
        self, planned: list[PlannedExample], failures: dict[str, str]
    ) -> list[PlannedExample]:
        """Leaves out the clips of which a caption could not be encoded."""
        remaining = []
        for p in planned:
            keys = {caption.embedding.key for caption in p.example.captions} & failures.keys()
            if keys:
                self.log.skip(p.example.name, failures[min(keys)])
            else:
                remaining.append(p)
        self._require_some(remaining)
        return remaining

    def finish(self, planned: list[PlannedExample], encoders: Encoders) -> PreprocessSummary:
        """Writes the index: from here on the data set can be trained on."""
        root, settings = self.cache.root, self.settings
        index = Index(
            self._model(encoders),
            settings.model_dump(mode="json", exclude=set(WITHOUT_EFFECT | PATHS)),
            tuple(p.example for p in planned),
            self.empty_caption(encoders),
            encoders.family.name,
        )
        if self.cache.write_index(index, self.data_set) or not (root / SHEET_NAME).is_file():
            from .contact_sheet import write_sheet

            write_sheet(planned, root, self.strips, settings.max_megapixels)
        self.cache.remove_unfinished(before=self.started_at)
        orphans = self.cache.orphans()
        if settings.remove_orphans and (damaged := self.cache.unreadable_indexes()):
            self.log.report(
                Notice(
                    f"{damaged[0].name} can't be read, so no file is removed: delete it, or preprocess "
                    "its data set again",
                    lasting=True,
                    is_problem=True,
                )
            )
        if settings.remove_orphans and orphans:
            self.cache.remove(orphans)
        return PreprocessSummary(
            root=root,
            index=self.index,
            written=self.log.written,
            reused=self.log.reused,
            reread=self.log.reread,
            shown=count_traits(
                task.info for p in planned for task in p.tasks if task.stream == VIDEO
            ),
            silent=sum(p.is_silent for p in planned),
            missing_sound=settings.missing_sound,
            stills=sum(p.video.size.frames == 1 < p.video.info.frames for p in planned if p.video),
            skipped=tuple(self.log.skipped),
            seconds=time.monotonic() - self.started,
            dataset=summarize(index, self.cache),
            other_indexes=self.other_indexes,
            orphans=tuple(path.relative_to(root).as_posix() for path in orphans),
            orphans_removed=settings.remove_orphans,
            verified=self.verified,
            sheet=root / SHEET_NAME,
            verification=root / VERIFICATION_NAME if self.verified else None,
        )

    def _model(self, encoders: Encoders) -> dict[str, str]:
        contents = {name: part.content for name, part in encoders.parts.items()}
        return {
            "name": self.settings.model_source,
            **encoders.identities,
            "stamp": model_stamp(self.settings, self.given),
            **{content_key(name): one for name, one in contents.items() if one is not None},
        }

    def _require(self, encoders: Encoders, planned: list[PlannedExample]) -> None:
        """Raises `ModelError` now, rather than after hours, when a part that is needed is missing."""
        needed: dict[str, set[CachedFile]] = {TEXT_ENCODER: set()}
        forms: dict[CachedFile, Form] = {}
        for p in planned:
            forms |= example_forms(p.example, encoders.family)
            needed[TEXT_ENCODER] |= {caption.embedding for caption in p.example.captions}
            for task in p.tasks:
                if task.role != MASK:
                    part = encoders.family.streams[task.stream].encoder
                    needed.setdefault(part, set()).add(task.file)
        for part, files in needed.items():
            if not all(self.cache.holds(file, forms[file]) for file in files):
                encoders.parts[part].require()

    def _require_some(self, planned: list[PlannedExample]) -> None:
        if not planned:
            raise nothing_usable(self.settings.source, self.log.skipped)


def _name(pair: tuple[Clip, object]) -> str:
    return pair[0].name
