from typing import ClassVar

from ..base import Section, option


class DataConfig(Section):
    """The section `data`."""

    summary: ClassVar[str] = "The preprocessed data set and how it is loaded."

    preprocessed_data_root: str = option(
        ...,
        "The preprocessed data set: the .precomputed folder, or the folder it is in, for the one that "
        "was preprocessed last; or the index of one of several in a folder.",
        min_length=1,
    )
    num_dataloader_workers: int = option(
        2,
        "Threads that load batches ahead of training; 0 loads in the training thread.",
        ge=0,
        le=64,
        advanced=True,
    )
    allow_other_encoders: bool = option(
        False,
        "Train on a data set that was encoded with another VAE or text encoder than the model's. Only "
        "if you know that both give the same numbers, such as the same weights in another precision.",
        advanced=True,
    )
    held_out_clips: int = option(
        0,
        "So many clips are never trained on. Their loss is measured at each checkpoint, always with the same noise, and "
        "tells which step is best. Clips of one video stay together. 0: none.",
        ge=0,
        le=10_000,
    )
    prior_data_root: str | None = option(
        None,
        "Prior preservation: a second preprocessed data set, of clips as the base model makes them without what is to "
        "be learned. Each step also trains on as many of them; see optimization.prior_weight. Empty: none.",
        advanced=True,
    )
