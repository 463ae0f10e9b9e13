"""Whether the sound was learned, in one sentence."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from .distance import distances, floor_of, moments, nearest, own_distance
from .features import SILENCE_DB, Features

Result = Literal["learned", "in part", "not learned", "further", "near before", "untold"]

LEARNED, IN_PART = 0.5, 0.2
"""Shares of the way to the clips' sounds."""
_NEAR = 1.25
"""Of the clips' own distance: who is so near before has nothing to learn that can be measured."""
_FURTHER = 1.5
"""Of the distance before, or the clips' own: who is further than both is led away from them."""


@dataclass(frozen=True)
class Level:
    """Median pitch in Hz, None without one, and loudness in dB over the frames that are heard."""

    pitch_hz: float | None
    loudness_db: float

    @classmethod
    def of(cls, sounds: Sequence[Features]) -> "Level":
        """Of several sounds together."""
        loudness = np.concatenate([each.loudness_db for each in sounds])
        pitch = np.concatenate([each.pitch_hz for each in sounds])
        heard = loudness[loudness > SILENCE_DB]
        return cls(
            pitch_hz=float(np.median(pitch)) if len(pitch) else None,
            loudness_db=float(np.median(heard)) if len(heard) else float(loudness.max()),
        )


@dataclass(frozen=True)
class Nearest:
    """The clip that a sample is nearest to, and how far it is in dB."""

    clip: int
    distance_db: float


@dataclass(frozen=True)
class Judgement:
    """How near the samples are to the clips.

    Attributes:
        distance: mean over the samples, see `distance.distances`; `before` of the first samples.
        own: that of the clips from each other, about 1.
        share: of the way to the clips that was made; below 0 where they are further now, None where there was none
            to make.
        nearer: how many samples are nearer to the clips than the first ones of their prompts.
        nearest: of each sample.
    """

    result: Result
    distance: float
    before: float | None
    own: float
    share: float | None
    nearer: int
    level: Level
    level_before: Level | None
    level_of_clips: Level
    nearest: tuple[Nearest, ...]

    @property
    def text(self) -> str:
        """One sentence."""
        return _sentence(self)


def judge(
    before: Sequence[Features] | None, after: Sequence[Features], clips: Sequence[Features]
) -> Judgement:
    """Compares samples with the sounds of clips.

    Args:
        before: as many samples, of the same prompts, by the base model; None where there are none.
    """
    floor_db = floor_of(clips)
    ours, theirs = moments(after, floor_db), moments(clips, floor_db)
    far = distances(ours, theirs)
    far_before = distances(moments(before, floor_db), theirs) if before else None
    distance, own = float(far.mean()), own_distance(theirs)
    then = None if far_before is None else float(far_before.mean())
    share = _share(distance, then, own)
    return Judgement(
        result=_result(distance, then, own, share),
        distance=distance,
        before=then,
        own=own,
        share=share,
        nearer=0 if far_before is None else int((far < far_before).sum()),
        level=Level.of(after),
        level_before=Level.of(before) if before else None,
        level_of_clips=Level.of(clips),
        nearest=tuple(Nearest(*nearest(each, theirs)) for each in ours),
    )


def _share(distance: float, before: float | None, own: float) -> float | None:
    if before is None or before <= own:
        return None
    return min(1.0, (before - distance) / (before - own))


def _result(distance: float, before: float | None, own: float, share: float | None) -> Result:
    if before is None:
        return "untold"
    if distance > _FURTHER * max(before, own):
        return "further"
    if share is None or before <= _NEAR * own:
        return "near before"
    if share >= LEARNED:
        return "learned"
    return "in part" if share >= IN_PART else "not learned"


_BEGINNINGS: dict[Result, str] = {
    "learned": "The sound was learned",
    "in part": "The sound was learned in part",
    "not learned": "The sound was not learned",
    "further": "The sound was led away from the clips",
    "near before": "The base model sounds like the clips already, so what was learned can't be told",
    "untold": "Whether the sound was learned can't be told, as there are no samples of the base model "
    "(validation.skip_initial_validation)",
}


def _sentence(found: Judgement) -> str:
    now, then, clips = found.level, found.level_before, found.level_of_clips
    told = f"distance from the clips {_change(found.before, found.distance, '{:.1f}')} "
    told += f"({found.own:.1f} among the clips"
    if found.before is not None:
        told += f"; {found.nearer} of {len(found.nearest)} samples are nearer"
    pitch = _change(then.pitch_hz if then else None, now.pitch_hz, "{:.0f}")
    told += f"), pitch {pitch} Hz (clips {_number(clips.pitch_hz, '{:.0f}')})"
    loudness = _change(then.loudness_db if then else None, now.loudness_db, "{:.0f}")
    told += f", loudness {loudness} dB (clips {clips.loudness_db:.0f})"
    return f"{_BEGINNINGS[found.result]}: {told}."


def _change(before: float | None, now: float | None, form: str) -> str:
    after = _number(now, form)
    return after if before is None else f"{_number(before, form)} -> {after}"


def _number(value: float | None, form: str) -> str:
    return "none" if value is None else form.format(value)
