"""High dynamic range (PQ and HLG, BT.2020) brought to sRGB.

Light is found as ITU-R BT.2100 says: PQ by its EOTF, HLG by the inverse of its OETF and the OOTF of a display
of 1,000 cd/m2 (gamma 1.2). The brightest of red, green and blue is compressed by the curve of ITU-R BT.2390
(5.4.1) from 1,000 cd/m2 to diffuse white, 203 cd/m2 (ITU-R BT.2408), and the others with it, so that hues
stay. Colours go from BT.2020 (or the primaries that are stated) to BT.709 (ITU-R BT.2087) and are clipped there.
"""

from functools import cache
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
from av.video.stream import VideoStream

from ..errors import DataError
from .primaries import STANDARDS, light_to_bt709, srgb_of_levels
from .readable import printable

Transfer: TypeAlias = Literal["pq", "hlg"]
TRANSFERS: dict[int, Transfer] = {16: "pq", 18: "hlg"}
"""By its number in ITU-T H.273."""
DOLBY_VISION_ALONE = frozenset({"dvh1", "dvhe", "dav1", "dva1", "dvav"})
"""Tags of streams whose colours are Dolby's own, where no transfer is stated (profile 5)."""
# Display and diffuse white of ITU-R BT.2100 and BT.2408.
PEAK_NITS, WHITE_NITS = 1000.0, 203.0
HLG_GAMMA = 1.2
LUMA_2020 = np.array([0.2627, 0.6780, 0.0593], np.float32)
TO_BT709 = np.array(
    [[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]], np.float32
)
"""From BT.2020, as ITU-R BT.2087 rounds it."""
# Float arrays of a stripe stay in the processor's cache.
STRIPE_PIXELS = 250_000
STEPS = 2**14
_LEVELS = 2**16 - 1


def transfer_of(stream: VideoStream) -> Transfer | None:
    """None for a standard one. To be asked after the first frame: some codecs state it there.

    Raises:
        DataError: colours are those of Dolby Vision, which FFmpeg does not convert.
    """
    codec = stream.codec_context
    transfer = TRANSFERS.get(int(codec.color_trc or 0))
    if codec.codec_tag in DOLBY_VISION_ALONE and transfer is None:
        raise DataError(
            f"{printable(Path(stream.container.name))}: is Dolby Vision without a base layer that "
            "others show (profile 5): save it as HLG, PQ or SDR"
        )
    return transfer


def primaries_of(stream: VideoStream) -> str | None:
    """None for those that its transfer goes with: BT.2020 for HLG and PQ, BT.709 for others. To be asked
    after the first frame."""
    codec = stream.codec_context
    usual = "bt2020" if int(codec.color_trc or 0) in TRANSFERS else "bt709"
    stated = STANDARDS.get(int(codec.color_primaries or 0), usual)
    return None if stated == usual else stated


def tone_mapped(pixels: np.ndarray, transfer: Transfer, primaries: str | None = None) -> np.ndarray:
    """Converts a frame to sRGB for a standard display, stripe by stripe.

    Args:
        pixels: uint16 R'G'B' [H, W, 3], full range.
        primaries: None for BT.2020.

    Returns:
        uint8 sRGB [H, W, 3].
    """
    shown = np.empty(pixels.shape, np.uint8)
    to_bt709 = light_to_bt709(primaries) if primaries else TO_BT709
    rows = max(1, STRIPE_PIXELS // pixels.shape[1])
    for top in range(0, len(pixels), rows):
        light = _nits(pixels[top : top + rows], transfer)
        light *= _gain(light.max(axis=-1))[..., None]
        light = light @ (to_bt709.T * (_LEVELS / WHITE_NITS))
        np.clip(light, 0, _LEVELS, out=light)
        shown[top : top + rows] = srgb_of_levels()[(light + 0.5).astype(np.uint16)]
    return shown


def _nits(pixels: np.ndarray, transfer: Transfer) -> np.ndarray:
    """Light of a display [H, W, 3] in cd/m2."""
    light = _light_of_codes(transfer)[pixels]
    if transfer == "hlg":
        luminance = light @ LUMA_2020
        light *= PEAK_NITS * luminance[..., None] ** (HLG_GAMMA - 1)
    result: np.ndarray = light
    return result


@cache
def _light_of_codes(transfer: Transfer) -> np.ndarray:
    """Light of each of 65,536 codes: in cd/m2 of a display for PQ, from 0 to 1 of the scene for HLG."""
    codes = np.linspace(0, 1, 2**16)
    if transfer == "pq":
        return _from_pq(codes).astype(np.float32)
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    return np.where(codes <= 0.5, codes**2 / 3, (np.exp((codes - c) / a) + b) / 12).astype(
        np.float32
    )


def _gain(brightest: np.ndarray) -> np.ndarray:
    """What light of this brightness is multiplied by."""
    place = np.sqrt(np.minimum(brightest / PEAK_NITS, 1)) * STEPS
    gain = _gains()[(place + 0.5).astype(np.int32)]
    result: np.ndarray = gain * (PEAK_NITS / np.maximum(brightest, PEAK_NITS))
    return result


@cache
def _gains() -> np.ndarray:
    """By the square root of brightness."""
    nits = (np.arange(STEPS + 1) / STEPS) ** 2 * PEAK_NITS
    nits[0] = nits[1]
    return (_compressed(nits) / nits).astype(np.float32)


def _compressed(nits: np.ndarray) -> np.ndarray:
    """BT.2390's curve: as it is up to a knee, then a Hermite spline up to white."""
    peak = _to_pq(np.array(PEAK_NITS))
    brightness = _to_pq(nits) / peak
    white = float(_to_pq(np.array(WHITE_NITS)) / peak)
    knee = 1.5 * white - 0.5
    t = ((brightness - knee) / (1 - knee)).clip(0, 1)
    spline = (
        (2 * t**3 - 3 * t**2 + 1) * knee
        + (t**3 - 2 * t**2 + t) * (1 - knee)
        + (3 * t**2 - 2 * t**3) * white
    )
    return _from_pq(np.where(brightness < knee, brightness, spline) * peak)


M1, M2, C1, C2, C3 = 2610 / 16384, 2523 / 32, 3424 / 4096, 2413 / 128, 2392 / 128


def _from_pq(codes: np.ndarray) -> np.ndarray:
    power = codes ** (1 / M2)
    return 10_000 * (np.maximum(power - C1, 0) / (C2 - C3 * power)) ** (1 / M1)


def _to_pq(nits: np.ndarray) -> np.ndarray:
    power = (nits / 10_000) ** M1
    return ((C1 + C2 * power) / (1 + C3 * power)) ** M2
