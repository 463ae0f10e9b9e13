"""Options that were set and that this run ignores. Each gets a warning."""

from collections.abc import Iterable, Iterator
from typing import TypeAlias

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


Rule: TypeAlias = tuple[bool, str, Iterable[str] | None, str]
"""Whether it applies, the section, options in it (None: all), and why they aren't used."""


def ignored(config: TrainingConfig) -> list[str]:
    """One line for each such option. An option with its default value counts as not set."""
    groups = (_of_training_mode, _of_learning, _of_conditions, _of_samples, _of_files)
    return [
        f"{section}.{name}: is not used, because {reason}"
        for group in groups
        for applies, section, names, reason in group(config)
        if applies
        for name in _set(getattr(config, section), names)
    ]


def _of_training_mode(config: TrainingConfig) -> Iterator[Rule]:
    is_full, adapter = config.model.training_mode == "full", config.lora.adapter
    why = "model.training_mode is full"
    yield is_full, "lora", None, why
    yield is_full, "checkpoints", ["lora_dtype", "write_kohya"], why
    in_float32 = "model.training_mode is lora, and a LoRA is in float32"
    yield not is_full, "optimization", ["trained_weights"], in_float32
    yield adapter == "oft", "lora", ["alpha"], "lora.adapter is oft, and rotations have no scale"
    yield adapter != "lokr", "lora", ["lokr_factor"], f"lora.adapter is {adapter}"


def _of_learning(config: TrainingConfig) -> Iterator[Rule]:
    flow, options = config.flow_matching, config.optimization
    yield flow.loss == "mse", "flow_matching", ["loss_delta"], "flow_matching.loss is mse"
    weighting = f"flow_matching.loss_weighting is {flow.loss_weighting}"
    yield flow.loss_weighting != "min_snr", "flow_matching", ["min_snr_gamma"], weighting
    no_average = "optimization.ema_decay is not set"
    yield options.ema_decay is None, "optimization", ["ema_on_host"], no_average
    is_eager = not config.acceleration.compile_with_inductor
    eager = "acceleration.compile_with_inductor is off"
    yield is_eager, "acceleration", ["compilation_mode"], eager
    patience = ["early_stopping_patience"]
    yield not config.data.holds_out, "optimization", patience, "data.held_out_clips is 0"
    several, one = ["repeats", "weight", "balanced"], "one data set is trained on"
    yield len(config.data.trained) == 1, "data", several, one
    kind = options.preservation
    why = f"optimization.preservation is {kind}"
    yield kind == "none", "optimization", ["preservation_weight"], why
    words = ["preservation_trigger", "preservation_class"]
    yield kind != "differential_output", "optimization", words, why
    recomputes = options.enable_gradient_checkpointing or options.checkpointing_budget is not None
    has_none = not (recomputes or config.acceleration.blocks_to_offload)
    none = (
        "no block is computed again: optimization.enable_gradient_checkpointing is off, "
        "optimization.checkpointing_budget is not set and acceleration.blocks_to_offload is 0"
    )
    yield has_none, "optimization", ["activations_on_host"], none
    has_prior, no_prior = bool(config.data.prior_data_root), "data.prior_data_root is not set"
    yield not has_prior, "optimization", ["prior_weight"], no_prior


def _of_conditions(config: TrainingConfig) -> Iterator[Rule]:
    given = config.conditioning
    has_video = "video" in given.reference_streams
    mode = f"conditioning.mode is {given.mode}"
    yield not has_video, "conditioning", ["reference_latents_dir"], mode
    for names, without in (
        (_OF_VIDEO, ("audio", "video_to_audio")),
        (_OF_AUDIO, ("video", "audio_to_video")),
    ):
        why = f"conditioning.modalities is {given.modalities}"
        yield given.modalities in without, "conditioning", names, why
    for name, option in _CONDITIONS.items():
        never = getattr(given, f"{name}_conditioning_p") == 0
        yield never, "conditioning", [option], f"conditioning.{name}_conditioning_p is 0"


def _of_samples(config: TrainingConfig) -> Iterator[Rule]:
    validation = config.validation
    has_prompts, is_asked = bool(validation.prompts), validation.interval is not None
    yield not has_prompts, "validation", None, "there are no validation.prompts"
    encodes = (has_prompts and is_asked) or (
        config.optimization.preservation == "differential_output"
    )
    bits = ["load_text_encoder_in_8bit", "load_text_encoder_in_4bit"]
    yield not encodes, "acceleration", bits, "there is no validation to encode prompts for"
    yield has_prompts and not is_asked, "validation", None, "validation.interval is not set"
    is_unguided = has_prompts and validation.guidance_scale == 1
    no_guidance = "validation.guidance_scale is 1"
    yield is_unguided, "validation", ["negative_prompt"], no_guidance
    has_no_stg = has_prompts and validation.stg_scale == 0
    no_stg = "validation.stg_scale is 0"
    yield has_no_stg, "validation", ["stg_blocks", "stg_mode"], no_stg
    neither = is_unguided and has_no_stg
    yield neither, "validation", ["guidance_rescale"], f"{no_guidance} and {no_stg}"


def _of_files(config: TrainingConfig) -> Iterator[Rule]:
    trackers = config.trackers
    no_interval = "checkpoints.interval is not set"
    yield config.checkpoints.interval is None, "checkpoints", ["keep_last_n"], no_interval
    yield not trackers.wandb, "trackers", ["entity", "tags"], "trackers.wandb is off"
    has_none = not (trackers.wandb or trackers.tensorboard)
    yield has_none, "trackers", ["log_validation_videos"], "no tracker is on"


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
