"""The VAE and the text encoder of the base model, in the precision that is asked for."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import torch

from ..config import PreprocessSettings
from ..errors import ConfigurationError, ModelError, cut
from ..events import Reporter, StopSignal, ignore
from ..families.model import lacks_decoder
from ..families.names import AUDIO_VAE, TEXT_ENCODER
from ..families.open import Model, open_model
from ..models.device import default_device
from ..models.memory.quantize import eight_bit_problem
from ..models.precision import text_encoder_dtype, vae_dtype
from .encoders import (
    FEATURES,
    AudioEncoder,
    CaptionEncoder,
    Encoder,
    Encoders,
    EncoderSource,
    VideoEncoder,
    encoder_parts,
    given_encoders,
)


def find_encoders(
    settings: PreprocessSettings,
    given: Mapping[str, EncoderSource[object]],
    report: Reporter = ignore,
    stop: StopSignal | None = None,
) -> Encoders:
    """Those that are given, by part, and of the base model those that aren't.

    Args:
        report, stop: of downloads.

    Raises:
        ConfigurationError: this machine can't run a text encoder in 8 bit.
        ModelError: there is no such model, or what is given is of another family.
    """
    if whole := given_encoders(given):
        return whole
    _require_one_family(given)
    model = open_model(settings.model_source, report=report, stop=stop, **settings.part_sources())
    for name, source in given.items():
        _require_of_model(name, source, model)
    parts = {
        name: _finished(model, given[name], settings)
        if name in given
        else _encoder_of(model, name, settings)
        for name in encoder_parts(model.family)
    }
    return Encoders(model.family, parts)


def _require_one_family(given: Mapping[str, EncoderSource[object]]) -> None:
    """Raises `ModelError`, before a model is downloaded."""
    of_families = {name: source.family for name, source in given.items() if source.family}
    if len(set(of_families.values())) > 1:
        told = ", ".join(
            f"the {_words(name)} is {family}'s" for name, family in of_families.items()
        )
        raise ModelError(f"{told}: connect parts of one model")


def _require_of_model(name: str, source: EncoderSource[object], model: Model) -> None:
    """Raises `ModelError` for what a model of another family or generation reads."""
    if source.family not in (None, model.family.name):
        raise ModelError(
            f"{name}: is one of {source.family}, and {cut(model.name)} is a model of "
            f"{model.family.name}"
        )
    generation = model.facts.generation
    if None not in (source.generation, generation) and source.generation != generation:
        raise ModelError(
            f"{name}: is one of {source.generation}, and {cut(model.name)} is an {generation}, which needs "
            f"{model.facts.text_encoder}"
        )


def _words(part: str) -> str:
    return part.replace("_", " ").replace("vae", "VAE")


def _finished(
    model: Model, source: EncoderSource[Any], settings: PreprocessSettings
) -> EncoderSource[Any]:
    """What is given, with the part of the model behind it that it needs."""
    if source.finished_by is None:
        return source
    part, device = model.part(source.finished_by), default_device()
    dtype = _dtype(settings.text_encoder_dtype, device, text_encoder_dtype)

    def load() -> CaptionEncoder:
        return _FinishedCaptions(source.load(), part.load(dtype).to(device))

    identity = f"{source.identity} {part.content} {dtype}"
    return replace(source, identity=identity, load=load, require=part.require, content=part.content)


class _FinishedCaptions:
    """A text encoder whose features go through a part of the model.

    What comes out stays in that part's precision: it is the larger half of a data set of LTX-2.
    """

    def __init__(self, encoder: CaptionEncoder, part: Any):
        self._encoder, self._part = encoder, part

    def encode(self, prompts: list[str]) -> list[dict[str, torch.Tensor]]:
        return [
            {name: text.cpu() for name, text in self._part.finish(each[FEATURES]).items()}
            for each in self._encoder.encode(prompts)
        ]


def _encoder_of(model: Model, name: str, settings: PreprocessSettings) -> EncoderSource[object]:
    if name == TEXT_ENCODER:
        return _text_encoder_of(model, settings)
    if name == AUDIO_VAE:
        return _audio_vae_of(model)
    return _vae_of(model, name, settings)


def _vae_of(model: Model, name: str, settings: PreprocessSettings) -> EncoderSource[VideoEncoder]:
    device = default_device()
    dtype = _dtype(settings.vae_dtype, device, vae_dtype)
    if settings.verify_clips and (problem := lacks_decoder(model.part(name))):
        raise ConfigurationError([f"verify_clips {settings.verify_clips}: {problem}"])

    def load() -> VideoEncoder:
        vae = model.load_vae(dtype, name)
        if settings.vae_tile_px:
            vae.in_tiles(settings.vae_tile_px)
        return vae.to(device)

    return _source(model, name, str(dtype), load)


def _audio_vae_of(model: Model) -> EncoderSource[AudioEncoder]:
    """Always in float32: it is small."""

    def load() -> AudioEncoder:
        return model.load_audio_vae().to(default_device())

    return _source(model, AUDIO_VAE, str(torch.float32), load)


def _text_encoder_of(model: Model, settings: PreprocessSettings) -> EncoderSource[CaptionEncoder]:
    device = default_device()
    dtype = _dtype(settings.text_encoder_dtype, device, text_encoder_dtype)
    in_4bit = settings.load_text_encoder_in_4bit
    in_8bit = settings.load_text_encoder_in_8bit and not in_4bit
    if in_8bit and (problem := eight_bit_problem(device)):
        raise ConfigurationError([problem.removeprefix("acceleration.")])

    def load() -> CaptionEncoder:
        encoder = model.load_text_encoder(dtype)
        if in_4bit:
            encoder.in_four_bits()
        return (encoder.in_eight_bits() if in_8bit else encoder).to(device)

    precision = "4bit" if in_4bit else "8bit" if in_8bit else str(dtype)
    return _source(model, TEXT_ENCODER, precision, load)


def _source(
    model: Model, name: str, precision: str, load: Callable[[], Encoder]
) -> EncoderSource[Encoder]:
    """Named by the part's weights alone, where they are known: another transformer changes nothing."""
    part = model.part(name)
    content = part.content
    former = f"{model.identity} {precision}"
    made_by = getattr(part, "encoding", content)
    identity = former if made_by is None else f"{made_by} {precision}"
    return EncoderSource(
        identity, load, partial(model.require, name), content, former, model.family.name
    )


def _dtype(
    name: str, device: torch.device, usual: Callable[[torch.device], torch.dtype]
) -> torch.dtype:
    if name == "auto":
        return usual(device)
    result: torch.dtype = getattr(torch, name)
    return result
