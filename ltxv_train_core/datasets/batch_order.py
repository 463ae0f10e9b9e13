"""In which order clips are seen."""

from collections.abc import Hashable, Iterator, Sequence
from typing import NamedTuple

import numpy as np


class NumberedClip(NamedTuple):
    """A clip that is next.

    Attributes:
        number: of the sample, counted through all epochs: what is drawn for it depends on this alone.
        clip: its index.
    """

    number: int
    clip: int


def batch_order(
    groups: Sequence[Hashable], batch_size: int, seed: int
) -> Iterator[list[NumberedClip]]:
    """Yields batches without end; each holds members of one group.

    Every epoch is a new permutation of all items, seeded by run and epoch. An item joins the batch
    that its group is gathering, and full batches are handed out: so groups are visited in
    proportion, no item is dropped or favoured, and where a group is smaller than the batch, one
    batch spans several epochs.

    Args:
        groups: the group (size bucket) of each item.
    """
    gathering: dict[Hashable, list[NumberedClip]] = {}
    number = epoch = 0
    while True:
        for index in np.random.default_rng([seed, epoch]).permutation(len(groups)).tolist():
            batch = gathering.setdefault(groups[index], [])
            batch.append(NumberedClip(number, index))
            number += 1
            if len(batch) == batch_size:
                yield gathering.pop(groups[index])
        epoch += 1
