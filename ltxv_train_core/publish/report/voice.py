"""The picture of what was heard, as it goes into a run's page: the picture alone, without what its file says beside."""

import base64
import io

from PIL import Image

from ...runs.folder import RunFolder
from ...voice.file import LARGEST_PICTURE_BYTES, has_picture, picture_file

MOST_PX = 10_000_000


def embedded_picture(run: RunFolder) -> str | None:
    """A picture as a data address; None where there is none that can be read, or it is too large."""
    path = picture_file(run)
    if not has_picture(run) or path.stat().st_size > LARGEST_PICTURE_BYTES:
        return None
    target = io.BytesIO()
    try:
        with Image.open(path, formats=["PNG"]) as picture:
            if picture.width * picture.height > MOST_PX:
                return None
            picture.convert("RGB").quantize(64).save(target, "PNG", optimize=True)
    except (OSError, ValueError, Image.DecompressionBombError):
        return None
    return f"data:image/png;base64,{base64.b64encode(target.getvalue()).decode('ascii')}"
