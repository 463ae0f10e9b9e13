"""Converts colours of other primaries to those of BT.709, in linear light.

Light is found and stored by the curve of sRGB, so that greys stay as they are. What lies beyond BT.709 is
clipped there.
"""

from functools import cache

import numpy as np

STANDARDS = {
    1: "bt709",
    4: "bt470m",
    5: "bt601_625",
    6: "bt601_525",
    7: "bt601_525",
    9: "bt2020",
    11: "dci_p3",
    12: "display_p3",
    22: "ebu3213",
}
"""By their numbers in ITU-T H.273."""
D65, DCI_WHITE, WHITE_C = (0.3127, 0.3290), (0.314, 0.351), (0.310, 0.316)
CHROMATICITIES = {
    "bt709": ((0.64, 0.33), (0.30, 0.60), (0.15, 0.06), D65),
    "bt470m": ((0.67, 0.33), (0.21, 0.71), (0.14, 0.08), WHITE_C),
    "bt601_625": ((0.64, 0.33), (0.29, 0.60), (0.15, 0.06), D65),
    "bt601_525": ((0.630, 0.340), (0.310, 0.595), (0.155, 0.070), D65),
    "bt2020": ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046), D65),
    "dci_p3": ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), DCI_WHITE),
    "display_p3": ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), D65),
    "ebu3213": ((0.630, 0.340), (0.295, 0.605), (0.155, 0.077), D65),
}
"""x and y of red, green, blue and white."""
# Adaptation to another white, as ICC profiles have it.
BRADFORD = np.array(
    [[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]]
)
# Float arrays of a stripe stay in the processor's cache.
STRIPE_PIXELS = 250_000
_LEVELS = 2**16 - 1


def brought_to_bt709(pixels: np.ndarray, primaries: str) -> np.ndarray:
    """Converts a frame to sRGB, stripe by stripe.

    Args:
        pixels: uint16 or uint8 R'G'B' [H, W, 3], full range.
        primaries: of `CHROMATICITIES`.

    Returns:
        uint8 [H, W, 3].
    """
    shown = np.empty(pixels.shape, np.uint8)
    light_of_codes = _light_of_codes(np.iinfo(pixels.dtype).max)
    to_levels = light_to_bt709(primaries).T * np.float32(_LEVELS)
    rows = max(1, STRIPE_PIXELS // pixels.shape[1])
    for top in range(0, len(pixels), rows):
        light = light_of_codes[pixels[top : top + rows]] @ to_levels
        np.clip(light, 0, _LEVELS, out=light)
        shown[top : top + rows] = srgb_of_levels()[(light + 0.5).astype(np.uint16)]
    return shown


@cache
def light_to_bt709(primaries: str) -> np.ndarray:
    """float32 [3, 3] from linear light of some primaries to that of BT.709; white stays white."""
    to_d65 = _adaptation(CHROMATICITIES[primaries][3], D65)
    to_bt709 = np.linalg.inv(_to_xyz("bt709"))
    result: np.ndarray = (to_bt709 @ to_d65 @ _to_xyz(primaries)).astype(np.float32)
    return result


def _to_xyz(primaries: str) -> np.ndarray:
    *corners, white = CHROMATICITIES[primaries]
    directions = np.stack([_xyz(x, y) for x, y in corners], axis=1)
    return directions * np.linalg.solve(directions, _xyz(*white))


def _adaptation(white: tuple[float, float], wanted: tuple[float, float]) -> np.ndarray:
    cones, wanted_cones = BRADFORD @ _xyz(*white), BRADFORD @ _xyz(*wanted)
    result: np.ndarray = np.linalg.inv(BRADFORD) @ np.diag(wanted_cones / cones) @ BRADFORD
    return result


def _xyz(x: float, y: float) -> np.ndarray:
    return np.array([x / y, 1, (1 - x - y) / y])


@cache
def _light_of_codes(largest: int) -> np.ndarray:
    """float32 light from 0 to 1 of each code."""
    codes = np.linspace(0, 1, largest + 1)
    light = np.where(codes <= 0.04045, codes / 12.92, ((codes + 0.055) / 1.055) ** 2.4)
    return light.astype(np.float32)


@cache
def srgb_of_levels() -> np.ndarray:
    """uint8 of each of 65,536 levels of light."""
    light = np.linspace(0, 1, _LEVELS + 1)
    encoded = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    result: np.ndarray = (255 * encoded).round().astype(np.uint8)
    return result
