"""The captions for which a run keeps the base's predictions. No torch."""

import re

from ..config import OptimizationConfig
from ..datasets.dataset import TrainingDataset
from ..datasets.index import CachedFile
from ..errors import DataError, shown

OPTION = "optimization.preservation"


def preservation_problems(options: OptimizationConfig, dataset: TrainingDataset) -> list[str]:
    """What of a data set makes preservation impossible."""
    if options.preservation == "blank_prompt" and dataset.empty_text() is None:
        return [
            f"{OPTION} blank_prompt: {dataset.root} has no embedding of the empty caption; preprocess it again to add "
            "it, or choose another one"
        ]
    if options.preservation == "differential_output":
        try:
            replaced_captions(options, dataset)
        except DataError as error:
            return [str(error)]
    return []


def replaced_captions(
    options: OptimizationConfig, dataset: TrainingDataset
) -> dict[CachedFile, str]:
    """Each caption with the class word in place of the trigger word, by its embedding's file.

    Raises:
        DataError: no trigger word is known, or captions lack it.
    """
    trigger = options.preservation_trigger or str(dataset.index.settings.get("id_token") or "")
    trigger = trigger.strip()
    if not trigger:
        raise DataError(
            f"{OPTION} differential_output: the data set was preprocessed without a trigger word (id_token); write the "
            "word into optimization.preservation_trigger"
        )
    word = re.compile(rf"(?<!\w){re.escape(trigger)}(?!\w)", re.IGNORECASE)
    captions = [(item.name, each) for item in dataset.items for each in item.captions]
    without = [name for name, each in captions if not word.search(each.text or "")]
    if without:
        raise DataError(
            f"{OPTION} differential_output: {len(without)} of {len(captions)} captions lack the trigger word "
            f"{shown(trigger)}, the first is that of {shown(without[0])}: the base's prediction would be kept for what is "
            "to be learned. Put it into every caption, correct optimization.preservation_trigger, or take blank_prompt"
        )
    kind = options.preservation_class.strip()
    return {each.embedding: word.sub(lambda _: kind, each.text) for _, each in captions}
