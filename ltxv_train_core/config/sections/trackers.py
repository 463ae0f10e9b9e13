from typing import ClassVar

from ..base import Section, option


class TrackersConfig(Section):
    """The section `trackers`."""

    summary: ClassVar[str] = "Logging to TensorBoard and Weights & Biases, besides metrics.jsonl."

    tensorboard: bool = option(
        False, "Write TensorBoard logs into the run's folder (extra 'tensorboard')."
    )
    wandb: bool = option(
        False,
        "Log to Weights & Biases (extra 'wandb'), with the key of its login or WANDB_API_KEY, once "
        "you have allowed the entity on this machine. WANDB_MODE=offline keeps the logs local.",
    )
    project: str = option("ltxv-train", "Project at Weights & Biases.", min_length=1)
    entity: str | None = option(None, "User or team at Weights & Biases.", advanced=True)
    tags: tuple[str, ...] = option(
        (), "Tags of the run at Weights & Biases, one per line.", advanced=True
    )
    log_validation_videos: bool = option(
        True,
        "Log the validation samples too: the videos to Weights & Biases, the contact sheet to "
        "TensorBoard.",
        advanced=True,
    )
