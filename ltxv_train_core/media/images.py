"""Still images, as they are shown: upright, in sRGB, transparency over black."""

import io
import warnings
from collections.abc import Callable, Generator
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import TypeAlias

import numpy as np
from PIL import ExifTags, Image, ImageCms, features

from ..errors import DataError, install_command
from .cropping import Cropping
from .formats import FORMATS, IMAGE_READERS, IMAGE_SHARES
from .hdr import TRANSFERS
from .info import TRAITS
from .orientation import AS_STORED, ORIENTATIONS, TURNED_BY_A_QUARTER, as_stored
from .picture_boxes import cropping_of_picture, require_whole_data, stated_colors
from .primaries import STANDARDS, brought_to_bt709
from .readable import (
    DEFAULT_MEGAPIXELS,
    LARGE_PIXELS,
    one_large_at_a_time,
    printable,
    readable,
    require_pixels,
)

# Read into memory as a whole, once.
LARGEST_FILE_BYTES = 400_000_000
HEAD_BYTES = 16
STRIPE_PIXELS = 4_000_000
TILE_WIDTH, TILE_HEIGHT = 322, 323  # tags of a TIFF
# A progressive JPEG's coefficients stay in memory until its last scan.
PROGRESSIVE_SHARE = 0.9
START_OF_SCAN = b"\xff\xda"
# Each scan of a JPEG goes over the whole picture: a small file can hold thousands.
MOST_SCANS = 100
MOST_SCANNED_PIXELS = 2_000_000_000
INSTALL_DECODERS = {
    "AVIF": f"this Pillow reads no AVIF: {install_command('pillow', '--upgrade')}",
    "HEIF": f"HEIC needs pillow-heif: {install_command('pillow-heif')}",
}
MakeRoom: TypeAlias = Callable[[int, int], np.ndarray]
"""Gives an array [height, width, 3] for a picture."""


def _room(height: int, width: int) -> np.ndarray:
    return np.empty((height, width, 3), np.uint8)


def read_image(path: Path, megapixels: float = DEFAULT_MEGAPIXELS) -> np.ndarray:
    """Reads an image as uint8 RGB [height, width, 3].

    EXIF orientation is applied, an embedded colour profile is converted to sRGB, transparent
    parts are laid over black, 16-bit grey is brought to 8 bits. Threads read large ones in turn.

    Args:
        megapixels: larger ones are not read.

    Raises:
        DataError: the file is missing, broken, too large or of no known format.
    """
    return one_large_at_a_time(
        pixels_of_image(path, megapixels), partial(decode_image, path, megapixels)
    )


def decode_image(
    path: Path,
    megapixels: float = DEFAULT_MEGAPIXELS,
    make_room: MakeRoom = _room,
) -> np.ndarray:
    """As `read_image`, without waiting for other threads.

    Args:
        make_room: an array for an image of this height and width.
    """
    with readable(path), _open(path, megapixels) as image:
        _load(image)
        return _pixels(path, image, make_room)


def pictures_of_animation(
    path: Path, count: int, megapixels: float, make_room: MakeRoom
) -> Generator[np.ndarray, None, None]:
    """Yields each picture of an animated PNG or WebP as `decode_image` returns the one of an image.

    Pillow lays pictures that hold a part alone over those before, and takes them away, as browsers do;
    it holds several of them.

    Raises:
        DataError: as `read_image`, and beyond 16 million pixels.
    """
    with readable(path), _open(path, min(megapixels, LARGE_PIXELS / 1e6)) as image:
        first = 1 if image.info.get("default_image") else 0  # which is not a part of the animation
        for number in range(first, first + count):
            image.seek(number)
            image.load()
            yield _pixels(path, image, make_room)


def probe_image(
    path: Path, megapixels: float = DEFAULT_MEGAPIXELS
) -> tuple[int, int, tuple[str, ...]]:
    """Decodes an image. Raises as `read_image`.

    Returns:
        width and height as it is shown, and what is done for that, of `TRAITS`.
    """

    def look() -> tuple[int, int, tuple[str, ...]]:
        with readable(path), _open(path, megapixels) as image:
            traits = _traits(path, image)  # orientation of a TIFF is gone when that is loaded
            _load(image)
            height, width = _pixels(path, image, _room).shape[:2]
            return width, height, traits

    return one_large_at_a_time(pixels_of_image(path, megapixels), look)


def traits_of_image(path: Path, megapixels: float = DEFAULT_MEGAPIXELS) -> tuple[str, ...]:
    """What is done to show an image, which isn't decoded. Raises as `read_image`."""
    with readable(path), _open(path, megapixels) as image:
        return _traits(path, image)


def _traits(path: Path, image: Image.Image) -> tuple[str, ...]:
    colors = _colors(path, image)
    found = {
        "turned": _orientation(image) != AS_STORED,
        "unusable_profile": colors.unusable,
        "cropped": _cropping(path, image) is not None,
        colors.primaries: True,
    }
    return tuple(trait for trait in TRAITS if found.get(trait))


def _load(image: Image.Image) -> None:
    if image.width * image.height < LARGE_PIXELS:
        image.load()
        return
    with warnings.catch_warnings():  # warns of tiles below our own bound
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        image.load()


def _orientation(image: Image.Image) -> int:
    orientation = image.getexif().get(ExifTags.Base.Orientation, AS_STORED)
    return orientation if orientation in ORIENTATIONS else AS_STORED


def pixels_of_image(path: Path, megapixels: float = DEFAULT_MEGAPIXELS) -> int:
    """How many an image has, which isn't decoded. Raises as `read_image`."""
    with readable(path), _open(path, megapixels) as image:
        count: int = image.width * image.height
        return count


def _open(path: Path, megapixels: float) -> Image.Image:
    """Looks at an image's head. What stands there decides how much memory decoding takes."""
    if path.stat().st_size > LARGEST_FILE_BYTES:
        raise DataError(
            f"{printable(path)}: has {path.stat().st_size:,} bytes, and images of at most "
            f"{LARGEST_FILE_BYTES:,} are read"
        )
    image = _identify(path)
    try:
        require_pixels(path, *image.size, megapixels * IMAGE_SHARES.get(image.format or "", 1.0))
        _require_modest(path, image, megapixels)
    except BaseException:
        image.close()
        raise
    return image


def _identify(path: Path) -> Image.Image:
    """As `Image.open`, without its own bound of pixels: it warns below ours."""
    Image.init()
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    for name in _readers():
        open_format, accepts = Image.OPEN[name]
        if accepts and accepts(head) is True:
            # A path is closed with its image; only its type doesn't say that it is taken.
            return open_format(str(path), str(path))  # type: ignore[arg-type]
    raise ValueError(_unknown(path))


@cache
def _readers() -> tuple[str, ...]:
    """The formats that are installed, by their names in Pillow."""
    missing = set()
    if "avif" not in features.modules or not features.check("avif"):
        missing.add("AVIF")
    try:
        import pillow_heif

        pillow_heif.register_heif_opener()
    except ImportError:
        missing.add("HEIF")
    return tuple(name for name in IMAGE_READERS if name not in missing)


def _unknown(path: Path) -> str:
    known = FORMATS.get(path.suffix.lower())
    if known and known.reader in INSTALL_DECODERS and known.reader not in _readers():
        return INSTALL_DECODERS[known.reader]
    return f"is no image of a known format ({', '.join(_readers())})"


def _require_modest(path: Path, image: Image.Image, megapixels: float) -> None:
    """Refuses small files that would take long or much memory: tiles larger than any picture, and
    hundreds of refinements of a progressive JPEG. Also animated AVIF, which would be read as a still, and tiles that are missing."""
    if image.format == "AVIF" and getattr(image, "n_frames", 1) > 1:
        raise DataError(f"{printable(path)}: is an animated AVIF: save it as a video (H.264)")
    if image.format in ("AVIF", "HEIF"):
        require_whole_data(path)
    if image.format == "TIFF":
        tags = image.tag_v2  # type: ignore[attr-defined]
        require_pixels(
            path, int(tags.get(TILE_WIDTH, 0)), int(tags.get(TILE_HEIGHT, 0)), megapixels
        )
    if image.info.get("progressive"):
        require_pixels(path, *image.size, megapixels * PROGRESSIVE_SHARE)
        scans = path.read_bytes().count(START_OF_SCAN)
        if scans > MOST_SCANS or scans * image.width * image.height > MOST_SCANNED_PIXELS:
            raise DataError(f"{printable(path)}: has {scans} scans: save it as a plain JPEG")


def _pixels(path: Path, image: Image.Image, make_room: MakeRoom) -> np.ndarray:
    """A decoded image as uint8 RGB, brought there in stripes: whole copies would fill the memory."""
    orientation = _orientation(image)
    turned = orientation in TURNED_BY_A_QUARTER
    cut = _cropping(path, image) or Cropping()
    width, height = image.width - cut.left - cut.right, image.height - cut.top - cut.bottom
    shown = make_room(*((width, height) if turned else (height, width)))
    stored = as_stored(shown, orientation)
    colors = _colors(path, image)
    rows = max(1, STRIPE_PIXELS // width)
    for top in range(0, height, rows):
        bottom = min(top + rows, height)
        area = (cut.left, cut.top + top, cut.left + width, cut.top + bottom)
        stored[top:bottom] = _rgb(image.crop(area), colors)
    return shown


def _cropping(path: Path, image: Image.Image) -> Cropping | None:
    """What is to be cut off a decoded image: Pillow leaves it on AVIF, and pillow-heif cuts it off HEIC."""
    return cropping_of_picture(path, *image.size) if image.format == "AVIF" else None


def _is_transparent(image: Image.Image) -> bool:
    return image.mode in ("P", "PA", "LA", "La", "RGBa") or "transparency" in image.info


def _rgb(image: Image.Image, colors: "_Colors") -> np.ndarray:
    if image.mode.startswith("I"):
        grey = (np.asarray(image) / 257).round().clip(0, 255).astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=2)
    if _is_transparent(image):
        image = image.convert("RGBA")
    if colors.to_srgb:
        image = colors.to_srgb.apply(image)
    if colors.primaries:
        image = _brought_to_bt709(image, colors.primaries)
    if image.mode == "RGBA":
        image = Image.alpha_composite(Image.new("RGBA", image.size, (0, 0, 0, 255)), image)
    return np.asarray(image.convert("RGB"))


def _brought_to_bt709(image: Image.Image, primaries: str) -> Image.Image:
    shown = Image.fromarray(brought_to_bt709(np.asarray(image.convert("RGB")), primaries))
    if image.mode == "RGBA":
        shown.putalpha(image.getchannel("A"))
    return shown


@dataclass(frozen=True)
class _Colors:
    """How colours of an image get to sRGB: by an embedded profile, or from stated primaries.

    Attributes:
        unusable: it has a profile that can't be used, and its colours are left as they are.
    """

    to_srgb: ImageCms.ImageCmsTransform | None = None
    primaries: str | None = None
    unusable: bool = False


def _colors(path: Path, image: Image.Image) -> _Colors:
    """Numbers in a PNG count before a profile, and a profile before numbers in HEIC and AVIF.

    Raises:
        DataError: they are of high dynamic range.
    """
    if image.mode.startswith("I"):
        return _Colors()
    stated = stated_colors(path)
    if stated and stated.transfer in TRANSFERS:
        raise DataError(
            f"{printable(path)}: is an image of high dynamic range "
            f"({TRANSFERS[stated.transfer].upper()}): save it in SDR"
        )
    primaries = STANDARDS.get(stated.primaries) if stated else None
    profile = image.info.get("icc_profile")
    if profile and not (primaries and image.format == "PNG"):
        to_srgb = _srgb_transform(image, profile)
        return _Colors(to_srgb, unusable=to_srgb is None)
    return _Colors(primaries=None if primaries == "bt709" else primaries)


def _srgb_transform(image: Image.Image, profile: bytes) -> ImageCms.ImageCmsTransform | None:
    """Converts colours from an embedded profile; None where that can't be used."""
    mode = "RGBA" if _is_transparent(image) else image.mode
    try:
        return ImageCms.buildTransform(
            io.BytesIO(profile),
            ImageCms.createProfile("sRGB"),
            mode,
            "RGBA" if mode == "RGBA" else "RGB",
        )
    except ImageCms.PyCMSError:
        return None
