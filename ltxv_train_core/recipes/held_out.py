"""How many clips a recipe never trains on, and how often they are measured: at most 3 % of the run's time."""

from ..training.held_out import LEAST_CLIPS, MOST_SHARE, affordable_clips, measuring_share
from .clips import Clips
from .proposal import Choice

OPTION = "data.held_out_clips"
FEWEST_CLIPS = 20
"""Of which four are a fifth: of fewer each is needed."""
SHARE = 10
"""One in so many, where the time allows it."""
FEWEST_SAVES = 5
"""Checkpoints at which they are measured, so that the best step is found among some."""


def held_out_choice(clips: Clips, samples: int, saves: int, is_full: bool) -> Choice:
    """How many clips are held out; 0 with the reason where that isn't worth it.

    Args:
        samples: that a run of normal effort sees: a draft holds out the same clips.
        saves: checkpoints that it would have.
    """
    if clips.count < FEWEST_CLIPS:
        return Choice(
            OPTION, 0, f"{clips.count} clips are too few to hold some out: all are trained on"
        )
    count = max(LEAST_CLIPS, min(clips.count // SHARE, affordable_clips(samples, saves, is_full)))
    if len(clips.videos) < 2 or min(clips.videos) > count:
        return Choice(
            OPTION,
            0,
            f"the clips are of {len(clips.videos)} long videos, and a whole one would be held out",
        )
    if affordable_clips(samples, min(saves, FEWEST_SAVES), is_full) < LEAST_CLIPS:
        return Choice(
            OPTION,
            0,
            f"to measure {LEAST_CLIPS} clips would take more than {100 * MOST_SHARE:.0f} % of so short a run",
        )
    return Choice(
        OPTION,
        count,
        f"of {clips.count} clips so many are never trained on: their loss tells which step is best, and measuring takes "
        f"at most about {100 * MOST_SHARE:.0f} % of the time of a normal run",
    )


def affordable_saves(samples: int, saves: int, is_full: bool) -> int:
    """As many checkpoints, up to those wanted, as clips can be measured at in the share of the time; at least two, so
    that a draft is seen half way."""
    fitting = [
        n for n in range(1, saves + 1) if affordable_clips(samples, n, is_full) >= LEAST_CLIPS
    ]
    return max(fitting, default=min(2, saves))


def cost_of_a_short_run(samples: int, saves: int, is_full: bool) -> str:
    """What measuring costs where that is more than its usual share, and why; otherwise empty."""
    share = measuring_share(LEAST_CLIPS, samples, saves, is_full)
    if share <= MOST_SHARE:
        return ""
    return (
        f"; measuring {LEAST_CLIPS} clips takes about {100 * share:.0f} % of the time of so short a run, more than the "
        f"usual {100 * MOST_SHARE:.0f} %: fewer clips would tell nothing, and a longer run that continues it needs the same"
    )
