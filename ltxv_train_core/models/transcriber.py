"""What is said in a sound, by a Whisper model through faster-whisper (CTranslate2). The package is optional.

Shapes: S samples.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError, LTXVTrainError, ModelError, cut, install_command, shown
from ..events import NeverStop, Progress, Reporter, StopSignal, ignore, raise_if_stopped
from .device import default_device
from .sources.allowed import folder_or_repository
from .sources.hub_download import TOP, download_folders

RATE = 16_000
"""Samples a second that Whisper hears."""
PACKAGE = "faster-whisper"
_FILES = ("model.bin", "config.json", "tokenizer.json")
"""Without the last one, faster-whisper would ask the Hub for another."""


class Transcriber:
    """A Whisper model on this machine."""

    def __init__(self, model: Any, name: str):
        self._model, self._name = model, name

    @classmethod
    def load(
        cls,
        model: str,
        precision: str = "auto",
        on_cpu: bool = False,
        report: Reporter = ignore,
        stop: StopSignal | None = None,
    ) -> "Transcriber":
        """Loads a model onto this machine's device; one of a repository is downloaded first.

        Args:
            model: a folder, or a Hugging Face repository.
            precision: auto, float32, float16 or int8.

        Raises:
            ModelError: faster-whisper is missing, or there is no such model, or it can't be loaded.
            NotAllowedError: the folder may not be read, or nothing may be downloaded from there.
            Cancelled: it was stopped; what was downloaded is kept.
        """
        require_package()
        told = "expected one with a Whisper model in CTranslate2's format (model.bin, config.json, tokenizer.json)"
        place = folder_or_repository(model, "transcription model", told)
        folder = place if isinstance(place, Path) else download_folders(place, TOP, report, stop)
        missing = [name for name in _FILES if not (folder / name).is_file()]
        if missing:
            raise ModelError(
                f"transcription model {shown(model)}: {' and '.join(missing)} is missing in {folder}; convert a model "
                f"of transformers with `ct2-transformers-converter --model FOLDER --output_dir OTHER "
                f"--copy_files tokenizer.json preprocessor_config.json`"
            )
        raise_if_stopped(stop or NeverStop())
        report(Progress("load transcription model", 0, 1, "model"))
        from faster_whisper import WhisperModel

        device = "cpu" if on_cpu or default_device().type != "cuda" else "cuda"
        form = "default" if precision == "auto" else precision
        try:
            loaded = WhisperModel(
                str(folder), device=device, compute_type=form, local_files_only=True
            )
        except Exception as error:  # CTranslate2 raises RuntimeError, ValueError and others
            raise _unusable(model, error) from error
        return cls(loaded, model)

    def transcribe(
        self, samples: NDArray[np.float32], language: str = "", stop: StopSignal | None = None
    ) -> str:
        """What is said in mono samples [S] at `RATE`, in one line; empty where nothing is.

        Raises:
            DataError: the model doesn't know the language.
            ModelError: the device can't run it.
            Cancelled: when it was stopped.
        """
        known = self._model.supported_languages
        if language and language not in known:
            raise DataError(
                f"language {shown(language)}: {shown(self._name)} knows {cut(', '.join(known), 300)}"
            )
        import ctranslate2

        ctranslate2.set_random_seed(0)  # where the likeliest words make no sense, it draws others
        texts = []
        try:
            for segment in self._segments(samples, language):
                raise_if_stopped(stop or NeverStop())
                texts.append(segment.text)
        except LTXVTrainError:
            raise
        except RuntimeError as error:
            raise _unusable(self._name, error) from error
        return " ".join("".join(texts).split())

    def _segments(self, samples: NDArray[np.float32], language: str) -> Iterator[Any]:
        segments, _ = self._model.transcribe(
            samples, language=language or None, condition_on_previous_text=False
        )
        yield from segments


def require_package() -> None:
    """Raises `ModelError` with the command that installs it, where faster-whisper is missing."""
    try:
        import faster_whisper  # noqa: F401
    except ImportError as error:
        raise ModelError(
            f"transcription needs {PACKAGE}: run `{install_command(PACKAGE)}` ({error})"
        ) from error


def _unusable(model: str, error: Exception) -> ModelError:
    return ModelError(
        f"transcription model {shown(model)}: can't be run ({cut(str(error), 200)}). If a CUDA library is missing, "
        "set on_cpu; if the number format isn't known, set precision to auto"
    )
