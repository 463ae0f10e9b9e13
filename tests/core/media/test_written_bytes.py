"""The same frames are the same bytes, however many processors there are."""

import os

import numpy as np
import pytest

from ltxv_train_core.media.write import write_exact_video, write_video


def frames() -> np.ndarray:
    """Large enough for x264 to share the work among threads."""
    noise = np.random.default_rng(0).integers(0, 255, (30, 40, 3), np.uint8)
    picture = noise.repeat(12, 0).repeat(16, 1)
    return np.stack([np.roll(picture, 7 * number, axis=1) for number in range(8)])


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="processors can't be chosen here")
@pytest.mark.parametrize("write", [write_video, write_exact_video])
def test_bytes_do_not_depend_on_processors(tmp_path, write):
    processors = os.sched_getaffinity(0)
    if len(processors) < 2:
        pytest.skip("this machine has one processor")
    path, seen = tmp_path / "a.mp4", set()
    try:
        for chosen in ({min(processors)}, processors, processors):
            os.sched_setaffinity(0, chosen)
            write(path, frames(), 25)
            seen.add(path.read_bytes())
    finally:
        os.sched_setaffinity(0, processors)
    assert len(seen) == 1
