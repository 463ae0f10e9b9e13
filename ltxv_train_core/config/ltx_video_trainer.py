"""The same configuration in the words of LTX-Video-Trainer's YAML files.

Its files are read as they are. What is written is one of its files: it has its names for all that it
knows too, and it refuses any other key. Options of this trainer alone therefore stand in comments below
a line `# ltxv_train:`, each behind `#|`, and only where they aren't the default. A key `ltxv_train` with
the same in it is read as well.

    theirs                                          ours
    wandb.enabled                                   trackers.wandb
    wandb.project, entity, tags, ...                trackers.project, entity, tags, ...
    scheduler_params T_0 (steps of a cycle)         cycles (steps / T_0)
    timestep_sampling_params min_value, max_value   min, max
    mixed_precision_mode null, or a bare no         "no"
    quantization "no_change", or "none"             null
"""

import math
from typing import Any

from ..errors import ConfigurationError, cut, shown

Values = dict[str, Any]

OWN_KEY = "ltxv_train"
_COMMENTS_BEGIN, _COMMENT = f"# {OWN_KEY}:", "#|"
KNOWN: dict[str, tuple[str, ...]] = {
    "model": ("model_source", "training_mode", "load_checkpoint"),
    "lora": ("rank", "alpha", "dropout", "target_modules"),
    "conditioning": ("mode", "first_frame_conditioning_p", "reference_latents_dir"),
    "optimization": (
        "learning_rate",
        "steps",
        "batch_size",
        "gradient_accumulation_steps",
        "max_grad_norm",
        "optimizer_type",
        "scheduler_type",
        "scheduler_params",
        "enable_gradient_checkpointing",
    ),
    "acceleration": (
        "mixed_precision_mode",
        "quantization",
        "load_text_encoder_in_8bit",
        "compile_with_inductor",
        "compilation_mode",
    ),
    "data": ("preprocessed_data_root", "num_dataloader_workers"),
    "validation": (
        "prompts",
        "negative_prompt",
        "images",
        "reference_videos",
        "video_dims",
        "seed",
        "inference_steps",
        "interval",
        "videos_per_prompt",
        "guidance_scale",
        "skip_initial_validation",
    ),
    "checkpoints": ("interval", "keep_last_n"),
    "flow_matching": ("timestep_sampling_mode", "timestep_sampling_params"),
    "hub": ("push_to_hub", "hub_model_id"),
    "trackers": ("wandb", "project", "entity", "tags", "log_validation_videos"),
}
TOP_LEVEL = ("seed", "output_dir")
KNOWN_PARAMS = {
    "scheduler_params": {"start_factor", "end_factor", "eta_min", "T_0", "power"},
    "timestep_sampling_params": {"min_value", "max_value", "std"},
}
DEFAULT_STEPS = 3000


def canonical(path: list[str]) -> list[str]:
    """The path of an option in our words."""
    if path[:1] == [OWN_KEY]:
        path = path[1:]
    if path[:1] == ["wandb"]:
        path = ["trackers", *("wandb" if name == "enabled" else name for name in path[1:])]
    return path


def read(document: Values, own: Values | None = None) -> Values:
    """A document in our words: sections of options.

    Args:
        own: what stands in its comments.

    Raises:
        ConfigurationError: for an option that is given twice.
    """
    found: Values = {}
    twice: list[str] = []
    _put_all({key: value for key, value in document.items() if key != OWN_KEY}, found, twice)
    for part in (document.get(OWN_KEY), own):
        if isinstance(part, dict):
            _put_all(part, found, twice)
        elif part is not None:
            twice.append(f"{OWN_KEY}: expected sections, found {shown(part)}")
    if twice:
        raise ConfigurationError(twice)
    return found


def commented(text: str) -> str:
    """YAML text as comments that `uncommented` finds."""
    lines = "".join(f"{_COMMENT} {line}\n" for line in text.splitlines())
    return (
        f"{_COMMENTS_BEGIN} options that LTX-Video-Trainer doesn't know; they count here\n{lines}"
    )


def uncommented(text: str) -> str:
    """The options in the comments of a text, on the lines where they stand; all others are empty."""
    inside, lines = False, []
    for line in text.replace("\r\n", "\n").split("\n"):
        is_option = inside and line.startswith(_COMMENT)
        lines.append(line.removeprefix(_COMMENT).removeprefix(" ") if is_option else "")
        inside = is_option or line.startswith(_COMMENTS_BEGIN)
    return "\n".join(lines)


def settle(values: Values) -> Values:
    """Brings option values that are written another way into our words."""
    acceleration = values.get("acceleration")
    if isinstance(acceleration, dict):
        if acceleration.get("mixed_precision_mode", "no") in (None, False):  # a bare no in YAML
            acceleration["mixed_precision_mode"] = "no"
        if acceleration.get("quantization") in ("no_change", "none"):
            acceleration["quantization"] = None
    optimization = values.get("optimization")
    if isinstance(optimization, dict) and isinstance(optimization.get("scheduler_params"), dict):
        optimization["scheduler_params"] = _our_schedule(
            optimization["scheduler_params"], _scheduled_steps(optimization)
        )
    flow = values.get("flow_matching")
    if isinstance(flow, dict) and isinstance(flow.get("timestep_sampling_params"), dict):
        names = {"min_value": "min", "max_value": "max"}
        params = flow["timestep_sampling_params"]
        flow["timestep_sampling_params"] = {names.get(k, k): v for k, v in params.items()}
    return values


def write(values: Values, defaults: Values) -> tuple[Values, Values]:
    """A configuration in LTX-Video-Trainer's words, and the options that it doesn't know.

    Args:
        values: sections of options, in our words.
        defaults: the same of a configuration that only has its data.

    Returns:
        its document, and sections of the other options where they aren't the default.
    """
    document: Values = {}
    own: Values = {
        name: value
        for name, value in values.items()
        if name not in (*KNOWN, *TOP_LEVEL) and value != defaults[name]
    }
    for section, known in KNOWN.items():
        given = _their_params(values[section])
        document[section] = {name: given[name] for name in known}
        rest = {
            name: value
            for name, value in given.items()
            if name not in known and value != defaults[section].get(name)
        }
        for name in KNOWN_PARAMS.keys() & given.keys():
            params = given[name]
            document[section][name] = {k: v for k, v in params.items() if k in KNOWN_PARAMS[name]}
            if ours := {k: v for k, v in params.items() if k not in KNOWN_PARAMS[name]}:
                rest[name] = ours
        if rest:
            own[section] = rest
    document["wandb"] = {
        "enabled" if name == "wandb" else name: value
        for name, value in document.pop("trackers").items()
    }
    document |= {name: values[name] for name in TOP_LEVEL}
    return document, own


def _put_all(source: Values, found: Values, twice: list[str]) -> None:
    for key, value in source.items():
        section = canonical([str(key)])[0]
        if isinstance(value, dict):
            target = found.setdefault(section, {})
            for name, option in value.items():
                last = canonical([str(key), str(name)])[-1]
                _put(f"{section}.{last}", target, last, option, twice)
        elif value is not None or section not in KNOWN:
            _put(section, found, section, value, twice)


def _put(path: str, target: Any, name: str, value: Any, twice: list[str]) -> None:
    if not isinstance(target, dict):
        twice.append(f"{cut(path)}: given twice, once outside of a section")
    elif isinstance(target.get(name), dict) and isinstance(value, dict):
        target[name] = target[name] | value
    elif name in target:
        twice.append(f"{cut(path)}: given twice, {shown(target[name])} and {shown(value)}")
    else:
        target[name] = value


def _scheduled_steps(optimization: Values) -> float:
    """The steps that the schedule has, after the warm-up; 0 where they can't be known."""
    try:
        steps = optimization.get("steps", DEFAULT_STEPS)
        return float(steps) - float(optimization.get("warmup_steps", 0))
    except (TypeError, ValueError, OverflowError):
        return 0


def _our_schedule(params: Values, steps: float) -> Values:
    """`T_0` counts the steps of a cycle, `cycles` the cycles of a run."""
    params = dict(params)
    if params.get("T_mult") == 1:
        del params["T_mult"]
    length = params.get("T_0")
    if "cycles" not in params and isinstance(length, int | float) and 0 < length < math.inf:
        del params["T_0"]
        params["cycles"] = steps / length
    return params


def _their_params(options: Values) -> Values:
    given = dict(options)
    if "timestep_sampling_params" in given:
        names = {"min": "min_value", "max": "max_value"}
        params = given["timestep_sampling_params"]
        given["timestep_sampling_params"] = {names.get(k, k): v for k, v in params.items()}
    if cycles := given.get("scheduler_params", {}).get("cycles"):
        params, steps = dict(given["scheduler_params"]), _scheduled_steps(given)
        length = round(steps / cycles)
        if length >= 1 and steps / length == cycles:
            del params["cycles"]
            given["scheduler_params"] = {"T_0": length, **params}
    return given
