"""Whether the base model can be used, and with the data set and options of the run."""

from ...config import AccelerationConfig, ModelConfig
from ...datasets import encoded_with
from ...datasets.dataset import TrainingDataset
from ...errors import ConfigurationError, ModelError
from ...events import ignore
from ...families.names import TEXT_ENCODER, TRANSFORMER
from ...families.open import Model, must_be_downloaded, open_model
from ...models.memory.kinds import EIGHT_BIT_KINDS
from ...storage.paths import as_path


def usable_model(
    model: ModelConfig,
    acceleration: AccelerationConfig,
    has_samples: bool,
    encodes_captions: bool = False,
) -> Model | None:
    """Looks at a model's parts, those that this run needs, without downloading or loading them.

    Returns:
        the model, None where it must be downloaded first.

    Raises:
        LTXVTrainError: it can't be used.
    """
    if must_be_downloaded(model.model_source):
        return None
    source = open_model(model.model_source, report=ignore, stop=None, **model.part_sources())
    source.require(TRANSFORMER)
    _require_whole_weights(model, acceleration, source)
    if has_samples:
        streams = source.family.streams.values()
        source.require(*dict.fromkeys(stream.encoder for stream in streams), TEXT_ENCODER)
    if encodes_captions:
        source.require(TEXT_ENCODER)
    return source


def strangers(dataset: TrainingDataset, model: Model, allow_other_encoders: bool) -> list[str]:
    """What of a data set and a model doesn't belong together."""
    if found := encoded_with.other_family(dataset, model):
        return found
    found = encoded_with.other_width(dataset, model)
    if allow_other_encoders:
        return found
    return [*found, *encoded_with.differences(dataset, model)]


def model_notes(model_source: str) -> list[str]:
    """What the user should know of it."""
    if not as_path(model_source).is_file():
        return []
    try:
        facts = open_model(model_source).facts
    except ModelError:
        return []  # reported as a problem
    return [f"model.model_source: {note}" for note in facts.notes]


def _require_whole_weights(
    model: ModelConfig, acceleration: AccelerationConfig, source: Model
) -> None:
    """Raises `ConfigurationError` for options that the format of the base's numbers excludes."""
    wishes = [
        (acceleration.quantization is not None, "acceleration.quantization", "choose none"),
        (model.training_mode == "full", "model.training_mode", "train a LoRA"),
    ]
    found = [
        f"{option}: {source.name} is stored in fp8 already; {instead}, or take a bf16 file"
        for wished, option, instead in wishes
        if wished and source.facts.is_fp8
    ]
    if acceleration.quantized_matmul and not (
        source.facts.is_fp8 or acceleration.quantization in EIGHT_BIT_KINDS
    ):
        found.append(
            f"acceleration.quantized_matmul: {source.name} is not in 8 bits; set acceleration.quantization to int8 "
            "or fp8, or switch it off"
        )
    if found:
        raise ConfigurationError(found)
