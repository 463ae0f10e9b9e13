"""Keeps what the base model could: its own predictions are a second target, for texts that the run doesn't train on.

`blank_prompt`: the empty caption. `differential_output`: the caption with a class word in place of the trigger word
(differential output preservation, as ai-toolkit calls it). Both are the idea of learning without forgetting (Li and
Hoiem 2016, arXiv 1606.09282): the old model's outputs, on the new data.
"""

import re
from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn

from ..config import OptimizationConfig, TrainingConfig
from ..datasets.dataset import PreservedTexts, TrainingDataset
from ..errors import DataError, shown
from ..families.base import Text
from ..families.open import Model
from ..lora.base_only import adapters_off
from ..strategies import StepInputs
from .distributed import Processes
from .text_encoding import encode_texts

_OPTION = "optimization.preservation"


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
        encoded = encode_texts(texts, source, processes.device, config.acceleration, _OPTION)
        encoded = [{name: each.cpu() for name, each in one.items()} for one in encoded]
    of_text = dict(zip(texts, processes.agree(encoded), strict=True))
    return PreservedTexts({path: of_text[text] for path, text in captions.items()}, empty)


def preservation_problems(options: OptimizationConfig, dataset: TrainingDataset) -> list[str]:
    """What of a data set makes preservation impossible."""
    if options.preservation == "blank_prompt" and dataset.empty_text() is None:
        return [
            f"{_OPTION} blank_prompt: {dataset.root} has no embedding of the empty caption; preprocess it again to add "
            "it, or choose another one"
        ]
    if options.preservation == "differential_output":
        try:
            replaced_captions(options, dataset)
        except DataError as error:
            return [str(error)]
    return []


def replaced_captions(options: OptimizationConfig, dataset: TrainingDataset) -> dict[str, str]:
    """Each caption with the class word in place of the trigger word, by its embedding's file.

    Raises:
        DataError: no trigger word is known, or captions lack it.
    """
    trigger = options.preservation_trigger or str(dataset.index.settings.get("id_token") or "")
    trigger = trigger.strip()
    if not trigger:
        raise DataError(
            f"{_OPTION} differential_output: the data set was preprocessed without a trigger word (id_token); write the "
            "word into optimization.preservation_trigger"
        )
    word = re.compile(rf"(?<!\w){re.escape(trigger)}(?!\w)", re.IGNORECASE)
    captions = [(item.name, each) for item in dataset.items for each in item.captions]
    without = [name for name, each in captions if not word.search(each.text or "")]
    if without:
        raise DataError(
            f"{_OPTION} differential_output: {len(without)} of {len(captions)} captions lack the trigger word "
            f"{shown(trigger)}, the first is that of {shown(without[0])}: the base's prediction would be kept for what is "
            "to be learned. Put it into every caption, correct optimization.preservation_trigger, or take blank_prompt"
        )
    kind = options.preservation_class.strip()
    return {each.embedding.path: word.sub(lambda _: kind, each.text) for _, each in captions}


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
