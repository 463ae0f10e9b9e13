"""How far a sound is from those of a data set, by the mean and the spread of its bands' levels.

Shapes: T frames, M bands; levels in dB [T, M]; moments [2 M]; N clips.
"""

from collections.abc import Sequence

import numpy as np

from .features import SILENCE_DB, Features, Floats

RANGE_DB = 60.0
"""What lies further below the loudest of the clips isn't heard, and AAC doesn't keep it."""
_LOUDEST = 99.9
"""Percentile of the levels that counts as the loudest."""
_LEAST_SPREAD_DB = 1.0
"""Clips that agree more than that in a band don't count for more: nobody hears it."""


def floor_of(sounds: Sequence[Features]) -> float:
    """Where hearing ends beside these sounds, in dB."""
    levels = np.concatenate([each.level_db.ravel() for each in sounds])
    return float(np.percentile(levels, _LOUDEST)) - RANGE_DB


def moments(sounds: Sequence[Features], floor_db: float) -> Floats:
    """Mean and standard deviation of each band's level, [N, 2 M]. Silence before and after is left out: files
    have some, as AAC comes in blocks."""
    return np.stack([_moments(np.maximum(_within(each), floor_db)) for each in sounds])


def distances(sounds: Floats, clips: Floats) -> Floats:
    """How far each sound is from the clips, [N] of moments: about 1 for one of them.

    The Mahalanobis distance with a diagonal covariance, over the root of the number of dimensions: in what the clips
    have in common (a voice, a room, a beep) a difference counts for much, in what differs from clip to clip
    (the words, the pitch of a tune) for little.
    """
    spread = clips.std(0, ddof=1) if len(clips) > 1 else np.zeros(clips.shape[1])
    off = (sounds - clips.mean(0)) / np.maximum(spread, _LEAST_SPREAD_DB)
    found: Floats = np.sqrt((off**2).mean(1))
    return found


def own_distance(clips: Floats) -> float:
    """The median distance of a clip from the others; 1 where there are fewer than three."""
    if len(clips) < 3:
        return 1.0
    others = (np.delete(clips, number, 0) for number in range(len(clips)))
    return float(np.median([distances(clips[i][None], rest)[0] for i, rest in enumerate(others)]))


def nearest(sound: Floats, clips: Floats) -> tuple[int, float]:
    """The clip whose moments [2 M] are nearest to a sound's, and how far they are, in dB."""
    apart = np.sqrt(((clips - sound) ** 2).mean(1))
    found = int(apart.argmin())
    return found, float(apart[found])


def _within(sound: Features) -> Floats:
    heard = np.flatnonzero(sound.loudness_db > SILENCE_DB)
    return sound.level_db[heard[0] : heard[-1] + 1] if len(heard) else sound.level_db


def _moments(levels: Floats) -> Floats:
    return np.concatenate([levels.mean(0), levels.std(0)])
