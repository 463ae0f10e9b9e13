"""Keeps what the base model could: its own predictions are a second target, for texts that the run doesn't train on.

`blank_prompt`: the empty caption. `differential_output`: the caption with a class word in place of the trigger word
(differential output preservation, as ai-toolkit calls it). Both are the idea of learning without forgetting (Li and
Hoiem 2016, arXiv 1606.09282): the old model's outputs, on the new data.
"""

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn

from ..config import TrainingConfig
from ..datasets.dataset import PreservedTexts, TrainingDataset
from ..families.base import Text
from ..families.open import Model
from ..lora.base_only import adapters_off
from ..strategies import StepInputs
from .distributed import Processes
from .preserved_captions import OPTION, replaced_captions
from .text_encoding import encode_texts


def preserved_texts(
    config: TrainingConfig, dataset: TrainingDataset, source: Model, processes: Processes
) -> PreservedTexts | None:
    """For each caption of a data set, by its file, the text for which the base's predictions are kept; None where
    none is. Made before the transformer is loaded: the text encoder needs its memory.

    Raises:
        DataError: captions have no trigger word, or there is no empty caption.
    """
    options = config.optimization
    if options.preservation == "none":
        return None
    empty = dataset.empty_text()
    if options.preservation == "blank_prompt":
        assert empty is not None, "preflight has looked for it"
        return PreservedTexts({}, empty)
    captions = replaced_captions(options, dataset)
    texts = sorted(set(captions.values()))
    encoded = None
    if processes.is_first:
        encoded = encode_texts(texts, source, processes.device, config.acceleration, OPTION)
        encoded = [{name: each.cpu() for name, each in one.items()} for one in encoded]
    of_text = dict(zip(texts, processes.agree(encoded), strict=True))
    return PreservedTexts({file: of_text[text] for file, text in captions.items()}, empty)


def preservation_loss(
    forward: nn.Module, transformer: nn.Module, inputs: StepInputs, text: Text
) -> Tensor:
    """How far predictions for a text are from the base's, measured as the loss of the step is.

    Args:
        inputs: of the step, on the device; noise and levels are the same.
    """
    with torch.no_grad(), adapters_off(transformer):
        base: Mapping[str, Tensor] = forward(inputs.seen, text)
    kept = {
        name: replace(step, velocity=base[name].float()[:, : step.velocity.shape[1]])
        for name, step in inputs.streams.items()
    }
    return replace(inputs, streams=kept).loss(forward(inputs.seen, text))
