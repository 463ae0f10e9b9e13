"""What the denoisers of all families have in common."""

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..models.sources.meta_loading import on_meta
from ..models.transformer import Transformer
from .names import TRANSFORMER


class LoadedTransformer:
    """A transformer that is asked where it is, and written."""

    transformer: Transformer

    @property
    def device(self) -> torch.device:
        return self.transformer.device

    @cached_property
    def dtype(self) -> torch.dtype:
        return self.transformer.dtype  # asking the model searches all its parameters

    def write_folder(self, folder: Path, state: Mapping[str, Tensor]) -> None:
        """Writes the transformer in the diffusers layout, without other parts."""
        kind: Any = type(self.transformer)
        config = self.transformer.config
        written = on_meta(lambda: kind.from_config(config))
        written.load_state_dict(state, assign=True)
        written.save_pretrained(folder / TRANSFORMER)
