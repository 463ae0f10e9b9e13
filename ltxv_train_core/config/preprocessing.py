"""What to preprocess, and how. Widgets and command line derive from it, like those of training."""

from pathlib import Path
from typing import Any

from .section import Section, option

OUTPUT_FOLDER = ".precomputed"


class PreprocessSettings(Section):
    """The options of preprocessing; the order of its fields is that of the node's widgets."""

    source: Path = option(
        ...,
        "A metadata file (csv, json, jsonl) with a row for every clip, or a folder of media with "
        "a .txt of the same name beside each.",
    )
    model_source: str = option(
        ...,
        "The base model to preprocess for, the same as in training: a version name, a checkpoint "
        "file, a folder in the diffusers layout, a Hugging Face repository, or LTXV_MINIATURE, the "
        "small model that comes with this pack.",
        min_length=1,
    )
    resolution_buckets: str = option(
        ...,
        "Sizes that clips are brought to, as WIDTHxHEIGHTxFRAMES separated by semicolons; width "
        "and height are multiples of 32, frames 8n + 1.",
        min_length=1,
    )
    output_dir: Path | None = option(
        None,
        f"Folder to write to, by default {OUTPUT_FOLDER} beside the metadata or in the folder.",
    )
    caption_column: str = option("caption", "Column (or JSON key) with the captions.", min_length=1)
    video_column: str = option(
        "media_path",
        "Column with the paths of videos and images, relative to the metadata file.",
        min_length=1,
    )
    reference_column: str = option(
        "reference_path",
        "Column with the reference videos of an IC-LoRA. Where the metadata has no column of the "
        "default name, the data set has no references.",
    )
    id_token: str = option("", "Trigger word, put before every caption.")
    mask_column: str = option(
        "mask_path",
        "Column with masks for in-painting. Where the metadata has no column of the default name, "
        "the data set has no masks.",
    )
    default_caption: str = option(
        "", "Caption of media that have none; without it they are left out.", multiline=True
    )
    remove_llm_prefixes: bool = option(
        False, 'Take openings like "The video shows" or "In this clip," off the captions.'
    )
    text_encoder_source: str | None = option(
        None,
        "The text encoder, where the model has none or another is wanted: ComfyUI's T5-XXL file, a "
        "folder, or a Hugging Face repository.",
    )
    vae_source: str | None = option(
        None,
        "The VAE, where the model has none or another is wanted: a VAE file or checkpoint, a "
        "folder, or a Hugging Face repository.",
    )

    def __init__(self, *arguments: Any, **options: Any):
        """Takes options by name; the first ones also by position."""
        super().__init__(**dict(zip(type(self).model_fields, arguments, strict=False)), **options)

    @property
    def root(self) -> Path:
        """The folder that is written."""
        if self.output_dir is not None:
            return self.output_dir
        return (self.source if self.source.is_dir() else self.source.parent) / OUTPUT_FOLDER
