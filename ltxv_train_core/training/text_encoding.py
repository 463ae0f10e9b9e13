"""Encodes texts at the start of a run, while the text encoder has the memory that the transformer needs later."""

from collections.abc import Sequence

import torch

from ..config import AccelerationConfig
from ..errors import DataError
from ..families.base import Embedding
from ..families.open import Model
from ..memory_errors import is_out_of_memory
from ..models.device import free_memory
from ..models.precision import text_encoder_dtype
from ..runs.failures import PromptMemoryError


def encode_texts(
    texts: Sequence[str], source: Model, device: torch.device, how: AccelerationConfig, option: str
) -> list[Embedding]:
    """Embeddings of texts, one after another.

    Args:
        option: whose texts they are, for messages.

    Raises:
        PromptMemoryError: the memory is not enough.
        DataError: one is too long.
    """
    try:
        encoder = source.load_text_encoder(text_encoder_dtype(device))
        if how.load_text_encoder_in_4bit:
            encoder.in_four_bits()
        elif how.load_text_encoder_in_8bit:
            encoder.in_eight_bits()
        encoder.to(device)
        embeddings: list[Embedding] = [
            {name: tensor.float() for name, tensor in encoder.encode([text])[0].items()}
            for text in texts
        ]
    except DataError as error:
        raise DataError(f"{option}: {error}") from error
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        raise PromptMemoryError(f"encoding {option}: {error}") from error
    del encoder
    free_memory()
    return embeddings
