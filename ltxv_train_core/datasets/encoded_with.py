"""Whether a data set was encoded with the VAE and the text encoder of the model that is trained.

The numbers of another VAE mean other pictures: nothing fails, and what is learned is wrong.
"""

from typing import TYPE_CHECKING

from ..errors import cut
from ..families.names import TEXT_ENCODER, VAE

if TYPE_CHECKING:
    from ..families.model import Model
    from .dataset import TrainingDataset

_CONTENT = {TEXT_ENCODER: "text_content"}  # so since version 1
_SOURCES = {VAE: "vae_source", TEXT_ENCODER: "text_encoder_source"}

USUAL_SPREAD = (0.05, 20.0)
"""Latents that are normalised per channel have a standard deviation near 1."""
# Enough to tell two VAEs by the spread of latents, and read in milliseconds.
LOOKED_AT = 4


def content_key(part: str) -> str:
    """Where an index has what names a part's weights; data sets of others and of earlier versions
    have none."""
    return _CONTENT.get(part, f"{part}_content")


def differences(dataset: "TrainingDataset", model: "Model") -> list[str]:
    """Why a data set and a model don't belong together, one line each."""
    encoders = dict.fromkeys(stream.encoder for stream in model.family.streams.values())
    found = [
        line for part in (*encoders, TEXT_ENCODER) for line in _other_weights(dataset, model, part)
    ]
    return found if dataset.made_with else [*found, *_unusual(dataset)]


def other_width(dataset: "TrainingDataset", model: "Model") -> list[str]:
    """That embeddings have not the width that the model reads."""
    width, wanted = dataset.text_width, model.facts.text_width
    if wanted is None or width == wanted:
        return []
    return [
        f"{dataset.option}: its captions were encoded to {width} numbers for each token, and "
        f"{cut(model.name)} reads {wanted}: preprocess the data set with this model's text encoder"
    ]


def other_family(dataset: "TrainingDataset", model: "Model") -> list[str]:
    """That the data set was made for models of another family."""
    if dataset.index.family == model.family.name:
        return []
    return [
        f"{dataset.option}: it was preprocessed for {dataset.index.family}, and "
        f"{cut(model.name)} is a model of {model.family.name}: preprocess the data set with this model"
    ]


def _other_weights(dataset: "TrainingDataset", model: "Model", part: str) -> list[str]:
    made_with, content = dataset.made_with.get(content_key(part)), model.part(part).content
    if made_with is None or content in (None, made_with):
        return []
    what = "captions" if part == TEXT_ENCODER else "latents"
    kind = "VAE" if part == VAE else part.replace("_", " ")
    return [
        f"{dataset.option}: its {what} were encoded with another {kind} than this model's: "
        f"preprocess it again with this one, set model.{_SOURCES.get(part, f'{part}_source')} to the one it "
        "was made with, or, where you know that both give the same numbers, data.allow_other_encoders"
    ]


def _unusual(dataset: "TrainingDataset") -> list[str]:
    """What the numbers alone tell of a data set that doesn't say what made it."""
    few = [dataset.latents(number) for number in range(min(LOOKED_AT, len(dataset)))]
    spread = max((float(latents.std()) for latents in few), default=1.0)
    if USUAL_SPREAD[0] <= spread <= USUAL_SPREAD[1]:
        return []
    return [
        f"{dataset.option}: its latents have a standard deviation of {spread:.3g}, and latents that are "
        "normalised per channel have one near 1: preprocess it again, or, where you know that they are right, "
        "set data.allow_other_encoders"
    ]
