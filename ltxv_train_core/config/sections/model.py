from typing import ClassVar, Literal

from ..base import Section, option
from ..part_sources import NamesParts


class ModelConfig(NamesParts, Section):
    """The section `model`."""

    summary: ClassVar[str] = "The base model, and whether a LoRA or every weight is trained."

    model_source: str = option(
        "LTXV_13B_097_DEV",
        "The base model: a version name, a checkpoint or transformer file, a folder in the "
        "diffusers layout, a Hugging Face repository, or LTXV_MINIATURE, the small model that "
        "comes with this pack.",
        min_length=1,
    )
    training_mode: Literal["lora", "full"] = option(
        "lora",
        "Train a LoRA, or every weight of the transformer (full).",
        advanced=True,
    )
    load_checkpoint: str | None = option(
        None,
        "Weights to start from: a LoRA of the same rank, or for full training a transformer in "
        "ComfyUI's layout. Of a folder, the file of the highest step is taken.",
        advanced=True,
    )
    text_encoder_source: str | None = option(
        None,
        "The text encoder, if the model has none or to use another one: ComfyUI's T5-XXL file "
        "(of LTX-2: Gemma 3 or 4), a folder, or a Hugging Face repository. The same as in preprocessing.",
        advanced=True,
    )
    vae_source: str | None = option(
        None,
        "The VAE, if the model has none or to use another one: a VAE file or checkpoint, a "
        "folder, or a Hugging Face repository. The same as in preprocessing.",
        advanced=True,
    )
    audio_vae_source: str | None = option(
        None,
        "LTX-2's audio VAE with its vocoder, if the model has none or to use another one: a file or checkpoint, or a "
        "folder in the diffusers layout. The same as in preprocessing.",
        advanced=True,
    )
    text_projection_source: str | None = option(
        None,
        "LTX-2's text projection, if neither the model nor the text encoder's file holds it: a file or checkpoint, or "
        "a folder in the diffusers layout. The same as in preprocessing.",
        advanced=True,
    )
