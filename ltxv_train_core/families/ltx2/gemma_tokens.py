"""Gemma's tokenizer: in a text encoder's file, or beside it. Nothing is downloaded.

A file of Gemma 3 holds a model of sentencepiece, one of Gemma 4 a `tokenizer.json`. A prompt is not put into
the form of a conversation, as in ComfyUI; the first token stands before it.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import ModelError, cut
from ...storage.reading import is_regular, open_regular
from ...storage.safetensors_header import Header

if TYPE_CHECKING:
    from .text_encoder import Tokenize

SENTENCES, JSON = "spiece_model", "tokenizer_json"
IN_FILES = (SENTENCES, JSON)
_BESIDE = {"tokenizer.json": JSON, "tokenizer.model": SENTENCES, "spiece.model": SENTENCES}
_FIRST = "<bos>"


def find_tokenizer(header: Header) -> tuple[str, Path] | None:
    """Which kind of tokenizer a text encoder has, and the file that holds it; None where there is none.

    Looked at: the file itself, its folder, and folders `tokenizer` in it and beside it.
    """
    for name in IN_FILES:
        if name in header.tensors:
            return name, header.path
    folder = header.path.parent
    for place in (folder, folder / "tokenizer", folder.parent / "tokenizer"):
        for name, kind in _BESIDE.items():
            if is_regular(place / name):
                return kind, place / name
    return None


def load_tokenizer(header: Header) -> "Tokenize":
    """Texts to ids, the first token before them.

    Raises:
        ModelError: there is none, or it can't be read.
    """
    found = require_tokenizer(header)
    kind, path = found
    try:
        content = _content(header, kind) if path == header.path else path.read_bytes()
        return _with_sentences(content) if kind == SENTENCES else _with_json(content)
    except Exception as error:  # libraries raise what their code happens to meet
        reason = cut(f"{type(error).__name__}: {error}", 200)
        raise ModelError(f"{path}: holds no tokenizer that can be loaded ({reason})") from error


def require_tokenizer(header: Header) -> tuple[str, Path]:
    """Raises `ModelError` where there is none."""
    found = find_tokenizer(header)
    if found is None:
        raise ModelError(
            f"{header.path}: has no tokenizer: put tokenizer.json (or tokenizer.model) of the same Gemma beside it"
        )
    return found


def _content(header: Header, name: str) -> bytes:
    info = header.tensors[name]
    with open_regular(header.path) as file:
        file.seek(info.start)
        return file.read(info.end - info.start)


def _with_sentences(content: bytes) -> "Tokenize":
    from sentencepiece import SentencePieceProcessor

    model: Any = SentencePieceProcessor(model_proto=content)

    def tokenize(text: str) -> list[int]:
        return [model.bos_id(), *model.encode(text)]

    return tokenize


def _with_json(content: bytes) -> "Tokenize":
    from tokenizers import Tokenizer

    model: Any = Tokenizer.from_str(content.decode("utf-8"))
    first = model.token_to_id(_FIRST)
    if first is None:
        raise ValueError(f"it has no token {_FIRST}")

    def tokenize(text: str) -> list[int]:
        return [first, *model.encode(text, add_special_tokens=False).ids]

    return tokenize
