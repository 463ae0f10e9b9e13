from typing import ClassVar, Literal

from pydantic import field_validator, model_validator

from ...families.grids import require_size
from ...geometry import VideoSize
from ..base import Section, option

SAMPLE_MEDIA = ("images", "reference_videos", "audios", "videos", "reference_audios")
"""Options with a path for each prompt."""


class ValidationConfig(Section):
    """The section `validation`."""

    summary: ClassVar[str] = "Videos that are sampled during training, to follow the training."

    prompts: tuple[str, ...] = option(
        (), "Prompts to sample, one per line. Without prompts there is no validation."
    )
    negative_prompt: str = option(
        "worst quality, inconsistent motion, blurry, jittery, distorted",
        "What the samples should not show.",
        multiline=True,
        advanced=True,
    )
    images: tuple[str, ...] | None = option(
        None,
        "First frames for image to video, one path per line, one for each prompt. They are "
        "resized to cover the samples' size and cropped to it.",
    )
    reference_videos: tuple[str, ...] | None = option(
        None, "Reference videos for an IC-LoRA, one path per line, one for each prompt."
    )
    video_dims: tuple[int, int, int] = option(
        (704, 480, 161), "Width, height and frames of the samples, as WxHxF."
    )
    seed: int = option(
        42,
        "Seed of the samples' noise. The first video of every prompt uses it, each further video the "
        "next number.",
        ge=0,
        le=2**63 - 1,
        advanced=True,
    )
    inference_steps: int = option(50, "Denoising steps of a sample.", ge=1, le=1000)
    interval: int | None = option(100, "Steps between two validations.", ge=1, le=10_000_000)
    videos_per_prompt: int = option(
        1,
        "Videos for each prompt, each with its own noise.",
        ge=1,
        le=64,
        advanced=True,
    )
    guidance_scale: float = option(
        3.0,
        "Classifier-free guidance. 1 turns it off: half the time, and the negative prompt is not "
        "used.",
        ge=1.0,
        le=100.0,
        step=0.1,
        advanced=True,
    )
    skip_initial_validation: bool = option(
        False,
        "Skip the samples before the first step, which show the base model.",
        advanced=True,
    )
    frame_rate: float = option(
        25.0,
        "Frames per second of the samples, as given to the model and written to the files.",
        ge=1.0,
        le=240.0,
        advanced=True,
    )
    audio_guidance_scale: float | None = option(
        None,
        "For a model with sound: classifier-free guidance of the sound, where it isn't that of the video. "
        "Only used where guidance_scale is above 1.",
        gt=0.0,
        le=100.0,
        step=0.1,
        advanced=True,
    )

    as_written: bool = option(
        False,
        "Sample with inference_steps and guidance_scale as they are written. Off, values that are the defaults "
        "follow the model: a distilled one is sampled in its few steps and without guidance.",
        advanced=True,
    )
    guidance_rescale: float = option(
        0.0,
        "Rescale guided samples towards the spread of unguided ones, against too strong contrast. 0 turns it off; "
        "Lightricks samples its dev models with 0.7. Only used where guidance_scale is above 1 or stg_scale above 0.",
        ge=0.0,
        le=1.0,
        step=0.05,
        advanced=True,
    )
    stg_scale: float = option(
        0.0,
        "Spatio-temporal guidance (STG) of the samples, for steadier motion: they are led away from what the "
        "model predicts without self-attention in stg_blocks. 0 turns it off; Lightricks samples its dev models "
        "with 1. It takes one more forward pass in each step: half the time again with guidance, twice the time "
        "without.",
        ge=0.0,
        le=100.0,
        step=0.1,
        advanced=True,
    )
    stg_blocks: tuple[int, ...] | None = option(
        None,
        "Numbers of the transformer blocks that STG leaves self-attention out of, from 0, with commas between "
        "them. Not set, those that Lightricks takes for the model: 19 of 2B, 28 of 13B, 29 of LTX-2, 28 of LTX-2.3 "
        "and later. Only used where stg_scale is above 0.",
        advanced=True,
    )
    stg_mode: Literal["stg_av", "stg_v"] = option(
        "stg_av",
        "For a model with sound: whether STG guides video and sound (stg_av) or the video alone (stg_v). Only used "
        "where stg_scale is above 0.",
        advanced=True,
    )

    audios: tuple[str, ...] | None = option(
        None,
        "For a model with sound: sounds that the samples' videos follow (audio to video), one path per line, one "
        "for each prompt: files of sound, or videos with sound. They stay as they are.",
        advanced=True,
    )
    videos: tuple[str, ...] | None = option(
        None,
        "For a model with sound: videos that the samples' sounds follow (video to audio), one path per line, one "
        "for each prompt. They stay as they are.",
        advanced=True,
    )
    reference_audios: tuple[str, ...] | None = option(
        None,
        "For a model with sound: reference sounds for an IC-LoRA, one path per line, one for each prompt.",
        advanced=True,
    )

    @field_validator("video_dims")
    @classmethod
    def _on_a_grid(cls, value: tuple[int, int, int]) -> tuple[int, int, int]:
        require_size(VideoSize(*value))
        return value

    @field_validator("stg_blocks")
    @classmethod
    def _each_block_once(cls, value: tuple[int, ...] | None) -> tuple[int, ...] | None:
        if value is not None and (not value or min(value) < 0 or len(set(value)) < len(value)):
            raise ValueError("expected numbers of blocks from 0, each once; none: leave it out")
        return value

    @model_validator(mode="after")
    def _one_for_each_prompt(self) -> "ValidationConfig":
        for name in SAMPLE_MEDIA:
            given = getattr(self, name)
            if given is not None and len(given) != len(self.prompts):
                raise ValueError(
                    f"{name} has {len(given)} entries and prompts has {len(self.prompts)}: "
                    "give one for each prompt"
                )
        if self.images is not None and self.videos is not None:
            raise ValueError(
                "videos are given as a whole, with their first frames: leave out images"
            )
        return self

    @property
    def size(self) -> VideoSize:
        """`video_dims` by name: width and height in pixels, frames."""
        return VideoSize(*self.video_dims)
