"""In which order clips are seen."""

from collections.abc import Hashable, Iterator, Sequence
from itertools import count, islice
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

REPEAT_DRAWS = 2
"""Tells their random numbers from those of the order (two words) and of captions (`batches.CAPTION_DRAWS`)."""

_ROUNDING = 1e-9
"""That three thirds are one."""


class NumberedClip(NamedTuple):
    """A clip that is next.

    Attributes:
        number: of the sample, counted through all epochs: what is drawn for it depends on this alone.
        clip: its index.
    """

    number: int
    clip: int


class Stage(NamedTuple):
    """A part of a run, with its share of each data set.

    Attributes:
        repeats: of each data set its number of clips, and how often each is seen in an epoch on average; 0: it isn't
            trained on.
        samples: how many it has; None: the rest of the run.
    """

    repeats: tuple[tuple[int, float], ...]
    samples: int | None = None

    @property
    def clips(self) -> int:
        """Of all data sets."""
        return sum(clips for clips, _ in self.repeats)


def batch_order(
    groups: Sequence[Hashable], batch_size: int, seed: int, stages: Sequence[Stage] = ()
) -> Iterator[list[NumberedClip]]:
    """Yields batches without end; each holds members of one group.

    Every epoch is a new permutation of all items, seeded by run and epoch. An item joins the batch
    that its group is gathering, and full batches are handed out: so groups are visited in
    proportion, no item is dropped or favoured, and where a group is smaller than the batch, one
    batch spans several epochs. A stage begins with a batch; what was gathering then is dropped.

    Args:
        groups: the group (size bucket) of each item.
        stages: in their order, the last without end; none: all items alike.
    """
    numbers, epochs = count(), count()
    for stage in stages or [Stage(((len(groups), 1.0),))]:
        batches = _stage_order(stage, groups, batch_size, seed, numbers, epochs)
        yield from islice(batches, stage.samples and stage.samples // batch_size)


def _stage_order(
    stage: Stage,
    groups: Sequence[Hashable],
    batch_size: int,
    seed: int,
    numbers: Iterator[int],
    epochs: Iterator[int],
) -> Iterator[list[NumberedClip]]:
    gathering: dict[Hashable, list[NumberedClip]] = {}
    for own_epoch, epoch in enumerate(epochs):
        clips = _epoch_clips(stage, seed, own_epoch)
        order = np.random.default_rng([seed, epoch]).permutation(len(clips))
        for index in clips[order].tolist():
            batch = gathering.setdefault(groups[index], [])
            batch.append(NumberedClip(next(numbers), index))
            if len(batch) == batch_size:
                yield gathering.pop(groups[index])


def _epoch_clips(stage: Stage, seed: int, epoch: int) -> NDArray[np.int64]:
    """The clips of an epoch, each as often as it is seen. After e epochs a clip with r repeats was seen e r times, to
    one time: which clips come sooner is drawn once for all epochs."""
    times = []
    for number, (clips, repeats) in enumerate(stage.repeats):
        place = np.random.default_rng([seed, number, REPEAT_DRAWS]).permutation(clips) / clips
        ends = [np.floor(end * repeats + place + _ROUNDING) for end in (epoch, epoch + 1)]
        times.append((ends[1] - ends[0]).astype(np.int64))
    return np.repeat(np.arange(stage.clips), np.concatenate(times))
