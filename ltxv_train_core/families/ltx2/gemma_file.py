"""A text encoder of LTX-2.x: ComfyUI's single file, or a folder of transformers with one file or several.

Of either the language model alone is read; parts that see or hear stay where they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import ModelError, cut
from ...formats.quantized import quantization
from ...formats.tensors import SCALES, tensor_differences
from ...models.sources.part_weights import weight_headers
from ...storage.safetensors_header import Header, TensorInfo, content_of, read_header
from ..names import TEXT_ENCODER
from .gemma import Gemma, gemma_prefix, new_gemma, read_gemma, with_buffers
from .gemma_tokens import load_tokenizer, require_tokenizer

if TYPE_CHECKING:
    import torch

    from .text_encoder import Tokenize


_SHOWN = 4
_QUANTIZED = (
    "is quantized ({how}), which is not read; use the text encoder in bf16, or in fp8 as ComfyUI scales it "
    "(gemma_3_12B_it_fp8_scaled.safetensors)"
)


class GemmaFiles:
    """The language model of a Gemma.

    Attributes:
        headers: of the files that it lies in.
        gemma: what it is.
    """

    def __init__(self, place: Path, headers: tuple[Header, ...]):
        """Raises `ModelError` when it is no Gemma 3 or 4, or one that isn't read."""
        self.place, self.headers = place, headers
        for header in headers:
            if how := quantization(header):
                raise ModelError(
                    f"text_encoder_source {str(header.path)!r}: {_QUANTIZED.format(how=how)}"
                )
        self._tensors: dict[str, TensorInfo] = {
            name: info for header in headers for name, info in header.tensors.items()
        }
        prefix = gemma_prefix(self._tensors)
        if prefix is None:
            first = ", ".join(map(cut, list(self._tensors)[:3])) or "none"
            raise ModelError(
                f"text_encoder_source {str(place)!r}: expected Gemma 3 or Gemma 4, found {len(self._tensors)} "
                f"tensors that are no such text encoder's ({first}, ...)"
            )
        self.prefix: str = prefix
        try:
            self.gemma: Gemma = read_gemma(self._part)
        except (ArithmeticError, LookupError, TypeError, ValueError) as error:
            reason = cut(str(error) if isinstance(error, ModelError) else repr(error), 300)
            raise ModelError(f"{place}: can't be read as a Gemma: {reason}") from error

    @classmethod
    def open(cls, place: Path) -> GemmaFiles:
        """Raises `ModelError` when a file or folder is something else."""
        if not place.is_dir():
            return cls(place, (read_header(place),))
        folder = place / TEXT_ENCODER
        return cls(place, weight_headers(folder if folder.is_dir() else place, TEXT_ENCODER))

    @cached_property
    def content(self) -> str:
        """Names the weights, the same in every layout."""
        return content_of({one for each in self.headers for one in each.samples(self.prefix)})

    def require(self) -> None:
        """Raises `ModelError` when tensors are missing or have other shapes, or there is no tokenizer."""
        self._built()
        require_tokenizer(self.headers[0])

    def load(self, dtype: torch.dtype) -> tuple[Any, Tokenize]:
        """The text model, what is stored in fp8 stays so, and its tokenizer."""
        from ...models.sources.meta_loading import fill_from

        tokenize = load_tokenizer(self.headers[0])
        module, names = self._built()
        return with_buffers(fill_from(module, self.headers, names, dtype)), tokenize

    @property
    def _part(self) -> Mapping[str, TensorInfo]:
        cut_off = len(self.prefix)
        return {n[cut_off:]: i for n, i in self._tensors.items() if n.startswith(self.prefix)}

    def _built(self) -> tuple[Any, dict[str, str]]:
        """The module without weights, and the files' names of its tensors."""
        from ...models.sources.meta_loading import on_meta

        module = on_meta(lambda: new_gemma(self.gemma))
        expected = {name: tuple(t.shape) for name, t in module.state_dict().items()}
        part = {
            name: info
            for name, info in self._part.items()
            if name in expected or name.endswith(SCALES)
        }
        if found := tensor_differences(part, expected, ()):
            more = f" and {len(found) - _SHOWN} more" if found[_SHOWN:] else ""
            raise ModelError(
                f"{self.place}: doesn't hold the tensors that its sizes ask for: "
                f"{'; '.join(found[:_SHOWN])}{more}"
            )
        return module, {name: self.prefix + name for name in expected}
