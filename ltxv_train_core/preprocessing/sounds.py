"""What is heard while a clip's frames are shown."""

import numpy as np

from ..media.sound import Sound, read_sound, read_sound_file
from .planner import EncodeTask


def sound_of(task: EncodeTask, rate: int, megapixels: float) -> Sound:
    """The sound of a task's frames; silence where there is none.

    Args:
        rate: samples a second.

    Raises:
        DataError: it can't be read.
    """
    seconds, start = task.size.frames / task.fps, task.start_seconds
    if task.is_apart:
        return read_sound_file(task.media, rate, seconds, start)
    silence = np.zeros((2, round(seconds * rate)), np.float32)
    return read_sound(task.media, rate, seconds, start, megapixels) or Sound(silence, rate)
