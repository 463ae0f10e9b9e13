"""Configurations of ltx-trainer, Lightricks' trainer of LTX-2, brought into our words.

Such a file has the section `training_strategy`. What it says that has no equal here is named, and the rest counts;
a key that it doesn't know either stays where it is and is refused as any other.

    theirs                                            ours
    model.model_path, text_encoder_path               model.model_source, text_encoder_source
    model.video_vae_path, audio_vae_path              model.vae_source, audio_vae_source
    training_strategy.video, audio (is_generated)     conditioning.modalities
    ... conditions first_frame, prefix, suffix, mask  conditioning.*_conditioning_p, of the sound audio_*
    ... condition reference                           conditioning.mode
    validation.samples (prompt, conditions)           validation.prompts, images, reference_videos, audios, ...
    validation.video_cfg_scale, audio_cfg_scale       validation.guidance_scale, audio_guidance_scale
    validation.video_stg_scale, audio_stg_scale       validation.stg_scale, stg_mode
    checkpoints.precision                             checkpoints.lora_dtype
"""

from collections.abc import Callable
from typing import Any

from ..errors import ConfigurationError, shown

Values = dict[str, Any]
Tell = Callable[[str], None]

STRATEGY = "training_strategy"
_RENAMED = {
    ("model", "model_path"): "model_source",
    ("model", "text_encoder_path"): "text_encoder_source",
    ("model", "video_vae_path"): "vae_source",
    ("model", "audio_vae_path"): "audio_vae_source",
}
_NO_EQUAL: dict[tuple[str, str], tuple[Any, ...]] = {
    ("acceleration", "offload_optimizer_during_validation"): (False,),
    ("validation", "video_modality_guidance_scale"): (1, 1.0),
    ("validation", "audio_modality_guidance_scale"): (1, 1.0),
    ("validation", "include_reference_in_output"): (False,),
    ("checkpoints", "no_resume"): (False,),
    ("checkpoints", "save_training_state"): ("full",),
}
"""Options of theirs alone, and the values with which they change nothing."""
_IMPLIED = {("validation", "generate_audio"), ("validation", "generate_video")}
"""What samples show follows `conditioning.modalities`; `reference_downscale_factor` follows the data set."""
_PRECISIONS = {"bfloat16": "bf16", "float32": "float32"}
_PARTS = {
    "flexible": {"name", "video", "audio"},
    "text_to_video": {"name", "first_frame_conditioning_p", "with_audio", "audio_latents_dir"},
    "video_to_video": {"name", "first_frame_conditioning_p", "reference_latents_dir"},
}
"""Options of each strategy."""
_STREAM_PARTS = {"is_generated", "latents_dir", "conditions"}
_FOLDERS = {"video": "latents", "audio": "audio_latents"}
_REFERENCES = {"video": "reference_latents", "audio": "reference_audio_latents"}
_MASKS = {"video": "video_masks", "audio": "audio_masks"}


def is_one(document: Values) -> bool:
    """Whether a document is one of ltx-trainer's."""
    return STRATEGY in document


def translate(document: Values, tell: Tell) -> Values:
    """The document in our words, sections of options.

    Args:
        tell: gets a line for everything that has no equal.

    Raises:
        ConfigurationError: its strategy can't be read.
    """
    found: Values = {
        section: {_RENAMED.get((section, name), name): value for name, value in options.items()}
        if isinstance(options, dict)
        else options
        for section, options in document.items()
        if section != STRATEGY
    }
    _leave_out(found, tell)
    conditioning = _conditioning(document[STRATEGY], tell)
    _precision(found)
    _samples(found, conditioning, tell)
    if isinstance(validation := found.get("validation"), dict):
        _guidance(validation, conditioning["modalities"])
    found["conditioning"] = conditioning
    return found


def _leave_out(found: Values, tell: Tell) -> None:
    for (section, name), neutral in _NO_EQUAL.items():
        options = found.get(section)
        if isinstance(options, dict) and name in options:
            value = options.pop(name)
            if value not in neutral:
                tell(f"{section}.{name} {shown(value)}: has no equal here and is not used")
    for section, name in (*_IMPLIED, ("validation", "reference_downscale_factor")):
        if isinstance(found.get(section), dict):
            found[section].pop(name, None)


def _precision(found: Values) -> None:
    options = found.get("checkpoints")
    if isinstance(options, dict) and "precision" in options:
        value = options.pop("precision")
        options["lora_dtype"] = _PRECISIONS.get(value, value) if isinstance(value, str) else value


def _conditioning(strategy: Any, tell: Tell) -> Values:
    """The section `conditioning` that a strategy means."""
    if not isinstance(strategy, dict):
        raise ConfigurationError([f"{STRATEGY}: expected a section, found {shown(strategy)}"])
    name = strategy.get("name")
    if not isinstance(name, str) or name not in _PARTS:
        raise ConfigurationError(
            [f"{STRATEGY}.name {shown(name)}: expected flexible, text_to_video or video_to_video"]
        )
    _require_known(STRATEGY, strategy, _PARTS[name])
    if name != "flexible":
        return _older(strategy)
    streams = {
        each: strategy[each] for each in ("video", "audio") if strategy.get(each) is not None
    }
    if not streams or not all(isinstance(each, dict) for each in streams.values()):
        raise ConfigurationError([f"{STRATEGY}: expected the sections video, audio or both"])
    found: Values = {"modalities": _modalities(streams), "first_frame_conditioning_p": 0.0}
    referenced: list[str] = []
    for stream, options in streams.items():
        _require_known(f"{STRATEGY}.{stream}", options, _STREAM_PARTS)
        if (folder := options.get("latents_dir", _FOLDERS[stream])) != _FOLDERS[stream]:
            tell(_other_folder(f"{STRATEGY}.{stream}.latents_dir", folder))
        kinds: list[Any] = []
        for condition in _listed(f"{STRATEGY}.{stream}.conditions", options.get("conditions")):
            kinds.append(condition.get("type") if isinstance(condition, dict) else None)
            if kinds.count(kinds[-1]) > 1:
                raise ConfigurationError(
                    [
                        f"{STRATEGY}.{stream}.conditions: {shown(kinds[-1])} stands there twice; keep one of them"
                    ]
                )
            if _condition(found, stream, condition, tell):
                referenced.append(stream)
    found["mode"] = f"reference_{'_'.join(referenced)}" if referenced else "none"
    return found


def _require_known(where: str, options: Values, known: set[str]) -> None:
    """Raises for options that would be lost: a word that is misspelt changes what is trained."""
    if unknown := [name for name in options if name not in known]:
        raise ConfigurationError(
            [
                f"{where}.{name}: no such option; expected {', '.join(sorted(known))}"
                for name in unknown
            ]
        )


def _listed(where: str, value: Any) -> list[Any]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise ConfigurationError([f"{where}: expected a list, found {shown(value)}"])
    return value


def _switch(where: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise ConfigurationError([f"{where}: must be true or false (given: {shown(value)})"])
    return value


def _older(strategy: Values) -> Values:
    """Of the strategies that came before `flexible`."""
    is_paired = strategy["name"] == "video_to_video"
    sound = _switch(f"{STRATEGY}.with_audio", strategy.get("with_audio", False))
    return {
        "mode": "reference_video" if is_paired else "none",
        "modalities": "joint" if sound else "video",
        "first_frame_conditioning_p": strategy.get("first_frame_conditioning_p", 0.1),
    }


def _modalities(streams: Values) -> str:
    learned = [
        stream
        for stream, options in streams.items()
        if _switch(f"{STRATEGY}.{stream}.is_generated", options.get("is_generated", True))
    ]
    if not learned:
        raise ConfigurationError(
            [f"{STRATEGY}: one of video and audio must have is_generated true"]
        )
    if len(streams) == 1:
        return learned[0]
    if len(learned) == 2:
        return "joint"
    return "audio_to_video" if learned == ["video"] else "video_to_audio"


def _condition(found: Values, stream: str, condition: Any, tell: Tell) -> bool:
    """Adds a condition of a stream's list; returns whether it is a reference."""
    where = f"{STRATEGY}.{stream}.conditions"
    kind = condition.get("type") if isinstance(condition, dict) else None
    probability = condition.get("probability", 1.0) if kind else 1.0
    of = "audio_" if stream == "audio" else ""
    if kind == "reference":
        if probability != 1:
            tell(f"{where} reference, probability {shown(probability)}: here every sample has it")
        if (folder := condition.get("latents_dir", _REFERENCES[stream])) != _REFERENCES[stream]:
            tell(_other_folder(f"{where} reference, latents_dir", folder))
        return True
    if kind in ("prefix", "suffix"):
        found[f"{of}{kind}_conditioning_p"] = probability
        length = f"{of}{kind}_{'latents' if of else 'frames'}"
        found[length] = condition.get("temporal_boundary", 1)
    elif kind == "mask":
        found[f"{of}mask_conditioning_p"] = probability
        if (folder := condition.get("mask_dir", _MASKS[stream])) != _MASKS[stream]:
            tell(_other_folder(f"{where} mask, mask_dir", folder))
    elif kind in ("first_frame", "spatial_crop") and stream == "video":
        found[f"{kind}_conditioning_p"] = probability
        if kind == "spatial_crop":
            region = shown(condition.get("spatial_region"))
            tell(
                f"{where} spatial_crop, spatial_region {region}: here the rectangle has the picture's shape and a "
                "place of its own in each sample; conditioning.spatial_crop_share is its share of the picture"
            )
    else:
        raise ConfigurationError([f"{where}: {shown(condition)} is no condition of {stream}"])
    return False


def _other_folder(where: str, folder: Any) -> str:
    return f"{where} {shown(folder)}: has no equal here; preprocessing reads folders of the usual names"


def _samples(found: Values, conditioning: Values, tell: Tell) -> None:
    """`validation.samples` as prompts, and what each is given as lists of paths."""
    validation = found.get("validation")
    if not isinstance(validation, dict) or not isinstance(validation.get("samples"), list):
        return
    samples = validation.pop("samples")
    if not all(isinstance(each, dict) for each in samples):
        raise ConfigurationError(["validation.samples: expected a prompt and conditions of each"])
    validation["prompts"] = [each.get("prompt") for each in samples]
    for name in ("video_dims", "seed"):
        if any(each.get(name) is not None for each in samples):
            tell(f"validation.samples, {name}: here all samples have that of the section")
    media: dict[str, list[Any]] = {}
    for each in samples:
        for condition in _listed("validation.samples, conditions", each.get("conditions")):
            for name, path in _given(condition, tell):
                media.setdefault(name, []).append(path)
    for name, paths in media.items():
        if len(paths) == len(samples):
            validation[name] = paths
        else:
            tell(
                f"validation.samples: {len(paths)} of {len(samples)} have {name}; here all need them"
            )


def _given(condition: Any, tell: Tell) -> list[tuple[str, Any]]:
    """Our options and paths for a condition of a sample."""
    kind = condition.get("type") if isinstance(condition, dict) else None
    if kind == "first_frame":
        return [("images", condition.get("image_or_video"))]
    if kind == "audio_to_video":
        return [("audios", condition.get("audio"))]
    if kind == "video_to_audio":
        return [("videos", condition.get("video"))]
    if kind == "reference":
        if condition.get("include_in_output"):
            tell("validation.samples, include_in_output: has no equal here and is not used")
        return [
            (f"reference_{stream}s", condition[stream])
            for stream in ("video", "audio")
            if condition.get(stream)
        ]
    tell(f"validation.samples, condition {shown(kind)}: samples here are not given it")
    return []


def _guidance(validation: Values, modalities: str) -> None:
    """Scales of each modality as one scale, and that of the sound beside it."""
    is_sound = modalities in ("audio", "video_to_audio")
    video, audio = (validation.pop(f"{each}_cfg_scale", None) for each in ("video", "audio"))
    whole, beside = (audio, None) if is_sound else (video, audio)
    if whole is not None:
        validation["guidance_scale"] = whole
    if beside is not None and modalities == "joint":
        validation["audio_guidance_scale"] = beside
    video, audio = (validation.pop(f"{each}_stg_scale", None) for each in ("video", "audio"))
    scale = audio if is_sound else video
    if scale is not None:
        validation["stg_scale"] = scale
        if not is_sound and not audio:
            validation["stg_mode"] = "stg_v"
