"""Records which encoders made a data set. An unchanged data set then needs no model.

Importing the models' code takes seconds, and opening a model may ask the network. Where the options
that name the model are the same and its files on this machine have the same sizes and times, its
encoders are taken to be those that an index of the folder names. Before anything is encoded, the model itself is
asked.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from ..config import PART_SOURCES, PreprocessSettings
from ..datasets.encoded_with import content_key
from ..datasets.index import indexes
from ..families.names import TEXT_ENCODER, VAE
from ..families.registry import FAMILIES, family_named
from ..storage.atomic import sha256_json
from ..storage.paths import as_path
from .encoders import Encoders, EncoderSource, encoder_parts

MODEL_SOURCES = ("model_source", "vae_source", "text_encoder_source")
LATER_SOURCES = tuple(name for name in PART_SOURCES if name not in MODEL_SOURCES)
MODEL_OPTIONS = (*MODEL_SOURCES, "vae_dtype", "text_encoder_dtype", "load_text_encoder_in_8bit")
LATER_OPTIONS = (*LATER_SOURCES, "load_text_encoder_in_4bit")
"""They count where they are used: data sets of earlier versions stay known."""


def model_stamp(settings: PreprocessSettings, given: Mapping[str, EncoderSource[object]]) -> str:
    """Changes with the options that name the encoders, with files that they name, and with which
    encoders are given in place of the model's."""
    options = {name: getattr(settings, name) for name in MODEL_OPTIONS}
    options |= {name: used for name in LATER_OPTIONS if (used := getattr(settings, name))}
    paths = [as_path(options[n]) for n in (*MODEL_SOURCES, *LATER_SOURCES) if options.get(n)]
    states = [_state(path) for path in (*paths, *(family.shipped for family in FAMILIES))]
    others = sorted(given.keys() - {VAE, TEXT_ENCODER})
    return sha256_json([options, states, VAE in given, TEXT_ENCODER in given, *others])


def remembered_encoders(
    settings: PreprocessSettings, given: Mapping[str, EncoderSource[object]]
) -> Encoders | None:
    """Those that are given and, of a model that is as it was, those that made the data set.

    What is remembered can't be loaded. None where nothing is, or where everything is to be looked
    at again.
    """
    found = [] if settings.recheck_files else indexes(settings.root)
    stamp = model_stamp(settings, given)
    index = next((index for index in found if index.model.get("stamp") == stamp), None)
    if index is None:
        return None
    family, model = family_named(index.family), index.model
    parts = {
        name: given.get(name)
        or EncoderSource(model[name], _can_not_load, content=model.get(content_key(name)))
        for name in encoder_parts(family)
    }
    return Encoders(family, parts)


def _can_not_load() -> NoReturn:
    raise AssertionError("a remembered encoder only names what it made")


def _state(path: Path) -> list[Any]:
    """Sizes and times of a file, or of the files in a folder and its folders."""
    if path.is_file():
        return [path.stat().st_size, path.stat().st_mtime_ns]
    files = sorted((*path.glob("*"), *path.glob("*/*"))) if path.is_dir() else []
    return [
        (file.relative_to(path).as_posix(), file.stat().st_size, file.stat().st_mtime_ns)
        for file in files
        if file.is_file()
    ]
