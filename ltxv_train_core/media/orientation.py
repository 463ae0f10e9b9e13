"""How a picture is turned and mirrored to be shown: numbered 1 to 8, as EXIF does.

1 is as stored; 2 is mirrored left to right, 3 turned by half, 4 mirrored top to bottom, 5 mirrored along
the falling diagonal, 6 turned to the right, 7 mirrored along the rising diagonal, 8 turned to the left.
"""

from collections.abc import Callable
from typing import Any

import av
import numpy as np
from av.sidedata.sidedata import Type

AS_STORED = 1
ORIENTATIONS = range(1, 9)
TURNED_BY_A_QUARTER = frozenset({5, 6, 7, 8})
MIRRORED = frozenset({2, 4, 5, 7})
_STORED: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    2: lambda shown: shown[:, ::-1],
    3: lambda shown: shown[::-1, ::-1],
    4: lambda shown: shown[::-1],
    5: lambda shown: shown.swapaxes(0, 1),
    6: lambda shown: np.rot90(shown),
    7: lambda shown: shown.swapaxes(0, 1)[::-1, ::-1],
    8: lambda shown: np.rot90(shown, -1),
}
_BACK = {6: 8, 8: 6}


def as_stored(shown: np.ndarray, orientation: int) -> np.ndarray:
    """A view of a picture [H, W, ...] as its file holds it."""
    return _STORED[orientation](shown) if orientation in _STORED else shown


def as_shown(stored: np.ndarray, orientation: int) -> np.ndarray:
    """A view of a picture [H, W, ...] as it is shown."""
    return as_stored(stored, _BACK.get(orientation, orientation))


def orientation_of(frame: av.VideoFrame) -> int:
    """The nearest orientation to the display matrix of a frame: of its container (the track header of
    MP4 and MOV, Matroska's projection) or of its stream (H.264, HEVC).

    FFmpeg turns by other angles too and browsers don't: here a picture is only ever turned by
    quarters. Matrix: x' = a x + c y, y' = b x + d y.
    """
    data: Any = frame.side_data.get(Type.DISPLAYMATRIX)  # type: ignore[call-overload]
    if data is None:
        return AS_STORED
    a, b, _, c, d = np.frombuffer(data, np.int32, 5).tolist()
    if abs(a) + abs(d) >= abs(b) + abs(c):
        return {(False, False): 1, (True, False): 2, (True, True): 3, (False, True): 4}[
            a < 0, d < 0
        ]
    return {(False, False): 5, (True, False): 6, (True, True): 7, (False, True): 8}[c < 0, b < 0]
