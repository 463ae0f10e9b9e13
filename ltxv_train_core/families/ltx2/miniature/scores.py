"""What clips with sound show and sound like, measured: do both follow their prompt, and each other?

Videos are uint8 [F, H, W, 3], spectrograms log mel [2, T, 64]; one of each for every scene.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...ltxv.miniature.scores import fidelity, observe, overlap, stripe_contrast
from .datasets import TASKS, EvalItem
from .hearing import Spectrogram, beep_db, listen
from .scenes import Scene


@dataclass(frozen=True)
class SoundScore:
    """What a task's clips are worth.

    Attributes:
        stripes: contrast of the bars.
        beep_db: how much louder the beep is where it should sound.
        seen: share of clips with the prompt's `background`, `colour` and `motion`.
        heard: share of clips with the prompt's `colour`, `motion`, `timbre` and `level`.
        overlap: of what is seen with the prompt's shape, intersection over union.
    """

    stripes: float
    beep_db: float
    seen: dict[str, float]
    heard: dict[str, float]
    overlap: float


def score(
    task: str,
    videos: Sequence[NDArray[np.uint8]],
    spectrograms: Sequence[Spectrogram],
    evaluation: Sequence[EvalItem],
) -> SoundScore:
    """Scores one clip per evaluation item of the task's data set."""
    scenes = [item.scene for item in evaluation]
    return SoundScore(
        stripes=stripe_contrast(videos, [scene.clip for scene in scenes]),
        beep_db=float(np.mean([beep_db(each) for each in spectrograms])),
        seen=seen(videos, scenes, TASKS[task].style),
        heard=heard(spectrograms, scenes),
        overlap=overlap(videos, [scene.clip for scene in scenes])[0],
    )


def seen(
    videos: Sequence[NDArray[np.uint8]], scenes: Sequence[Scene], style: str = "plain"
) -> dict[str, float]:
    """Share of videos with their scene's background, colour and motion."""
    return fidelity(videos, [scene.clip for scene in scenes], style)


def heard(spectrograms: Sequence[Spectrogram], scenes: Sequence[Scene]) -> dict[str, float]:
    """Share of sounds with the pitch of their scene's colour, with its motion, timbre and level."""
    pairs = [(listen(each), scene) for each, scene in zip(spectrograms, scenes, strict=True)]
    return {
        "colour": _share(found.color == scene.clip.color for found, scene in pairs),
        "motion": _share(found.motion == scene.clip.motion for found, scene in pairs),
        "timbre": _share(found.timbre == scene.timbre for found, scene in pairs),
        "level": _share(found.level == scene.level for found, scene in pairs),
    }


def agreement(
    videos: Sequence[NDArray[np.uint8]],
    spectrograms: Sequence[Spectrogram],
    style: str = "plain",
) -> dict[str, float]:
    """Share of clips that sound as what they show: whose pitch is of the colour, and whose glide or
    panning is of the motion, whatever the prompt."""
    pairs = [(observe(v, style), listen(s)) for v, s in zip(videos, spectrograms, strict=True)]
    return {
        "colour": _share(shown.color == found.color for shown, found in pairs),
        "motion": _share(shown.motion == found.motion is not None for shown, found in pairs),
    }


def _share(hits: Iterable[bool]) -> float:
    return float(np.mean(list(hits)))
