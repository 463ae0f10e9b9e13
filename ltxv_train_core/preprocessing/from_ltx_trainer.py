"""A data set that ltx-trainer has preprocessed, as one of ours.

Its texts are features, which the connectors of the model finish once: neither they nor a text encoder are
needed while training. Nothing is encoded, and the folder stays as it is.
"""

import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..config import PreprocessSettings
from ..datasets import ltx_trainer
from ..datasets.cache import Cache
from ..datasets.encoded_with import content_key
from ..datasets.index import (
    CONDITIONS,
    SHEET_NAME,
    CachedFile,
    Caption,
    Example,
    Index,
    folder_of,
    own_index_path,
)
from ..datasets.ltx_trainer import Clip
from ..datasets.summary import PreprocessSummary, summarize
from ..errors import DataError, ModelError, cut
from ..events import Notice
from ..families.names import AUDIO, CONNECTORS, LATENTS, MASK, REFERENCE, TEXT_ENCODER, VIDEO
from ..families.open import Model, open_model
from ..media.sheet import contact_sheet
from ..models.device import default_device
from ..models.precision import text_encoder_dtype
from ..storage.atomic import atomic_path, sha256_json
from .nothing_usable import nothing_usable
from .progress import PassLog

IMPORTED = ".precomputed-imported"
_FAMILY = ltx_trainer.FAMILY


def read_ltx_trainer(settings: PreprocessSettings, theirs: Path, log: PassLog) -> PreprocessSummary:
    """Writes a data set of ours from a folder of ltx-trainer's.

    Args:
        settings: of the options the model and the folder to write count.
        theirs: the folder with `latents`.

    Raises:
        DataError: no clip can be read, or the folder to write holds files of somebody else.
        ModelError: the model is none of LTX-2, or has no connectors.
        Cancelled: stopped.
    """
    started = time.monotonic()
    work = _Import(settings, theirs, log)
    clips, skipped = ltx_trainer.read_clips(theirs)
    for name, reason in skipped:
        log.skip(name, reason)
    work.cache.claim()
    examples = [
        example
        for clip in log.each("read clips", clips, len(clips), lambda clip: clip.name)
        if (example := work.example(clip))
    ]
    if not examples:
        raise nothing_usable(theirs, log.skipped)
    return work.finish(tuple(examples), started)


class _Import:
    def __init__(self, settings: PreprocessSettings, theirs: Path, log: PassLog):
        self.settings, self.theirs, self.log = settings, theirs, log
        self.model = _model(settings, log)
        root = settings.output_dir or theirs.parent / IMPORTED
        self.cache = Cache(root)
        device = default_device()
        name = settings.text_encoder_dtype
        self.dtype = text_encoder_dtype(device) if name == "auto" else getattr(torch, name)
        part = self.model.part(CONNECTORS)
        part.require()
        self.content = part.content
        self.connectors: Any = part.load(self.dtype).to(device)

    def example(self, clip: Clip) -> Example | None:
        """None where a file of it can't be read."""
        try:
            return self._example(clip)
        except DataError as error:
            self.log.skip(clip.name, str(error))
            return None

    def _example(self, clip: Clip) -> Example:
        streams: dict[str, dict[str, CachedFile]] = {}
        for (stream, role), path in clip.files.items():
            tensor = self._tensor(clip, stream, role, path)
            if tensor is None:
                continue
            stem = f"{folder_of(stream, role)}/{clip.name}"
            made_of = (ltx_trainer.content(path), stream, role, str(clip.size), repr(clip.fps))
            name = MASK if role == MASK else LATENTS
            streams.setdefault(stream, {})[role] = self._write(stem, made_of, {name: tensor})
        read_by = (ltx_trainer.content(clip.text), str(self.content), str(self.dtype))
        stem = f"{CONDITIONS}/{clip.name}"
        embedding = self._write(stem, read_by, lambda: self._text(clip))
        return Example(clip.name, str(clip.size), clip.fps, streams, (Caption("", embedding),))

    def _tensor(self, clip: Clip, stream: str, role: str, path: Path) -> Tensor | None:
        """None for a reference that can't be trained on."""
        if stream == AUDIO:
            return self._of_sound(clip, role, path) if self.settings.with_sound else None
        shape = tuple(_FAMILY.grid.latent(clip.size))
        if role == MASK:
            return ltx_trainer.mask(path, shape)
        found = ltx_trainer.latents(path)
        video = _FAMILY.streams[VIDEO]
        if role == REFERENCE and not video.takes_reference(found.shape[1:], clip.size, clip.fps):
            self.log.report(
                Notice(
                    f"{clip.name}: its reference is of another size ({list(found.shape[1:])}, which doesn't go into "
                    f"{list(shape)}) and is left out"
                )
            )
            return None
        return found

    @staticmethod
    def _of_sound(clip: Clip, role: str, path: Path) -> Tensor | None:
        """None for what belongs to a sound that isn't there."""
        if (AUDIO, LATENTS) not in clip.files:
            return None
        if role == MASK:
            shape = _FAMILY.streams[AUDIO].latent_shape(clip.size, clip.fps)
            return ltx_trainer.sound_mask(path, shape)
        return ltx_trainer.sound(path, clip)

    def _text(self, clip: Clip) -> dict[str, Tensor]:
        video, audio = ltx_trainer.features(clip.text)
        widths = self.connectors.widths
        same = widths[0] == widths[1]  # as of LTX-2.0: both streams read the same features
        given = video if audio is None or same else torch.cat([video, audio], dim=-1)
        finished = self.connectors.finish(given)
        return {name: text.cpu().contiguous() for name, text in finished.items()}

    def _write(self, stem: str, made_of: Iterable[str], tensors: Any) -> CachedFile:
        """Writes tensors, or what a call gives, where they aren't there."""
        file = self.cache.locate(stem, sha256_json(["ltx-trainer", *made_of]))
        if (self.cache.root / file.path).is_file():
            self.log.reused += 1
            return file
        self.cache.begin([file], ())
        self.cache.write(file, tensors() if callable(tensors) else tensors, {})
        self.log.written += 1
        return file

    def finish(self, examples: tuple[Example, ...], started: float) -> PreprocessSummary:
        content = {} if self.content is None else {content_key(TEXT_ENCODER): self.content}
        model = {
            "name": self.settings.model_source,
            TEXT_ENCODER: f"ltx-trainer {self.content} {self.dtype}",
            **content,
        }
        settings = {"source": self.theirs.name}
        index = Index(model, settings, examples, None, _FAMILY.name)
        name = sha256_json(["ltx-trainer", self.theirs.name, self.settings.model_source])
        self.cache.write_index(index, name)
        sheet = self.cache.root / SHEET_NAME
        told = f"{len(examples)} clips of ltx-trainer, of which only latents are known"
        with atomic_path(sheet) as temporary:
            contact_sheet([[np.zeros((1, 64, 256, 3), np.uint8)]], [told]).save(temporary)
        return PreprocessSummary(
            root=self.cache.root,
            index=own_index_path(self.cache.root, name),
            written=self.log.written,
            reused=self.log.reused,
            reread=0,
            shown={},
            silent=sum(AUDIO not in each.streams for each in examples),
            missing_sound="video_only",
            stills=0,
            skipped=tuple(self.log.skipped),
            seconds=time.monotonic() - started,
            dataset=summarize(index, self.cache),
            other_indexes=(),
            orphans=(),
            orphans_removed=False,
            verified=(),
            sheet=sheet,
            verification=None,
        )


def _model(settings: PreprocessSettings, log: PassLog) -> Model:
    model = open_model(settings.model_source, report=log.report, stop=log.stop)
    if model.family.name != _FAMILY.name or CONNECTORS not in model.parts:
        raise ModelError(
            f"model_source {cut(settings.model_source)!r}: {settings.source} is a data set of ltx-trainer, whose "
            f"texts go through the connectors of your {_FAMILY.name} model: name its file or folder"
        )
    return model
