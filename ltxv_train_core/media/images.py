"""Still images, as they are meant to be seen: upright, sRGB, on black."""

import io
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms, ImageOps


def read_image(path: Path) -> np.ndarray:
    """Reads an image as uint8 RGB [height, width, 3].

    EXIF orientation is applied, an embedded colour profile is converted to sRGB, transparent
    parts are laid over black, 16-bit grey is brought to 8 bits.
    """
    with Image.open(path) as file:
        image = ImageOps.exif_transpose(file)
        profile = file.info.get("icc_profile")
    if image.mode.startswith("I"):
        return np.repeat((np.asarray(image) / 257).round().astype(np.uint8)[..., None], 3, axis=2)
    if image.mode in ("P", "PA", "LA", "La", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
    if profile:
        image = _to_srgb(image, profile)
    if image.mode == "RGBA":
        image = Image.alpha_composite(Image.new("RGBA", image.size, (0, 0, 0, 255)), image)
    return np.asarray(image.convert("RGB"))


def _to_srgb(image: Image.Image, profile: bytes) -> Image.Image:
    """Converts colours from an embedded profile; an unusable profile leaves them as they are."""
    mode = "RGBA" if image.mode == "RGBA" else "RGB"
    try:
        converted = ImageCms.profileToProfile(
            image, io.BytesIO(profile), ImageCms.createProfile("sRGB"), outputMode=mode
        )
    except ImageCms.PyCMSError:
        return image
    return image if converted is None else converted
