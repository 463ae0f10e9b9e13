"""What a cached file must hold, compared with its head alone.

Shapes: C channels, f h w latent frames, rows, columns, L text tokens, D text width.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from ..errors import DataError, ModelError, cut
from ..families.family import Family, StreamFormat
from ..families.names import LATENTS, MASK, REFERENCE
from ..geometry import MOST_REFERENCE_SCALE, ReferenceScale, VideoSize
from ..storage.safetensors_header import TensorInfo, read_header
from .index import CachedFile, Example

MOST_TOKENS, WIDEST = 8192, 16384
"""Of a text: far beyond what T5 gives."""

_FLOATS = ("F32", "BF16", "F16", "F64")


@dataclass(frozen=True)
class TensorForm:
    """What a tensor must be.

    Attributes:
        dtypes: as safetensors names them.
        shapes: that it may have, each a range of every dimension.
        words: the same for an error.
    """

    dtypes: tuple[str, ...]
    shapes: tuple[tuple[range, ...], ...]
    words: str

    def fits(self, info: TensorInfo) -> bool:
        return info.dtype in self.dtypes and any(
            len(info.shape) == len(shape) and all(map(range.__contains__, shape, info.shape))
            for shape in self.shapes
        )


Form = Mapping[str, TensorForm]
"""What a file must be: its tensors by name."""


def latents_form(channels: int, shape: tuple[int, ...]) -> Form:
    """Latents [C, *shape], of a clip or of its reference."""
    whole = (channels, *shape)
    return {LATENTS: TensorForm(_FLOATS, (_just(whole),), f"floats {list(whole)}")}


def reference_form(stream: StreamFormat, size: VideoSize, fps: float) -> Form:
    """Latents of a clip's reference: of the clip's size, or of one that the stream takes besides."""
    whole = stream.latent_shape(size, fps)
    sizes = _smaller(whole) if len(whole) == 3 else [whole]
    shapes = [each for each in sizes if stream.takes_reference(each, size, fps)]
    words = f"floats {[stream.channels, *whole]}"
    words += " or such that it goes into" if len(shapes) > 1 else ""
    form = TensorForm(_FLOATS, tuple(_just((stream.channels, *each)) for each in shapes), words)
    return {LATENTS: form}


def _smaller(whole: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Sizes of references of a video of latent frames, rows and columns."""
    factors = range(1, MOST_REFERENCE_SCALE + 1)
    scales = (ReferenceScale(spatial, temporal) for spatial in factors for temporal in factors)
    return [found for scale in scales if (found := scale.latent(whole))]


def mask_form(shape: tuple[int, ...]) -> Form:
    """Where latents of a shape are marked; one frame stands for all."""
    shapes = (_just(shape), _just((1, *shape[1:])))
    return {MASK: TensorForm(("BOOL",), shapes, f"booleans {list(shape)}")}


def text_form(family: Family, widths: Mapping[str, int] | None = None) -> Form:
    """The embedding of a caption, tensors [L, D], of any width or each of its own."""
    return {name: _text_tensor((widths or {}).get(name)) for name in family.text}


def _text_tensor(width: int | None) -> TensorForm:
    widths = range(1, WIDEST + 1) if width is None else range(width, width + 1)
    words = f"floats [tokens, {width or 'width'}]"
    return TensorForm(_FLOATS, ((range(1, MOST_TOKENS + 1), widths),), words)


def _just(shape: tuple[int, ...]) -> tuple[range, ...]:
    return tuple(range(length, length + 1) for length in shape)


def example_forms(example: Example, family: Family) -> dict[CachedFile, Form]:
    """What each file of an example must be."""
    texts = dict.fromkeys((caption.embedding for caption in example.captions), text_form(family))
    return texts | stream_forms(example, family)


def stream_forms(example: Example, family: Family) -> dict[CachedFile, Form]:
    """What each file of an example's streams must be."""
    forms = {}
    for name, files in example.streams.items():
        stream = family.streams.get(name)
        if stream is None:
            raise DataError(f"{example.name}: has {name}, which {family.name} has not")
        for role, file in files.items():
            forms[file] = _stream_form(stream, example.size, example.fps, role)
    return forms


@lru_cache
def _stream_form(stream: StreamFormat, size: str, fps: float, role: str) -> Form:
    video = VideoSize.parse(size)
    shape = stream.latent_shape(video, fps)
    if role == MASK:
        return mask_form(shape)
    if role == REFERENCE:
        return reference_form(stream, video, fps)
    return latents_form(stream.channels, shape)


def require_tensors(root: Path, file: CachedFile, form: Form) -> dict[str, TensorInfo]:
    """Looks whether a file is there, whole, made from the same, and of the right form.

    Returns:
        its tensors by name.

    Raises:
        DataError: it isn't.
    """
    path = root / file.path
    try:
        header = read_header(path)
    except ModelError as error:
        raise DataError(f"{error}; delete it and preprocess again") from error
    if header.metadata.get("key") != file.key:
        raise DataError(
            f"{path}: is not the file that the index names: its content has another key. An earlier "
            "version of this program, or somebody else, has replaced it. Preprocess again"
        )
    for name, wanted in form.items():
        info = header.tensors.get(name)
        if info is None:
            raise DataError(f"{path}: has no tensor {name}; delete it and preprocess again")
        if not wanted.fits(info):
            raise DataError(
                f"{path}: {name} is {info.dtype} of the shape {cut(str(list(info.shape)))}, expected "
                f"{wanted.words}; delete it and preprocess again"
            )
    return {name: header.tensors[name] for name in form}


def require_one_width(root: Path, widths: Collection[int]) -> None:
    """Raises `DataError` where texts have several widths."""
    if len(widths) > 1:
        raise DataError(
            f"{root}: its captions are of several text encoders, of the widths "
            f"{cut(', '.join(map(str, sorted(widths))))}; preprocess the data set again"
        )
