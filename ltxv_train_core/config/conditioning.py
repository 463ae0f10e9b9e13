from typing import ClassVar, Literal

from .section import Section, option


class ConditioningConfig(Section):
    summary: ClassVar[str] = "What the model is given besides the text."

    mode: Literal["none", "reference_video"] = option(
        "none", "none: an ordinary LoRA. reference_video: an IC-LoRA that follows a second video."
    )
    first_frame_conditioning_p: float = option(
        0.1,
        "Probability that a sample keeps its first frame clean (image to video), drawn for each "
        "sample.",
        ge=0.0,
        le=1.0,
        step=0.01,
    )
    reference_latents_dir: str = option(
        "reference_latents",
        "Folder inside the preprocessed data with the reference videos' latents.",
        min_length=1,
    )
