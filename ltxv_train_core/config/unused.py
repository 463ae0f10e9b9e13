"""Options that were set and that this run ignores. Each gets a warning."""

from collections.abc import Iterable

from .base import Section
from .training import TrainingConfig
from .widgets import options

_SWITCHES = {"prompts", "interval"}
_CONDITIONS = {
    "prefix": "prefix_frames",
    "suffix": "suffix_frames",
    "spatial_crop": "spatial_crop_share",
    "mask": "masks_dir",
    "audio_prefix": "audio_prefix_latents",
    "audio_suffix": "audio_suffix_latents",
}
_OF_VIDEO = tuple(
    f"{name}_conditioning_p" for name in ("first_frame", "prefix", "suffix", "spatial_crop", "mask")
)
_OF_AUDIO = tuple(f"audio_{name}_conditioning_p" for name in ("prefix", "suffix", "mask"))


def ignored(config: TrainingConfig) -> list[str]:
    """One line for each such option. An option with its default value counts as not set."""
    validation, trackers = config.validation, config.trackers
    rules: list[tuple[bool, str, Iterable[str] | None, str]] = [
        (config.model.training_mode == "full", "lora", None, "model.training_mode is full"),
        (
            config.model.training_mode == "full",
            "checkpoints",
            ["lora_dtype", "write_kohya"],
            "model.training_mode is full",
        ),
        (
            config.model.training_mode == "lora",
            "optimization",
            ["trained_weights"],
            "model.training_mode is lora, and a LoRA is in float32",
        ),
        (
            config.lora.adapter == "oft",
            "lora",
            ["alpha"],
            "lora.adapter is oft, and rotations have no scale",
        ),
        (
            config.lora.adapter != "lokr",
            "lora",
            ["lokr_factor"],
            f"lora.adapter is {config.lora.adapter}",
        ),
        (
            config.flow_matching.loss == "mse",
            "flow_matching",
            ["loss_delta"],
            "flow_matching.loss is mse",
        ),
        (
            config.flow_matching.loss_weighting != "min_snr",
            "flow_matching",
            ["min_snr_gamma"],
            f"flow_matching.loss_weighting is {config.flow_matching.loss_weighting}",
        ),
        (
            config.optimization.ema_decay is None,
            "optimization",
            ["ema_on_host"],
            "optimization.ema_decay is not set",
        ),
        (
            not config.acceleration.compile_with_inductor,
            "acceleration",
            ["compilation_mode"],
            "acceleration.compile_with_inductor is off",
        ),
        (
            "video" not in config.conditioning.reference_streams,
            "conditioning",
            ["reference_latents_dir"],
            f"conditioning.mode is {config.conditioning.mode}",
        ),
        *(
            (
                config.conditioning.modalities in without,
                "conditioning",
                names,
                f"conditioning.modalities is {config.conditioning.modalities}",
            )
            for names, without in (
                (_OF_VIDEO, ("audio", "video_to_audio")),
                (_OF_AUDIO, ("video", "audio_to_video")),
            )
        ),
        *(
            (
                getattr(config.conditioning, f"{name}_conditioning_p") == 0,
                "conditioning",
                [option],
                f"conditioning.{name}_conditioning_p is 0",
            )
            for name, option in _CONDITIONS.items()
        ),
        (
            config.data.held_out_clips == 0,
            "optimization",
            ["early_stopping_patience"],
            "data.held_out_clips is 0",
        ),
        (
            config.optimization.preservation == "none",
            "optimization",
            ["preservation_weight"],
            "optimization.preservation is none",
        ),
        (
            config.optimization.preservation != "differential_output",
            "optimization",
            ["preservation_trigger", "preservation_class"],
            f"optimization.preservation is {config.optimization.preservation}",
        ),
        (
            not config.data.prior_data_root,
            "optimization",
            ["prior_weight"],
            "data.prior_data_root is not set",
        ),
        (not validation.prompts, "validation", None, "there are no validation.prompts"),
        (
            (not validation.prompts or validation.interval is None)
            and config.optimization.preservation != "differential_output",
            "acceleration",
            ["load_text_encoder_in_8bit", "load_text_encoder_in_4bit"],
            "there is no validation to encode prompts for",
        ),
        (
            bool(validation.prompts) and validation.interval is None,
            "validation",
            None,
            "validation.interval is not set",
        ),
        (
            bool(validation.prompts) and validation.guidance_scale == 1,
            "validation",
            ["negative_prompt"],
            "validation.guidance_scale is 1",
        ),
        (
            bool(validation.prompts) and validation.stg_scale == 0,
            "validation",
            ["stg_blocks", "stg_mode"],
            "validation.stg_scale is 0",
        ),
        (
            bool(validation.prompts)
            and validation.guidance_scale == 1
            and validation.stg_scale == 0,
            "validation",
            ["guidance_rescale"],
            "validation.guidance_scale is 1 and validation.stg_scale is 0",
        ),
        (
            config.checkpoints.interval is None,
            "checkpoints",
            ["keep_last_n"],
            "checkpoints.interval is not set",
        ),
        (
            not trackers.wandb,
            "trackers",
            ["entity", "tags"],
            "trackers.wandb is off",
        ),
        (
            not (trackers.wandb or trackers.tensorboard),
            "trackers",
            ["log_validation_videos"],
            "no tracker is on",
        ),
    ]
    return [
        f"{section}.{name}: is not used, because {reason}"
        for applies, section, names, reason in rules
        if applies
        for name in _set(getattr(config, section), names)
    ]


def _set(section: Section, names: Iterable[str] | None) -> list[str]:
    """Those of the named options (None: of all) that don't have their default."""
    defaults = {name: field.default for name, field in type(section).model_fields.items()}
    wanted = [o.name for o in options(type(section))] if names is None else names
    return [
        name
        for name in wanted
        if getattr(section, name) != defaults[name]
        and name not in _SWITCHES
        # A probability of 0 asks for nothing that could be ignored.
        and not (name.endswith("_conditioning_p") and getattr(section, name) == 0)
    ]
