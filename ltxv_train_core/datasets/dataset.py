"""A preprocessed data set, and the batches that training takes from it.

Shapes: B batch, C channels, "..." what else a stream's latents have (a video's: frames, rows, columns).
"""

from __future__ import annotations

import math
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from ..errors import DataError, shown
from ..families.names import AUDIO, LATENTS, MASK, REFERENCE, VIDEO
from ..families.registry import family_named
from ..geometry import ReferenceScale, VideoSize
from ..storage.atomic import sha256_json
from ..storage.presence import missing_files
from ..storage.tensors import is_finite
from .batch_order import Stage
from .index import CachedFile, Example, StreamFiles
from .stored_files import open_files

if TYPE_CHECKING:
    from torch import Tensor

    from ..families.base import Embedding, Text


LOOKED_INTO = 5000
"""Of so many files the heads are read at the start, half a second's work; of larger data sets an even share. Each
file is looked at again when it is read."""


StreamTensors: TypeAlias = "Mapping[str, Tensor]"
"""One stream of a clip by role, or of a batch of them (then with B in front).

latents: [C, ...] float32, normalised per channel. reference: likewise, where training takes references.
mask: [...] bool, true for what is to be generated, where training takes masks.
"""


@dataclass(frozen=True)
class LoadedExample:
    """The tensors of one clip with one of its captions.

    Attributes:
        streams: by name, see `families.base.Stream`.
        preserved: the text for which the base's prediction is kept, where a run does so.
        weight: a factor on its loss.
        data_set: the number of the one that it is of, in a run with several.
    """

    name: str
    fps: float
    streams: Mapping[str, StreamTensors]
    text: Embedding
    preserved: Embedding | None = None
    weight: float = 1.0
    data_set: int = 0


@dataclass(frozen=True)
class PreservedTexts:
    """The texts for which a run keeps the base's predictions.

    Attributes:
        by_caption: by the file of the caption that is trained on.
        otherwise: of captions that have none, such as the empty one.
    """

    by_caption: Mapping[CachedFile, Embedding]
    otherwise: Embedding | None

    def of(self, caption: CachedFile) -> Embedding | None:
        return self.by_caption.get(caption, self.otherwise)


@dataclass(frozen=True)
class Batch:
    """Clips of one size.

    Attributes:
        streams: by name, stacked.
        numbers: of the samples, counted through the whole run.
        fps: [B] float32.
        text: their captions, padded to the longest.
        preserved: likewise the texts for which the base's predictions are kept.
        prior: clips of the prior data set, which are trained on beside these.
        weights: [B] float32, factors on the samples' losses; None: all are 1.
        data_sets: of each clip the number of the data set that it is of, in a run with several.
    """

    streams: Mapping[str, StreamTensors]
    fps: Tensor
    text: Text
    names: tuple[str, ...]
    numbers: tuple[int, ...] = ()
    preserved: Text | None = None
    prior: Batch | None = None
    weights: Tensor | None = None
    data_sets: tuple[int, ...] = ()

    def not_finite(self) -> list[str]:
        """What holds NaN or infinite numbers, for example "latents of clip_3"."""
        parts = [part for tensors in self.streams.values() for part in tensors.items()]
        parts += [("text embedding", tensor) for tensor in self.text.tensors.values()]
        return [
            f"{part} of {name}"
            for part, tensor in parts
            for name, own in zip(self.names, tensor, strict=True)
            if not is_finite(own)
        ]


class TrainingDataset:
    """Clips that `preprocess` has encoded, or LTX-Video-Trainer, read one at a time.

    Attributes:
        reference_sizes: of each clip.
        held_out: clips beside these that are not trained on; None: there are none.
        prior: another data set that is trained on beside this one; None: there is none.
        preserved: the texts for which the base's predictions are kept; None: it isn't kept.
        option: what named it, for messages.
        members: all data sets that were opened for it: of a run with several, with held-out ones, with a prior.
    """

    def __init__(
        self,
        root: Path,
        reference_dir: str | None = None,
        mask_dir: str | None = None,
        caption_dropout_p: float = 0.0,
        streams: Collection[str] | None = None,
        sound_roles: Collection[str] = (),
        option: str = "data.preprocessed_data_root",
    ):
        """Opens a data set.

        Args:
            root: the folder that `preprocess` wrote, one of its indexes, or the folder that holds
                `.precomputed`.
            reference_dir: the folder of reference latents in it; None trains without.
            mask_dir: the folder of masks in it; None trains without.
            caption_dropout_p: probability that a drawn sample has the empty caption.
            streams: those that are taken, which every clip must have; None takes what there is.
            sound_roles: what is taken of sounds beside their latents: references, masks.
            option: what named it.

        Raises:
            DataError: it is no data set, it is incomplete, or it has no references or masks.
        """
        self.files = open_files(Path(root), reference_dir)
        self.root, self.index = self.files.root, self.files.index
        self.reference_dir, self.mask_dir = reference_dir, mask_dir
        self.sound_roles = frozenset(sound_roles)
        self.caption_dropout_p = caption_dropout_p
        self.items, self.streams = self.index.items, streams
        self.reference_sizes = self.files.reference_sizes
        self.held_out: TrainingDataset | None = None
        self.prior: TrainingDataset | None = None
        self.preserved: PreservedTexts | None = None
        self.option = option
        self.members: tuple[TrainingDataset, ...] = (self,)
        self._require_files()

    def holding_out(self, numbers: Sequence[int]) -> TrainingDataset:
        """The same without some of its clips, which are its `held_out`."""
        others = sorted(set(range(len(self))) - set(numbers))
        part = self._only(others)
        part.held_out = self._only(numbers)
        return part

    def _only(self, numbers: Sequence[int]) -> TrainingDataset:
        part = copy(self)
        part.items = tuple(self.items[number] for number in numbers)
        part.index = replace(self.index, items=part.items)
        part.reference_sizes = [self.reference_sizes[number] for number in numbers]
        return part

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> LoadedExample:
        """An item with the first of its captions."""
        return self._read(index, self.items[index].caption.embedding)

    def draw(self, index: int, random: np.random.Generator) -> LoadedExample:
        """An item with one of its captions at random, or with the empty one."""
        captions = self.items[index].captions
        dropout_p, empty_caption = self._dropout(index)
        dropped = random.random() < dropout_p
        caption = captions[random.integers(len(captions))].embedding
        empty = empty_caption if dropped else None
        example = self._read(index, empty or caption)
        if self.preserved is None:
            return example
        return replace(example, preserved=self.preserved.of(caption))

    def _dropout(self, index: int) -> tuple[float, CachedFile | None]:
        """How likely an item has the empty caption, and that."""
        return self.caption_dropout_p, self.index.empty_caption

    def empty_text(self) -> Embedding | None:
        """The empty caption; None in data sets without one: of earlier versions, and of other trainers."""
        empty = self.index.empty_caption
        if empty is None or missing_files(self.root, [empty.path]):
            return None
        return self.files.text(empty)

    def _read(self, index: int, caption: CachedFile) -> LoadedExample:
        item = self.items[index]
        streams = {
            name: self._stream(self._wanted(name, files))
            for name, files in self.streams_of(item).items()
        }
        return LoadedExample(item.name, item.fps, streams, self.files.text(caption))

    def _stream(self, files: StreamFiles) -> StreamTensors:
        tensors = {role: self.files.tensor(file, role) for role, file in files.items()}
        if MASK in tensors:
            tensors[MASK] = tensors[MASK].expand(tensors[LATENTS].shape[1:])
        return tensors

    def streams_of(self, item: Example) -> Mapping[str, StreamFiles]:
        """Those of an item that training takes."""
        if self.streams is None:
            return item.streams
        return {name: files for name, files in item.streams.items() if name in self.streams}

    @property
    def groups(self) -> list[str]:
        """The size of each clip."""
        return [item.size for item in self.items]

    @property
    def sizes(self) -> list[Hashable]:
        """Of each clip what those of its batch must share: its size and its reference's, and which other streams it
        has, of which length."""
        others = [self._others(item) for item in self.items]
        return list(zip(self.groups, self.reference_sizes, others, strict=True))

    def _others(self, item: Example) -> tuple[Hashable, ...]:
        streams = self.streams_of(item)
        if streams.keys() == {VIDEO}:
            return ()
        family, size = family_named(self.index.family), VideoSize.parse(item.size)
        return tuple(
            (name, family.streams[name].latent_shape(size, item.fps))
            for name in sorted(streams)
            if name != VIDEO
        )

    @property
    def has_one_size(self) -> bool:
        """Whether any clips can be in one batch."""
        return len(set(self.sizes)) == 1

    @property
    def names(self) -> tuple[str, ...]:
        """Of the data sets that it is made of, no two the same; none: it is one."""
        return ()

    def name_of(self, index: int) -> str:
        """Of the data set that a clip is of; empty: there is one alone."""
        return ""

    def names_in(self, stage: int) -> tuple[str, ...]:
        """Those that are trained on in a stage, counted from 1."""
        return self.names

    def some(self, count: int) -> Sequence[int]:
        """Numbers of so many clips, or of all, to measure."""
        return range(min(count, len(self)))

    def stages(self, samples_per_step: int) -> tuple[Stage, ...]:
        """What of it is trained on one after the other."""
        return (Stage(((len(self), 1.0),)),)

    def fingerprint(self) -> str:
        """Names the content of the data set, and of its prior, wherever they lie."""
        own = self._own_fingerprint()
        return own if self.prior is None else sha256_json([own, self.prior.fingerprint()])

    def _own_fingerprint(self) -> str:
        return self.index.fingerprint

    @property
    def made_with(self) -> dict[str, str]:
        """What the data set says of the model that it was encoded with; nothing, of other trainers'."""
        return self.index.model

    @property
    def text_width(self) -> int:
        """Numbers of each text token."""
        return self.files.text_width(self.items[0].caption.embedding)

    def latents(self, index: int) -> Tensor:
        """Those of a clip's video, [C, f, h, w]; of a sound alone those of the sound, [C, T, bins]."""
        streams = self.items[index].streams
        files = streams[VIDEO] if VIDEO in streams else next(iter(streams.values()))
        return self.files.tensor(files[LATENTS], LATENTS)

    @property
    def notices(self) -> list[str]:
        """What the user should know of the data set, for example what is skipped."""
        return self.files.notices

    @property
    def referenced(self) -> frozenset[str]:
        """The streams that come with references."""
        video = set() if self.reference_dir is None else {VIDEO}
        return frozenset(video | ({AUDIO} if REFERENCE in self.sound_roles else set()))

    @property
    def reference_scale(self) -> ReferenceScale:
        """How much smaller than their clips the references of videos are."""
        return self.files.reference_scale

    def _wanted(self, stream: str, files: StreamFiles) -> StreamFiles:
        """Those that training takes: latents, and what lies in the folders that it was asked for."""
        if stream == AUDIO:
            taken = {LATENTS, *self.sound_roles}
            return {role: file for role, file in files.items() if role in taken}
        folders = {REFERENCE: self.reference_dir, MASK: self.mask_dir}

        def is_wanted(role: str, file: CachedFile) -> bool:
            folder = folders.get(role)
            return role == LATENTS or (
                folder is not None and PurePosixPath(file.path).is_relative_to(folder)
            )

        return {role: file for role, file in files.items() if is_wanted(role, file)}

    def _require_files(self) -> None:
        if not self.items:
            raise DataError(f"{self.root}: the data set holds no clip; preprocess it again")
        self._require_streams()
        streams = [
            {name: self._wanted(name, files) for name, files in self.streams_of(item).items()}
            for item in self.items
        ]
        if self.reference_dir is not None and not _all_have(REFERENCE, streams):
            raise DataError(
                f"{self.root}: has no references (no folder {shown(self.reference_dir)}). Training on "
                "reference videos needs a data set whose metadata has a reference column "
                '(default "reference_path"): add it and preprocess again'
            )
        if self.mask_dir is not None and not _all_have(MASK, streams):
            raise DataError(
                f"{self.root}: has no masks (no folder {shown(self.mask_dir)}). Training on masks needs "
                'a data set whose metadata has a mask column (default "mask_path"): add it and '
                "preprocess again"
            )
        for role, column in ((REFERENCE, "reference_audio"), (MASK, "audio_mask")):
            if role in self.sound_roles:
                self._require_of_sounds(role, column)
        if self.caption_dropout_p > 0 and self.index.empty_caption is None:
            raise DataError(
                f"{self.root}: has no embedding of the empty caption, which "
                "conditioning.caption_dropout_p needs; preprocess again to add it, or set it to 0"
            )
        empty = self.index.empty_caption if self.caption_dropout_p > 0 else None
        needed = [empty] if empty else []
        needed += [file for item in streams for files in item.values() for file in files.values()]
        needed += [caption.embedding for item in self.items for caption in item.captions]
        missing = missing_files(self.root, [file.path for file in needed])
        if missing:
            raise DataError(
                f"{self.root}: {len(missing)} files of its index are missing, the first is "
                f"{self.root / missing[0]}; preprocess again to restore them"
            )
        self.files.require(needed[:: math.ceil(len(needed) / LOOKED_INTO)])

    def _require_of_sounds(self, role: str, column: str) -> None:
        without = [item.name for item in self.items if role not in item.streams.get(AUDIO, {})]
        if without:
            raise DataError(
                f"{self.root}: {len(without)} of its {len(self.items)} clips have no {role} of their sound, the first "
                f"is {shown(without[0])}. Training on it needs metadata with a column {column} that says something "
                "for every clip: add it and preprocess again"
            )

    def _require_streams(self) -> None:
        for name in sorted(self.streams or ()):
            without = [item.name for item in self.items if name not in item.streams]
            if without:
                raise DataError(
                    f"{self.option}: {self.root}: {len(without)} of its {len(self.items)} clips have no {name}, the "
                    f"first is {shown(without[0])}, and conditioning.modalities needs it of every clip. {_FOR_WANT_OF[name]}"
                )


_FOR_WANT_OF = {
    AUDIO: "Preprocess the clips for a model with sound, with with_sound on and missing_sound silence or skip; or set "
    "conditioning.modalities to joint or video",
    VIDEO: "Leave sounds alone out, or set conditioning.modalities to joint or audio",
}


def _all_have(role: str, examples: Iterable[Mapping[str, StreamFiles]]) -> bool:
    """Whether each example has it in one of its streams, its sound apart."""
    return all(
        any(role in files for name, files in streams.items() if name != AUDIO)
        for streams in examples
    )


def collate(examples: list[LoadedExample], numbers: Sequence[int] = ()) -> Batch:
    """Puts clips of one size together."""
    import torch

    from ..families.base import Text

    preserved = [one.preserved for one in examples if one.preserved is not None]
    weights = [one.weight for one in examples]
    return Batch(
        streams={
            name: {
                role: torch.stack([one.streams[name][role] for one in examples]) for role in roles
            }
            for name, roles in examples[0].streams.items()
        },
        fps=torch.tensor([one.fps for one in examples], dtype=torch.float32),
        text=Text.padded([one.text for one in examples]),
        names=tuple(one.name for one in examples),
        numbers=tuple(numbers),
        preserved=Text.padded(preserved) if preserved else None,
        weights=None if set(weights) == {1.0} else torch.tensor(weights, dtype=torch.float32),
        data_sets=tuple(one.data_set for one in examples),
    )
