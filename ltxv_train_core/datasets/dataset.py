"""A preprocessed data set, and the batches that training takes from it.

Shapes: B batch, C channels, f h w latent frames, rows, columns.
"""

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from ..errors import DataError, shown
from ..families.base import Embedding, Text
from ..families.names import PROMPT, VIDEO
from ..storage.tensors import is_finite
from .batch_order import batch_order
from .index import Stored
from .stored_files import open_files

BATCHES_AHEAD_PER_WORKER = 2
CAPTION_DRAWS = 1
"""Tells their random numbers from those of the order."""


@dataclass(frozen=True)
class StreamTensors:
    """One stream of a clip, or of a batch of them (then with B in front).

    Attributes:
        latents: [C, f, h, w] float32, normalised per channel.
        reference: like latents, or None where training takes no references.
        mask: [f, h, w] bool, true for what is to be generated; None where training takes no masks.
    """

    latents: Tensor
    reference: Tensor | None = None
    mask: Tensor | None = None

    @classmethod
    def stacked(cls, parts: Sequence["StreamTensors"]) -> "StreamTensors":
        """Those of several clips of one size, as a batch."""
        references = [each.reference for each in parts if each.reference is not None]
        masks = [each.mask for each in parts if each.mask is not None]
        return cls(
            torch.stack([each.latents for each in parts]),
            torch.stack(references) if references else None,
            torch.stack(masks) if masks else None,
        )


@dataclass(frozen=True)
class Sample:
    """One clip with one of its captions.

    Attributes:
        streams: by name, see `families.base.Stream`.
    """

    name: str
    fps: float
    streams: Mapping[str, StreamTensors]
    text: Embedding


@dataclass(frozen=True)
class Batch:
    """Clips of one size.

    Attributes:
        streams: by name, stacked.
        fps: [B] float32.
        text: their captions, padded to the longest.
    """

    streams: Mapping[str, StreamTensors]
    fps: Tensor
    text: Text
    names: tuple[str, ...]

    def not_finite(self) -> list[str]:
        """What holds NaN or infinite numbers, for example "latents of clip_3"."""
        parts: list[tuple[str, Tensor | None]] = []
        for stream in self.streams.values():
            parts += [("latents", stream.latents), ("reference", stream.reference)]
        parts += [("text embedding", tensor) for tensor in self.text.tensors.values()]
        return [
            f"{part} of {name}"
            for part, tensor in parts
            if tensor is not None
            for name, own in zip(self.names, tensor, strict=True)
            if not is_finite(own)
        ]


class TrainingDataset(Dataset[Sample]):
    """Clips that `preprocess` has encoded, or LTX-Video-Trainer, read one at a time."""

    def __init__(
        self,
        root: Path,
        reference_dir: str | None = None,
        mask_dir: str | None = None,
        caption_dropout_p: float = 0.0,
    ):
        """Opens a data set.

        Args:
            root: the folder that `preprocess` wrote, one of its indexes, or the folder that holds
                `.precomputed`.
            reference_dir: the folder of reference latents in it; None trains without.
            mask_dir: the folder of masks in it; None trains without.
            caption_dropout_p: probability that a drawn sample has the empty caption.

        Raises:
            DataError: it is no data set, it is incomplete, or it has no references or masks.
        """
        self.files = open_files(Path(root), reference_dir)
        self.root, self.index = self.files.root, self.files.index
        self.reference_dir, self.mask_dir = reference_dir, mask_dir
        self.caption_dropout_p = caption_dropout_p
        self.items = self.index.items
        self._require_files()

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Sample:
        """An item with the first of its captions."""
        return self._read(index, self.items[index].conditions)

    def draw(self, index: int, random: np.random.Generator) -> Sample:
        """An item with one of its captions at random, or with the empty one."""
        captions = self.items[index].captions
        dropped = random.random() < self.caption_dropout_p
        caption = captions[random.integers(len(captions))].conditions
        empty = self.index.empty_caption if dropped else None
        return self._read(index, empty or caption)

    def _read(self, index: int, caption: Stored) -> Sample:
        item = self.items[index]
        reference = self._wanted(item.reference_latents, self.reference_dir)
        mask = self._wanted(item.mask, self.mask_dir)
        latents = self.files.latents(item.latents)
        video = StreamTensors(
            latents,
            self.files.latents(reference) if reference else None,
            self.files.mask(mask).expand(latents.shape[1:]) if mask else None,
        )
        return Sample(item.name, item.fps, {VIDEO: video}, self.files.text(caption))

    @property
    def groups(self) -> list[str]:
        """The size of each clip."""
        return [item.size for item in self.items]

    def fingerprint(self) -> str:
        """Names the content of the data set, wherever it lies."""
        return self.index.fingerprint

    @property
    def made_with(self) -> dict[str, str]:
        """What the data set says of the model that it was encoded with; nothing, of other trainers'."""
        return self.index.model

    @property
    def text_width(self) -> int:
        """Numbers of each text token."""
        return self.files.text(self.items[0].conditions)[PROMPT].shape[-1]

    def latents(self, index: int) -> Tensor:
        """Those of a clip, [128, f, h, w]."""
        return self.files.latents(self.items[index].latents)

    @property
    def notices(self) -> list[str]:
        """What the user should know of the data set, for example what is left out."""
        return self.files.notices

    def _wanted(self, stored: Stored | None, folder: str | None) -> Stored | None:
        """An item's file, if it has one and those of that folder are wanted."""
        if stored is None or folder is None:
            return None
        return stored if PurePosixPath(stored.path).is_relative_to(folder) else None

    def _require_files(self) -> None:
        if not self.items:
            raise DataError(f"{self.root}: the data set holds no clip; preprocess it again")
        references = [self._wanted(i.reference_latents, self.reference_dir) for i in self.items]
        masks = [self._wanted(i.mask, self.mask_dir) for i in self.items]
        if self.reference_dir is not None and None in references:
            raise DataError(
                f"{self.root}: has no references (no folder {shown(self.reference_dir)}). Training on "
                "reference videos needs a data set whose metadata has a reference column "
                '(default "reference_path"): add it and preprocess again'
            )
        if self.mask_dir is not None and None in masks:
            raise DataError(
                f"{self.root}: has no masks (no folder {shown(self.mask_dir)}). Training on masks needs "
                'a data set whose metadata has a mask column (default "mask_path"): add it and '
                "preprocess again"
            )
        if self.caption_dropout_p > 0 and self.index.empty_caption is None:
            raise DataError(
                f"{self.root}: has no embedding of the empty caption, which "
                "conditioning.caption_dropout_p needs; preprocess again to add it, or set it to 0"
            )
        empty = self.index.empty_caption if self.caption_dropout_p > 0 else None
        needed = [empty, *references, *masks]
        for item in self.items:
            needed += (item.latents, *(caption.conditions for caption in item.captions))
        paths = [self.root / stored.path for stored in needed if stored]
        missing = [path for path in paths if not path.is_file()]
        if missing:
            raise DataError(
                f"{self.root}: {len(missing)} files of its index are missing, the first is "
                f"{missing[0]}; preprocess again to restore them"
            )
        self.files.require(stored for stored in needed if stored)


def collate(samples: list[Sample]) -> Batch:
    """Puts clips of one size together."""
    return Batch(
        streams={
            name: StreamTensors.stacked([sample.streams[name] for sample in samples])
            for name in samples[0].streams
        },
        fps=torch.tensor([sample.fps for sample in samples], dtype=torch.float32),
        text=Text.padded([sample.text for sample in samples]),
        names=tuple(sample.name for sample in samples),
    )


def batches(
    dataset: TrainingDataset,
    batch_size: int,
    seed: int,
    workers: int = 0,
    rank: int = 0,
    processes: int = 1,
) -> "Batches":
    """Batches of a data set without end: data, batch size and seed alone decide about their order
    and the captions in them.

    Args:
        workers: threads that read ahead; 0 reads when asked. They are threads on every platform:
            items are small and reading them leaves Python's lock alone, and a process could not
            import this package under the name that ComfyUI gives it.
        rank, processes: of `processes` that train together each takes every so-many-th batch of the
            one order, from the batch of its rank on.
    """
    return Batches(dataset, batch_size, seed, workers, rank, processes)


class Batches(Iterator[Batch]):
    """An endless iterator whose position can be saved and restored. Made by `batches`."""

    def __init__(
        self,
        dataset: TrainingDataset,
        batch_size: int,
        seed: int,
        workers: int,
        rank: int,
        processes: int,
    ):
        self._dataset = dataset
        self._rank, self._processes = rank, processes
        self._batch_size = batch_size
        self._seed = seed
        self._workers = workers
        self._threads = ThreadPoolExecutor(workers, "ltxv-data") if workers else None
        self._ahead: deque[Future[Batch]] = deque()
        self._rewind(0)

    def __next__(self) -> Batch:
        if self._threads is None:
            batch = self._read(*next(self._order))
        else:
            while len(self._ahead) < self._workers * BATCHES_AHEAD_PER_WORKER:
                self._ahead.append(self._threads.submit(self._read, *next(self._order)))
            batch = self._ahead.popleft().result()
        self._consumed += 1
        return batch

    def state_dict(self) -> dict[str, Any]:
        """The position: batches handed out by each process. What was read ahead doesn't count."""
        return {"consumed": self._consumed}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes to a saved position; the next batch is the one that was next then."""
        self._rewind(state["consumed"])

    def close(self) -> None:
        """Ends the reading threads."""
        self._drop_ahead()
        if self._threads is not None:
            self._threads.shutdown(cancel_futures=True)

    def _rewind(self, consumed: int) -> None:
        self._drop_ahead()
        sizes = list(zip(self._dataset.groups, self._dataset.files.reference_sizes, strict=True))
        order = batch_order(sizes, self._batch_size, self._seed)
        first = consumed * self._processes + self._rank
        self._order = islice(enumerate(order), first, None, self._processes)
        self._consumed = consumed

    def _drop_ahead(self) -> None:
        for future in self._ahead:
            future.cancel()
        self._ahead.clear()

    def _read(self, number: int, indices: list[int]) -> Batch:
        """The batch of that number: what is drawn for it depends on number and seed alone."""
        random = np.random.default_rng([self._seed, number, CAPTION_DRAWS])
        return collate([self._dataset.draw(index, random) for index in indices])
