"""How a run's prompts are sampled: as the configuration says, and where it says nothing, as the model is meant to be."""

from dataclasses import dataclass

from ..config import ValidationConfig
from ..families.family import Sampling


@dataclass(frozen=True)
class SampleSettings:
    """
    Attributes:
        levels: noise levels from 1 down to the last before 0; None takes the family's schedule.
        note: what the user should know of them.
    """

    steps: int
    guidance_scale: float
    levels: tuple[float, ...] | None = None
    note: str | None = None


def sample_settings(validation: ValidationConfig, sampling: Sampling | None) -> SampleSettings:
    """Steps, guidance and noise levels of the samples.

    Values that are the options' defaults follow the model, unless `validation.as_written` is set: a node sends
    a value for every option, so that a default says nothing.

    Args:
        sampling: how the model is meant to be sampled, where that is known.
    """
    steps, guidance = validation.inference_steps, validation.guidance_scale
    if sampling is None:
        return SampleSettings(steps, guidance)
    wanted, followed = {"inference_steps": steps, "guidance_scale": guidance}, []
    for name, own in (
        ("inference_steps", sampling.steps),
        ("guidance_scale", sampling.guidance_scale),
    ):
        default = ValidationConfig.model_fields[name].default
        if not validation.as_written and wanted[name] == default != own:
            wanted[name] = own
            followed.append(f"{name} {own:g}")
    steps, guidance = int(wanted["inference_steps"]), float(wanted["guidance_scale"])
    note = None
    if followed:
        note = (
            f"validation: the model is sampled as it is meant to be, with {' and '.join(followed)}; set "
            "validation.as_written to sample with the values of the configuration"
        )
    elif guidance != 1 == sampling.guidance_scale:
        note = (
            "validation.guidance_scale: the model is distilled, to be sampled without guidance: set it to "
            f"1, and validation.inference_steps to {sampling.steps}"
        )
    levels = sampling.levels
    fits = levels is not None and len(levels) == steps
    return SampleSettings(steps, guidance, levels if fits else None, note)
