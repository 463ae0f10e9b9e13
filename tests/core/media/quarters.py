"""A picture whose quarters are red, green, blue and white, and how its quarters are seen."""

import numpy as np

COLORS = {
    "R": (255, 0, 0),
    "G": (0, 255, 0),
    "B": (0, 0, 255),
    "W": (255, 255, 255),
    "k": (0, 0, 0),
}
SHOWN = {1: "RGBW", 2: "GRWB", 3: "WBGR", 4: "BWRG", 5: "RBGW", 6: "BRWG", 7: "WGBR", 8: "GWRB"}
"""What is seen of it by EXIF orientation."""


def quarters(letters: str = "RGBW", width: int = 96, height: int = 64) -> np.ndarray:
    """uint8 RGB [height, width, 3]."""
    pixels = np.empty((height, width, 3), np.uint8)
    half = (slice(None, height // 2), slice(height // 2, None))
    across = (slice(None, width // 2), slice(width // 2, None))
    for number, letter in enumerate(letters):
        pixels[half[number // 2], across[number % 2]] = COLORS[letter]
    return pixels


def letters_of(frame: np.ndarray) -> str:
    """The nearest colour in the middle of each quarter."""
    height, width = frame.shape[:2]
    places = [(y, x) for y in (height // 4, 3 * height // 4) for x in (width // 4, 3 * width // 4)]
    seen = (frame[y - 2 : y + 3, x - 2 : x + 3].reshape(-1, 3).mean(0) for y, x in places)
    return "".join(
        min(COLORS, key=lambda letter: np.abs(color - COLORS[letter]).sum()) for color in seen
    )
