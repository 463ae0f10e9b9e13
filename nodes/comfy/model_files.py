"""Lists of ComfyUI's model files, beside the options that take a model by its name or path."""

import difflib
from collections.abc import Iterable, Mapping
from pathlib import Path

import folder_paths
from comfy_api.latest import io

from ...ltxv_train_core.config import ModelConfig, Option
from ...ltxv_train_core.config.widgets import NONE
from ...ltxv_train_core.models.sources.allowed import require_allowed
from ...ltxv_train_core.models.sources.known_folders import look_in
from ...ltxv_train_core.storage.paths import as_path
from .schema import advanced
from .widget_problems import WidgetProblem

# For each option: the widget beside it, and the folders whose files it lists.
_FILES = {
    "model_source": ("model_file", ("checkpoints", "diffusion_models")),
    "text_encoder_source": ("text_encoder_file", ("text_encoders",)),
    "vae_source": ("vae_file", ("vae", "checkpoints")),
    "audio_vae_source": ("audio_vae_file", ("vae", "checkpoints")),
    "text_projection_source": ("text_projection_file", ("text_encoders", "checkpoints")),
}
# Lists stand behind the last of their options: workflows store values by position, and options that come later
# stand behind the lists.
_LISTS_BEHIND = {
    "vae_source": ("model_source", "text_encoder_source", "vae_source"),
    "text_projection_source": ("audio_vae_source", "text_projection_source"),
}
_ADVANCED = ("vae_source", "audio_vae_source", "text_projection_source")
_NEAR = 3
_SUFFIXES = (".safetensors", ".sft")


def inputs_with_lists(described: Iterable[Option], inputs: list[io.Input]) -> list[io.Input]:
    """The widgets of options, with the lists of files in their place."""
    return [
        each
        for option, widget in zip(described, inputs, strict=True)
        for each in (widget, *lists_behind(option.name))
    ]


def with_files(values: Mapping[str, object]) -> dict[str, object]:
    """Option values in which a chosen file stands for what is written, and the lists are gone.

    What is written is taken as the name of a listed file where it is one.

    Raises:
        NotAllowedError: a model may not be read or downloaded on this machine.
    """
    chosen = dict(values)
    for option, (widget, folders) in _FILES.items():
        file = chosen.pop(widget, NONE)
        if file not in (None, NONE):
            chosen[option] = _path(str(file))
        elif isinstance(written := chosen.get(option), str):
            chosen[option] = _found(written.strip(), folders)
    sources = [chosen.get(option) for option in _FILES]
    require_allowed(source for source in sources if isinstance(source, str))
    return chosen


def with_model(values: Mapping[str, object], section: ModelConfig) -> dict[str, object]:
    """A node's values with the model of a section in place of its own."""
    lists = {widget for widget, _ in _FILES.values()}
    others = {name: value for name, value in values.items() if name not in lists}
    return others | {option: getattr(section, option) for option in _FILES}


def with_listed_files(section: ModelConfig) -> ModelConfig:
    """A model section in which names of listed files are their paths."""
    return section.model_copy(update=with_files({o: getattr(section, o) for o in _FILES}))


def chosen_file_problems(written: Mapping[str, object]) -> list[WidgetProblem]:
    """Files that are chosen from the lists and don't exist."""
    return [
        WidgetProblem(widget, _no_such_file(file, folders))
        for widget, folders in _FILES.values()
        if isinstance(file := written.get(widget), str)
        and file != NONE
        and _full_path(file) is None
    ]


def model_problems(written: Mapping[str, object]) -> list[WidgetProblem]:
    """Names that lead to no model. Nothing is loaded or downloaded."""
    found: list[WidgetProblem] = []
    sources: dict[str, str] = {}
    for option, (widget, folders) in _FILES.items():
        name = written.get(option)
        is_chosen = written.get(widget, NONE) != NONE
        if isinstance(name, str) and name.strip() and not is_chosen:
            source = sources[option] = _found(name.strip(), folders)
            if _is_file_name(source) and not as_path(source).exists():
                found.append(WidgetProblem(option, _no_such_file(source, folders)))
    if found or "model_source" not in sources:
        return found
    from ...ltxv_train_core.families.open import local_problems

    return [WidgetProblem(option, line) for option, line in local_problems(**sources).items()]


def know_comfyui_tokenizer() -> None:
    """T5-XXL's tokenizer comes with ComfyUI: text encoder files need no other."""
    look_in(Path(folder_paths.__file__).parent / "comfy" / "text_encoders" / "t5_tokenizer")


def files_in(folders: tuple[str, ...]) -> list[str]:
    """Files of several of ComfyUI's folders, each with its folder before it."""
    return [
        f"{folder}/{name}"
        for folder in folders
        for name in folder_paths.get_filename_list(folder)
        if name.endswith(_SUFFIXES)
    ]


def lists_behind(option: str) -> list[io.Input]:
    """The lists of files that stand behind an option's widget."""
    lists = _file_lists() if option in _LISTS_BEHIND else {}
    return [lists[name] for name in _LISTS_BEHIND.get(option, ())]


def _file_lists() -> dict[str, io.Input]:
    """By the option that each stands for."""
    what = {
        "model_source": "the base model",
        "text_encoder_source": "the text encoder (T5-XXL, of LTX-2 Gemma)",
        "vae_source": "the VAE",
        "audio_vae_source": "LTX-2's audio VAE",
        "text_projection_source": "LTX-2's text projection",
    }
    widgets = {
        option: io.Combo.Input(
            widget,
            options=[NONE, *files_in(folders)],
            default=NONE,
            tooltip=f"A file of ComfyUI's model folders as {what[option]}, instead of "
            f"{option}. none: {option} is used.",
        )
        for option, (widget, folders) in _FILES.items()
    }
    return {
        option: advanced(each) if option in _ADVANCED else each for option, each in widgets.items()
    }


def _full_path(file: str) -> str | None:
    folder, _, name = file.partition("/")
    path: str | None = folder_paths.get_full_path(folder, name)
    return path


def _path(file: str) -> str:
    path = _full_path(file)
    if path is None:
        raise FileNotFoundError(f"{file}: there is no such file in ComfyUI's model folders")
    return path


def _found(text: str, folders: tuple[str, ...]) -> str:
    """The path of a listed file that a text names, or the text."""
    if not _is_file_name(text) or as_path(text).is_file():
        return text
    paths = (folder_paths.get_full_path(folder, text) for folder in folders)
    return next((path for path in (*paths, _full_path(text)) if path), text)


def _is_file_name(text: str) -> bool:
    """Whether a text can name a listed file. ComfyUI looks for an absolute path below its folders, and fails
    for one of another drive."""
    return text.endswith(_SUFFIXES) and not as_path(text).is_absolute()


def _no_such_file(file: str, folders: tuple[str, ...]) -> str:
    """A sentence that names the listed files that are called most like it."""
    names = files_in(folders)
    places = f"models/{' and models/'.join(folders)}"
    if not names:
        return f"there is no {file}; {places} hold no such files"
    near = difflib.get_close_matches(file, names, n=_NEAR, cutoff=0.0)
    more = f" ({places} hold {len(names)})" if names[_NEAR:] else ""
    return f"there is no {file}; choose {', '.join(near)}{more}"
