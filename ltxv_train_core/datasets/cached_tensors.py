"""What a cached file must hold, compared with its head alone.

Shapes: f h w latent frames, rows, columns, L text tokens, D text width.
"""

from collections.abc import Collection
from pathlib import Path, PurePosixPath

from ..errors import DataError, ModelError, cut
from ..families.names import PROMPT
from ..geometry import LATENT_CHANNELS, VideoSize
from ..storage.safetensors_header import TensorInfo, read_header
from .index import LATENTS, MASKS, REFERENCE_LATENTS, Stored

MOST_TOKENS, WIDEST = 8192, 16384
"""Of a text: far beyond what T5 gives."""

_FLOATS = ("F32", "BF16", "F16", "F64")


def tensor_name(stored: Stored) -> str:
    """What the tensor of a file is called."""
    folder = PurePosixPath(stored.path).parts[0]
    names = {LATENTS: "latents", REFERENCE_LATENTS: "latents", MASKS: "mask"}
    return names.get(folder, PROMPT)


def require_tensor(root: Path, stored: Stored, size: VideoSize | None = None) -> TensorInfo:
    """Looks whether a file is there, whole, made from the same, and of the right form.

    latents [128, f, h, w], mask bool [f or 1, h, w], prompt_embeds [L, D].

    Args:
        size: of the clip, where it is known; the text has none.

    Raises:
        DataError: it isn't.
    """
    path, name = root / stored.path, tensor_name(stored)
    try:
        header = read_header(path)
    except ModelError as error:
        raise DataError(f"{error}; delete it and preprocess again") from error
    if header.metadata.get("key") != stored.key:
        raise DataError(
            f"{path}: is not the file that the index names: its content has another key. An earlier "
            "version of this program, or somebody else, has replaced it. Preprocess again"
        )
    info = header.tensors.get(name)
    if info is None:
        raise DataError(f"{path}: has no tensor {name}; delete it and preprocess again")
    if not _fits(name, info, size):
        raise DataError(
            f"{path}: {name} is {info.dtype} of the shape {cut(str(list(info.shape)))}, expected "
            f"{_expected(name, size)}; delete it and preprocess again"
        )
    return info


def require_one_width(root: Path, widths: Collection[int]) -> None:
    """Raises `DataError` where texts have several widths."""
    if len(widths) > 1:
        raise DataError(
            f"{root}: its captions are of several text encoders, of the widths "
            f"{cut(', '.join(map(str, sorted(widths))))}; preprocess the data set again"
        )


def _fits(name: str, info: TensorInfo, size: VideoSize | None) -> bool:
    if 0 in info.shape or info.dtype not in (("BOOL",) if name == "mask" else _FLOATS):
        return False
    if name == PROMPT:
        return len(info.shape) == 2 and info.shape[0] <= MOST_TOKENS and info.shape[1] <= WIDEST
    latent = info.shape[1:] if name == "latents" else info.shape
    if len(latent) != 3 or (name == "latents" and info.shape[0] != LATENT_CHANNELS):
        return False
    if size is None:
        return True
    frames, *rows_columns = size.latent.frames, size.latent.height, size.latent.width
    one = name == "mask" and latent[0] == 1
    return latent == (1 if one else frames, *rows_columns)


def _expected(name: str, size: VideoSize | None) -> str:
    if name == PROMPT:
        return "floats [tokens, width]"
    channels = f"{LATENT_CHANNELS}, " if name == "latents" else ""
    latent = (
        f"{size.latent.frames}, {size.latent.height}, {size.latent.width}" if size else "f, h, w"
    )
    return f"{'booleans' if name == 'mask' else 'floats'} [{channels}{latent}]"
