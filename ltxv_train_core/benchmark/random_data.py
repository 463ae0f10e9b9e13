"""A data set of noise, as `preprocess` would have written it."""

from collections.abc import Mapping
from pathlib import Path

import torch

from ..datasets.index import CONDITIONS, CachedFile, Caption, Example, Index, folder_of, write_index
from ..families.model import Model
from ..families.names import LATENTS, PROMPT
from ..geometry import VideoSize
from ..gpu_check.random_model import text_widths
from ..storage.tensors import write_safetensors

_TEXT_TOKENS = {True: 64, False: 1024}
"""Of T5 a usual caption's, and what LTX-2 always sees."""


def write_random_data(root: Path, model: Model, size: VideoSize, fps: float, clips: int) -> None:
    """Writes so many clips of a size, each with a caption.

    Args:
        model: that is trained on them.
    """
    generator = torch.Generator().manual_seed(0)
    family, widths = model.family, text_widths(model)
    tokens = _TEXT_TOKENS[family.text == (PROMPT,)]

    def written(folder: str, tensors: Mapping[str, tuple[int, ...]], number: int) -> CachedFile:
        path = f"{folder}/{number}.safetensors"
        (root / folder).mkdir(exist_ok=True)
        noise = {name: torch.randn(shape, generator=generator) for name, shape in tensors.items()}
        write_safetensors(root / path, noise, {"key": path})
        return CachedFile(path, path)

    def example(number: int) -> Example:
        streams = {
            name: {
                LATENTS: written(
                    folder_of(name, LATENTS),
                    {LATENTS: (family.streams[name].channels, *shape)},
                    number,
                )
            }
            for name, shape in family.latent_shapes(size, fps).items()
        }
        words = {name: (tokens, width) for name, width in widths.items()}
        caption = Caption("noise", written(CONDITIONS, words, number))
        return Example(f"{number}.mp4", str(size), fps, streams, (caption,))

    items = tuple(example(number) for number in range(clips))
    write_index(root / "index.json", Index({}, {}, items, family=family.name))
