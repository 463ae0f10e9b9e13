from typing import ClassVar, Literal

from ..base import Section, option


class ModelConfig(Section):
    summary: ClassVar[str] = "Base model and what of it is trained."

    model_source: str = option(
        "LTXV_13B_097_DEV",
        "The base model: a version name, a checkpoint or transformer file, a folder in the "
        "diffusers layout, a Hugging Face repository, or LTXV_MINIATURE, the small model that "
        "comes with this pack.",
        min_length=1,
    )
    training_mode: Literal["lora", "full"] = option(
        "lora", "Train a LoRA, or every weight of the transformer (full)."
    )
    load_checkpoint: str | None = option(
        None,
        "A file to start from, or a folder of which the file of the highest step is taken: a LoRA "
        "of the same rank, or for full training a transformer in ComfyUI's layout.",
    )
    text_encoder_source: str | None = option(
        None,
        "The text encoder, where the model has none or another is wanted: ComfyUI's T5-XXL file, a "
        "folder, or a Hugging Face repository. As in preprocessing.",
    )
    vae_source: str | None = option(
        None,
        "The VAE, where the model has none or another is wanted: a VAE file or checkpoint, a "
        "folder, or a Hugging Face repository. As in preprocessing.",
    )
