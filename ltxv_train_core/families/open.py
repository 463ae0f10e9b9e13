"""Finds a base model, whatever its family: one that ships, a version, a file, a folder, a repository."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

from ..config.redact import is_path
from ..errors import LTXVTrainError, ModelError, shown
from ..events import Reporter, StopSignal, ignore
from ..models.sources.allowed import REPOSITORY, readable_path
from ..models.sources.hub_download import is_downloaded, require_reachable
from ..permissions import NotAllowedError, no_such_path, policy
from .family import Family, Sampling
from .ltx2 import opening as ltx2_opening
from .ltxv import opening as ltxv_opening
from .ltxv.miniature.shipped import MINIATURE
from .model import Model, Part
from .names import AUDIO_VAE, TEXT_ENCODER, TEXT_PROJECTION, VAE
from .opener import Opener, Place
from .registry import FAMILIES, family_of_source, published_version

__all__ = [
    "MINIATURE",
    "Model",
    "ModelDescription",
    "describe_model",
    "local_problems",
    "locate_model",
    "module_names",
    "must_be_downloaded",
    "open_model",
    "opener_of",
    "transformer_config",
]

OPENERS: dict[str, Opener] = {each.FAMILY.name: each for each in (ltxv_opening, ltx2_opening)}
"""By the family's name."""


def open_model(
    model_source: str,
    text_encoder_source: str | None = None,
    vae_source: str | None = None,
    report: Reporter = ignore,
    stop: StopSignal | None = None,
    *,
    audio_vae_source: str | None = None,
    text_projection_source: str | None = None,
) -> Model:
    """Finds a base model; loads nothing but its description.

    Args:
        model_source: the name of a model that ships, a version name, a file, a folder in the diffusers
            layout, or a Hugging Face repository in that layout.
        text_encoder_source: in place of the model's own: a file, a folder, a repository.
        vae_source: in place of the model's own: a VAE file, a folder, a repository.
        report, stop: of downloads, also of those when a part is loaded.
        audio_vae_source, text_projection_source: in place of the model's own: a file, a folder.

    Raises:
        ModelError: if there is no such model, or it is of no family that this program knows.
        NotAllowedError: a file may not be read, or nothing may be downloaded from a repository.
        Cancelled: when a download was stopped.
    """
    place = locate_model(model_source)
    opener = _opener(model_source, place)
    model = opener.open_place(model_source, place, report, stop)
    chosen: dict[str, Part] = {}
    if vae_source is not None:
        chosen[VAE] = opener.open_vae(vae_source, report, stop)
    if audio_vae_source is not None:
        chosen[AUDIO_VAE] = opener.open_audio_vae(audio_vae_source)
    if text_projection_source is not None:
        chosen[TEXT_PROJECTION] = opener.open_text_projection(text_projection_source)
    model = replace(model, chosen=chosen)
    if text_encoder_source is None:
        return model
    text = opener.open_text_encoder(text_encoder_source, model, report, stop)
    return replace(model, chosen={TEXT_ENCODER: text, **chosen})  # the first in `Model.identity`


def opener_of(model: Model) -> Opener:
    """Of the family that an open model is of."""
    return OPENERS[model.family.name]


def locate_model(model_source: str) -> Place:
    """Where a base model is.

    Raises:
        ModelError: if it can be nowhere. Nothing is downloaded to find out.
        NotAllowedError: it may not be read, or not be downloaded.
    """
    ship = [family.miniature for family in FAMILIES]
    if model_source in ship:
        return model_source
    path = readable_path(model_source)
    version = published_version(model_source)
    if version is not None and not path.exists():
        return version
    if path.exists():
        return path
    if is_path(model_source):
        raise ModelError(f"model_source {no_such_path(path, 'file or folder')}")
    if not REPOSITORY.fullmatch(model_source):
        versions = [name for family in FAMILIES for name in family.versions]
        raise ModelError(
            f"model_source {shown(model_source)}: expected {', '.join(ship)}, one of "
            f"{', '.join(versions)}, a checkpoint or transformer file (.safetensors), a folder in the "
            "diffusers layout (transformer, vae, text_encoder, tokenizer, model_index.json) or a Hugging "
            'Face repository "owner/name" in that layout'
        )
    policy().require_download(model_source)
    return model_source


def local_problems(
    model_source: str,
    text_encoder_source: str | None = None,
    vae_source: str | None = None,
    audio_vae_source: str | None = None,
    text_projection_source: str | None = None,
) -> dict[str, str]:
    """What is wrong with the names of a model's parts, and with the heads of those that are files here.

    Nothing is downloaded or loaded: what is published elsewhere counts as there, and so does what may not
    be read yet.

    Returns:
        by option: one sentence.
    """
    found: dict[str, str] = {}
    opener = next(iter(OPENERS.values()))

    def attempt(option: str, look: Callable[[], object]) -> None:
        try:
            look()
        except NotAllowedError:
            pass
        except LTXVTrainError as error:
            found[option] = str(error).removeprefix(f"{option} ")

    def look_at_model() -> None:
        nonlocal opener
        place = locate_model(model_source)
        opener = _opener(model_source, place)
        if isinstance(place, Path):
            opener.open_place(model_source, place, ignore, None)

    attempt("model_source", look_at_model)
    if text_encoder_source is not None:
        attempt(
            "text_encoder_source",
            lambda: opener.open_text_encoder(text_encoder_source, None, ignore, None),
        )
    if vae_source is not None:
        attempt("vae_source", lambda: opener.open_vae(vae_source, ignore, None))
    if audio_vae_source is not None:
        attempt("audio_vae_source", lambda: opener.open_audio_vae(audio_vae_source))
    if text_projection_source is not None:
        attempt(
            "text_projection_source", lambda: opener.open_text_projection(text_projection_source)
        )
    return found


def _opener(model_source: str, place: Place) -> Opener:
    """Of the family that a model is of: known by its name, or recognised from what is in it. Where no
    family does, the first one says why it is none."""
    family = family_of_source(model_source) if not isinstance(place, Path) else None
    if family is not None:
        return OPENERS[family.name]
    openers = list(OPENERS.values())
    if isinstance(place, Path) and len(openers) > 1:
        return next((each for each in openers if each.recognises(place)), openers[0])
    return openers[0]


def module_names(model_source: str) -> tuple[list[str], list[str]]:
    """Linear layers and other modules of a model's transformer, by diffusers' names.

    Nothing is downloaded: where no file tells, the family does, and where the number of blocks isn't known, it
    is that of the largest version. Where the family isn't known either, as of a file that isn't there, they are
    those of all families.
    """
    family: Family | None = None
    config = None
    try:
        place = locate_model(model_source)
        family = _opener(model_source, place).FAMILY
        if isinstance(place, Path) or place == family.miniature:
            names = open_model(model_source).transformer.module_names
            if names is not None:
                return names
        config = transformer_config(model_source)
    except LTXVTrainError:
        if family is None:  # reported where the model is opened
            found = [each.layers.module_names(None) for each in FAMILIES]
            linear, others = (
                list(dict.fromkeys(chain(*names))) for names in zip(*found, strict=True)
            )
            return linear, others
    blocks = config.get("num_layers") if config else None
    return family.layers.module_names(blocks if type(blocks) is int and blocks > 0 else None)


def transformer_config(model_source: str) -> Mapping[str, object] | None:
    """diffusers' configuration of a model's transformer; None for a repository that is no known version
    and isn't on this machine, and for a model whose description can't be read. Nothing is downloaded.

    Raises:
        ModelError: there is no such model.
    """
    place = locate_model(model_source)
    if not isinstance(place, Path | str):
        return place.transformer
    if isinstance(place, str):
        for family in FAMILIES:
            for version in family.versions.values():
                if version.repository == place and version.file is None:
                    return version.transformer
    return open_model(model_source).facts.transformer_config


@dataclass(frozen=True)
class ModelDescription:
    """What is known of a base model whose weights may be anywhere.

    Attributes:
        name: as the user gave it.
        config: diffusers' configuration of its transformer; None where that isn't known before a
            download.
        is_fp8: whether its transformer stays in 8 bit floating point when it is loaded.
        sampling: how it is meant to be sampled, where it is a published version by its name.
    """

    name: str
    family: Family
    config: Mapping[str, object] | None
    is_fp8: bool
    sampling: Sampling | None


def describe_model(model_source: str) -> ModelDescription:
    """What is known of a base model. Nothing is downloaded, no weights are read.

    Raises:
        ModelError: there is no such model.
        NotAllowedError: it may not be read, or not be downloaded.
    """
    place = locate_model(model_source)
    family = _opener(model_source, place).FAMILY
    version = family.versions.get(model_source)
    return ModelDescription(
        name=model_source,
        family=family,
        config=transformer_config(model_source),
        is_fp8=isinstance(place, Path) and open_model(model_source).facts.is_fp8,
        sampling=version.sampling if version else None,
    )


def must_be_downloaded(model_source: str) -> bool:
    """Whether nothing can be said of a model before it is downloaded.

    Raises:
        ModelError: when the Hub may not be asked.
    """
    place = locate_model(model_source)
    if isinstance(place, Path | str) or place.file is None:
        return False
    cached = is_downloaded(place.repository, file=place.file)
    require_reachable(place.repository, cached)
    return not cached
