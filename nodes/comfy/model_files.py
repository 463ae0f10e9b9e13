"""Lists of ComfyUI's model files, beside the options that take a model by its name or path."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import folder_paths
from comfy_api.latest import io

from ...ltxv_train_core.config import ModelConfig, Option
from ...ltxv_train_core.config.widgets import NONE
from ...ltxv_train_core.models.sources.allowed import require_allowed
from ...ltxv_train_core.models.sources.known_folders import look_in
from ...ltxv_train_core.storage.paths import as_path

# For each option: the widget beside it, and the folders whose files it lists.
FILES = {
    "model_source": ("model_file", ("checkpoints", "diffusion_models")),
    "text_encoder_source": ("text_encoder_file", ("text_encoders",)),
    "vae_source": ("vae_file", ("vae", "checkpoints")),
}
# The lists stand behind this option: workflows store values by position, and options that come
# later stand behind the lists.
_LISTS_BEHIND = "vae_source"
_NEAR = 5
_SUFFIXES = (".safetensors", ".sft")


def inputs_with_lists(described: Iterable[Option], inputs: list[io.Input]) -> list[io.Input]:
    """The widgets of options, with the lists of files in their place."""
    names = [option.name for option in described]
    place = names.index(_LISTS_BEHIND) + 1
    return [*inputs[:place], *file_lists(), *inputs[place:]]


def with_files(values: Mapping[str, object]) -> dict[str, object]:
    """Option values in which a chosen file stands for what is written, and the lists are gone.

    What is written is taken as the name of a listed file where it is one.

    Raises:
        NotAllowedError: a model may not be read or downloaded on this machine.
    """
    chosen = dict(values)
    for option, (widget, folders) in FILES.items():
        file = chosen.pop(widget, NONE)
        if file not in (None, NONE):
            chosen[option] = _path(str(file))
        elif isinstance(written := chosen.get(option), str):
            chosen[option] = _found(written.strip(), folders)
    sources = [chosen.get(option) for option in FILES]
    require_allowed(source for source in sources if isinstance(source, str))
    return chosen


def with_listed_files(section: ModelConfig) -> ModelConfig:
    """A model section in which names of listed files are their paths."""
    return section.model_copy(update=with_files({o: getattr(section, o) for o in FILES}))


class ChoosesModelFiles(io.ComfyNode):
    """A node with the lists of `inputs_with_lists`."""

    @classmethod
    def validate_inputs(
        cls,
        model_file: str | None = None,
        text_encoder_file: str | None = None,
        vae_file: str | None = None,
    ) -> str | bool:
        """Refuses a chosen model file that doesn't exist."""
        return missing_files(
            model_file=model_file, text_encoder_file=text_encoder_file, vae_file=vae_file
        )


def missing_files(**given: str | None) -> str | bool:
    """The problems of chosen files that don't exist, one a line; True when all exist."""
    problems = [
        f"{widget}: there is no {given[widget]}; {_instead(folders)}"
        for widget, folders in FILES.values()
        if given.get(widget) not in (None, NONE) and _full_path(given[widget] or "") is None
    ]
    return "\n".join(problems) or True


def know_comfyui_tokenizer() -> None:
    """T5-XXL's tokenizer comes with ComfyUI: text encoder files need no other."""
    look_in(Path(folder_paths.__file__).parent / "comfy" / "text_encoders" / "t5_tokenizer")


def listed(folders: tuple[str, ...]) -> list[str]:
    """Files of several of ComfyUI's folders, each with its folder before it."""
    return [
        f"{folder}/{name}"
        for folder in folders
        for name in folder_paths.get_filename_list(folder)
        if name.endswith(_SUFFIXES)
    ]


def file_lists() -> list[io.Input]:
    """The lists of files: one beside each option that names a part of the model."""
    what = {
        "model_source": "the base model",
        "text_encoder_source": "the text encoder (T5-XXL)",
        "vae_source": "the VAE",
    }
    return [
        io.Combo.Input(
            widget,
            options=[NONE, *listed(folders)],
            default=NONE,
            tooltip=f"A file of ComfyUI's model folders as {what[option]}, instead of "
            f"{option}. none: {option} is used.",
        )
        for option, (widget, folders) in FILES.items()
    ]


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
    written = Path(text)
    # ComfyUI looks for an absolute path below its folders, and fails for one of another drive.
    if not text.endswith(_SUFFIXES) or written.is_absolute() or as_path(text).is_file():
        return text
    paths = (folder_paths.get_full_path(folder, text) for folder in folders)
    return next((path for path in (*paths, _full_path(text)) if path), text)


def _instead(folders: tuple[str, ...]) -> str:
    names = listed(folders)
    if not names:
        return f"models/{' and models/'.join(folders)} hold no such files"
    more = f" and {len(names) - _NEAR} more" if names[_NEAR:] else ""
    return f"choose none, or one of {', '.join(names[:_NEAR])}{more}"
