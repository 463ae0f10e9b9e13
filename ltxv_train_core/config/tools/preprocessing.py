"""Options of preprocessing. Widgets and command line derive from them, like those of training."""

from pathlib import Path
from typing import Any, Literal

from ...geometry import MOST_REFERENCE_SCALE, ReferenceScale
from ...media.readable import DEFAULT_MEGAPIXELS, LARGEST_MEGAPIXELS
from ..base import Section, option
from ..part_sources import NamesParts

OUTPUT_FOLDER = ".precomputed"
Precision = Literal["auto", "float32", "bfloat16", "float16"]


class PreprocessSettings(NamesParts, Section):
    """The options of preprocessing; the order of its fields is that of the node's widgets.

    Those of `WITHOUT_EFFECT` change how the work is done, not what comes out. Every other one is
    part of what names a cached file.
    """

    source: Path = option(
        ...,
        "A metadata file (csv, json, jsonl) with a row for every clip, a folder of media with "
        "a .txt of the same name beside each, or a data set of the Hugging Face Hub by its name "
        "(owner/name), which is downloaded once.",
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
        "Sizes that clips are resized to, as WIDTHxHEIGHTxFRAMES separated by semicolons; width "
        "and height are multiples of 32, frames 8n + 1. auto:WIDTHxHEIGHTxFRAMES takes a budget "
        "of pixels and frames and keeps each clip's aspect ratio.",
        min_length=1,
    )
    output_dir: Path | None = option(
        None,
        f"Folder to write to, by default {OUTPUT_FOLDER} beside the metadata or in the folder. Data "
        "sets can share one.",
        advanced=True,
    )
    caption_column: str = option(
        "caption", "Column (or JSON key) with the captions.", min_length=1, advanced=True
    )
    video_column: str = option(
        "media_path",
        "Column with the paths of videos and images, relative to the metadata file.",
        min_length=1,
        advanced=True,
    )
    reference_column: str = option(
        "reference_path",
        "Column with the reference videos of an IC-LoRA. If the metadata has no column of the "
        "default name, the data set has no references.",
        advanced=True,
    )
    id_token: str = option("", "Trigger word, put before every caption.")
    mask_column: str = option(
        "mask_path",
        "Column with masks for in-painting. If the metadata has no column of the default name, "
        "the data set has no masks.",
        advanced=True,
    )
    default_caption: str = option(
        "",
        "Caption of media that have none. Without it they are skipped.",
        multiline=True,
        advanced=True,
    )
    remove_llm_prefixes: bool = option(
        False,
        'Remove openings such as "The video shows" or "In this clip," from the captions.',
        advanced=True,
    )
    text_encoder_source: str | None = option(
        None,
        "The text encoder, if the model has none or to use another one: ComfyUI's T5-XXL file "
        "(of LTX-2: Gemma 3 or 4), a folder, or a Hugging Face repository.",
        advanced=True,
    )
    vae_source: str | None = option(
        None,
        "The VAE, if the model has none or to use another one: a VAE file or checkpoint, a "
        "folder, or a Hugging Face repository.",
        advanced=True,
    )
    allow_upscaling: bool = option(
        False,
        "Enlarge a clip that is too small for every bucket, instead of skipping it.",
        advanced=True,
    )
    crop: Literal["center", "random"] = option(
        "center",
        "Part of the frames to use if their aspect ratio is not the bucket's.",
        advanced=True,
    )
    crop_seed: int = option(0, "Seed of random crops.", ge=0, le=2**31 - 1, advanced=True)
    windows: int = option(
        1,
        "Number of parts to take from a long clip: evenly spread, without overlap, at most as many as fit. 1 "
        "takes the beginning.",
        ge=1,
        le=1000,
    )
    target_fps: float | None = option(
        None,
        "Frames per second that videos are resampled to by their timestamps; by default each "
        "video uses its own frames.",
        gt=0,
        le=240,
        step=0.001,
    )
    vae_tile_px: int | None = option(
        None,
        "Encode frames larger than this in overlapping tiles, to save memory. A multiple of 128.",
        ge=256,
        le=4096,
        multiple_of=128,
        step=128,
        advanced=True,
    )
    vae_batch_size: int = option(
        1, "Clips of one size that the VAE encodes at once.", ge=1, le=64, advanced=True
    )
    vae_dtype: Precision = option(
        "auto",
        "Precision of the VAE; auto is bfloat16 on a GPU that computes in it (NVIDIA since Ampere, "
        "AMD, Intel), float32 elsewhere.",
        advanced=True,
    )
    text_encoder_dtype: Precision = option(
        "auto",
        "Precision of the text encoder; auto is bfloat16 on a GPU, float32 on a CPU.",
        advanced=True,
    )
    load_text_encoder_in_8bit: bool = option(
        False,
        "Load the text encoder in 8 bits (bitsandbytes): a quarter of float32's memory.",
        advanced=True,
    )
    decode_threads: int = option(
        2,
        "Threads that read clips ahead while the VAE encodes.",
        ge=1,
        le=64,
        advanced=True,
    )
    verify_clips: int = option(
        0,
        "Decode the latents of this many clips and show them beside the originals, with PSNR.",
        ge=0,
        le=100,
        advanced=True,
    )
    recheck_files: bool = option(
        False,
        "Read every media file again to see whether it changed. Without it, a file of the same "
        "size and modification time counts as unchanged.",
        advanced=True,
    )
    remove_orphans: bool = option(
        False,
        "Delete cached files that no data set of the folder needs any more; otherwise they are "
        "reported.",
        advanced=True,
    )
    max_megapixels: int = option(
        DEFAULT_MEGAPIXELS,
        "Images and frames of more than this many million pixels are skipped before they take "
        "memory.",
        ge=1,
        le=LARGEST_MEGAPIXELS,
        advanced=True,
    )
    hdr: Literal["tone_map", "refuse"] = option(
        "tone_map",
        "Clips in HLG or PQ, as phones record them: tone_map converts them to sRGB, refuse skips "
        "them.",
        advanced=True,
    )
    with_sound: bool = option(
        True,
        "For a model with sound: encode the clips' own sound too, silence where a clip has none. Off "
        "prepares the video alone.",
        advanced=True,
    )
    audio_vae_source: str | None = option(
        None,
        "LTX-2's audio VAE with its vocoder, if the model has none or to use another one: a file or checkpoint, or a "
        "folder in the diffusers layout.",
        advanced=True,
    )
    text_projection_source: str | None = option(
        None,
        "LTX-2's text projection, if neither the model nor the text encoder's file holds it: a file or checkpoint, or "
        "a folder in the diffusers layout.",
        advanced=True,
    )
    load_text_encoder_in_4bit: bool = option(
        False,
        "Load the text encoder in 4 bits: a quarter of bfloat16's memory. It counts where 8 bits are "
        "chosen as well.",
        advanced=True,
    )
    missing_sound: Literal["silence", "video_only", "skip"] = option(
        "silence",
        "What becomes of a clip without sound, for a model with sound. silence: it is trained as silent. "
        "video_only: its video alone is trained. skip: it is left out.",
        advanced=True,
    )
    audio_column: str = option(
        "audio",
        "Column with files that hold the clips' sound, in place of their own. If the metadata has no column of the "
        "default name, or a row is empty, the clip's own sound is taken.",
        advanced=True,
    )
    speech_column: str = option(
        "speech",
        "Column with what is said in the clips, which is put into the captions. If the metadata has no column of "
        "the default name, nothing is.",
        advanced=True,
    )
    speech_template: str = option(
        '{caption} The voice says: "{speech}"',
        "How a caption and what is said are put together, of clips of which the column of speech says something.",
        pattern=r"\{speech\}",
        allowed="a text with {speech}, and usually {caption}",
        advanced=True,
    )

    reference_audio_column: str = option(
        "reference_audio",
        "Column with files that hold the reference sounds of an IC-LoRA, for a model with sound. If the metadata has "
        "no column of the default name, the data set has none.",
        advanced=True,
    )
    audio_mask_column: str = option(
        "audio_mask",
        "Column with the parts of the clips' sounds that are to be generated, for a model with sound: seconds as "
        "0.5-1.2, several with commas between them. If the metadata has no column of the default name, there are "
        "none.",
        advanced=True,
    )
    reference_downscale_factor: int = option(
        1,
        "How many times smaller than their clips reference videos are encoded, in width and height: fewer tokens. "
        "For LTX-2.",
        ge=1,
        le=MOST_REFERENCE_SCALE,
        advanced=True,
    )
    reference_temporal_scale_factor: int = option(
        1,
        "Every so-many-th frame of reference videos is taken: fewer tokens. For LTX-2; ComfyUI's nodes know only 1.",
        ge=1,
        le=MOST_REFERENCE_SCALE,
        advanced=True,
    )

    def __init__(self, *arguments: Any, **options: Any):
        """Takes options by name; the first ones also by position."""
        super().__init__(**dict(zip(type(self).model_fields, arguments, strict=False)), **options)

    @property
    def reference_scale(self) -> ReferenceScale:
        """How much smaller than their clips reference videos are."""
        return ReferenceScale(self.reference_downscale_factor, self.reference_temporal_scale_factor)

    @property
    def root(self) -> Path:
        """The folder that is written."""
        if self.output_dir is not None:
            return self.output_dir
        return (self.source if self.source.is_dir() else self.source.parent) / OUTPUT_FOLDER


WITHOUT_EFFECT = frozenset(
    {"vae_batch_size", "decode_threads", "verify_clips", "recheck_files", "remove_orphans"}
)
