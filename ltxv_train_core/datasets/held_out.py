"""Clips that a run never trains on. No video has clips on both sides: they are too much alike."""

import re
from collections import defaultdict
from collections.abc import Sequence

from ..errors import ConfigurationError, DataError, shown
from ..storage.atomic import sha256_json
from .index import WINDOW_MARK, Example

# As scene splitting names its files: film-000000-000120.mp4.
_WINDOW = re.compile(rf"{WINDOW_MARK}[0-9]+$")
_SCENE = re.compile(r"-\d{6}-\d{6}(?=\.[^./]+$)")


def source_of(name: str) -> str:
    """The video that a clip was cut from: without the number of its window and the frames of its scene."""
    return _SCENE.sub("", _WINDOW.sub("", name))


def held_out(examples: Sequence[Example], count: int) -> list[int]:
    """Numbers of clips to hold out, in order: whole videos, `count` clips or fewer, at least those of one video.

    Which ones the names of the videos decide: a clip that is added later moves few of them.

    Raises:
        ConfigurationError: nothing would be left to train on.
    """
    videos: defaultdict[str, list[int]] = defaultdict(list)
    for number, example in enumerate(examples):
        videos[source_of(example.name)].append(number)
    if len(videos) < 2 or count >= len(examples):
        raise ConfigurationError(
            [
                f"data.held_out_clips {count}: the data set has {len(examples)} clips of {len(videos)} videos, and a "
                "part of them must be left to train on; hold fewer out, or add videos"
            ]
        )
    order = sorted(videos, key=lambda source: sha256_json([source]))
    taken: list[int] = []
    for source in order:
        if len(taken) + len(videos[source]) <= count:
            taken += videos[source]
    smallest = min(order, key=lambda source: len(videos[source]))
    return sorted(taken or videos[smallest])


def require_apart(
    trained: Sequence[Example], measured: Sequence[tuple[str, Sequence[Example]]]
) -> None:
    """Raises `DataError` where a video has clips on both sides.

    Different videos of two data sets may have one name: they count as the same where a caption is the same too, or
    where the names are of parts that were cut from one video.

    Args:
        measured: data sets that are held out, each with its name.
    """
    ours = _by_source(trained)
    for name, examples in measured:
        theirs = _by_source(examples)
        both = sorted(s for s in ours.keys() & theirs if _is_same(ours[s], theirs[s]))
        if both:
            raise DataError(
                f"data.more_data_sets: {name} is held out, and {len(both)} of its videos are trained on too, the first is "
                f"{shown(both[0])}: they are too much alike. Take them out of one of both data sets, or leave held_out "
                "away"
            )


def _by_source(examples: Sequence[Example]) -> dict[str, list[Example]]:
    found: defaultdict[str, list[Example]] = defaultdict(list)
    for example in examples:
        found[source_of(example.name)].append(example)
    return found


def _is_same(ours: Sequence[Example], theirs: Sequence[Example]) -> bool:
    texts = [{c.text for example in side for c in example.captions} for side in (ours, theirs)]
    is_cut = any(source_of(example.name) != example.name for example in (*ours, *theirs))
    return is_cut or bool(texts[0] & texts[1])
