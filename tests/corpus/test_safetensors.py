"""Heads of safetensors files of any content, and `inspect` of any file."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ltxv_train_core.cli import main
from ltxv_train_core.families.inspect import as_text, inspect_file
from ltxv_train_core.storage.safetensors_header import read_header
from tests.corpus.judge import SECRET, Case, judge, parameters, seeded
from tests.corpus.tensor_files import entry, file_of, write_tensors

GOOD = {"__metadata__": {"a": "b"}, "x": entry(), "y": entry("F16", [2, 2], 8, 16)}
DATA = bytes(16)


def head(**changes: Any) -> bytes:
    return file_of(json.dumps(GOOD | changes), DATA)


def one(**changes: Any) -> bytes:
    """With something else said of the first tensor."""
    return head(x=entry() | changes)


BAD: dict[str, bytes] = {
    "empty": b"",
    "short": b"abc",
    "eight bytes": bytes(8),
    "text": b"hello, this is no model at all",
    "html": b"<!DOCTYPE html><html>Not found</html>",
    "git lfs": b"version https://git-lfs.github.com/spec/v1\noid sha256:abc\nsize 1\n",
    "zip": b"PK\x03\x04" + bytes(500),
    "secret": SECRET.encode() * 3,
    "length beyond": file_of("{}", b"", 10**6),
    "length of 2**63": file_of("{}", b"", 2**63),
    "length of 2**64": file_of("{}", b"", 2**64 - 1),
    "length short": file_of(json.dumps(GOOD), DATA, 5),
    "length 0": file_of(json.dumps(GOOD), DATA, 0),
    "list": file_of("[]"),
    "text head": file_of('"abc"'),
    "null": file_of("null"),
    "number": file_of("12"),
    "not json": file_of("{a}"),
    "not utf-8": file_of(b'{"\xff": 1}'),
    "utf-16": file_of(json.dumps(GOOD).encode("utf-16"), DATA),
    "deep": file_of("[" * 100_000),
    "deep objects": file_of('{"a":' * 100_000),
    "digits": file_of('{"x": ' + "9" * 5000 + "}"),
    "nan": file_of('{"x": NaN}'),
    "million entries": file_of("{" + ",".join(f'"{i}":1' for i in range(1_000_000)) + "}"),
    "million good entries": file_of(
        "{"
        + ",".join(
            f'"{i}":{{"dtype":"U8","shape":[1],"data_offsets":[{i},{i + 1}]}}'
            for i in range(150_000)
        )
        + "}",
        bytes(150_000),
    ),
    "million lists": file_of('{"x": [' + "[]," * 3_000_000 + "[]]}"),
    "large head": file_of('{"__metadata__": {"a": "' + "a" * 50_000_000 + '"}}'),
    "entry that is a list": head(x=[]),
    "entry that is null": head(x=None),
    "entry that is empty": head(x={}),
    "no offsets": head(x={"dtype": "F32", "shape": [2]}),
    "no shape": head(x={"dtype": "F32", "data_offsets": [0, 8]}),
    "no dtype": head(x={"shape": [2], "data_offsets": [0, 8]}),
    "unknown dtype": one(dtype="F33"),
    "dtype of lower case": one(dtype="f32"),
    "dtype that is a list": one(dtype=["F32"]),
    "dtype that is an object": one(dtype={}),
    "dtype that is null": one(dtype=None),
    "dtype that is long": one(dtype="F" * 100_000),
    "negative shape": one(shape=[-2]),
    "negative shapes": one(shape=[-2, -1]),
    "huge shape": one(shape=[2**62]),
    "huger shape": one(shape=[2**70]),
    "huge shapes": one(shape=[2**40, 2**40, 2**40]),
    "many dimensions": one(shape=[1] * 10_000),
    "shape of floats": one(shape=[2.0]),
    "shape of texts": one(shape=["2"]),
    "shape of bools": one(shape=[True, 2]),
    "shape of nulls": one(shape=[None]),
    "shape of lists": one(shape=[[2]]),
    "shape that is a text": one(shape="2"),
    "shape that is a number": one(shape=2),
    "shape that is an object": one(shape={"2": 1}),
    "shape too large": one(shape=[3]),
    "shape too small": one(shape=[1]),
    "offsets swapped": one(data_offsets=[8, 0]),
    "offsets negative": one(data_offsets=[-8, 0]),
    "offsets both negative": one(data_offsets=[-16, -8]),
    "offsets overlap": head(y=entry("F16", [2, 2], 4, 12)),
    "offsets the same": head(y=entry("F32", [2], 0, 8)),
    "offsets with a gap": head(y=entry("F16", [2], 12, 16)),
    "offsets beyond": head(y=entry("F32", [2**20], 8, 8 + 2**22)),
    "offsets of 2**70": one(data_offsets=[2**70, 2**70 + 8]),
    "offsets of floats": one(data_offsets=[0.0, 8.0]),
    "offsets of texts": one(data_offsets=["0", "8"]),
    "offsets of bools": one(data_offsets=[False, 8]),
    "one offset": one(data_offsets=[0]),
    "three offsets": one(data_offsets=[0, 8, 8]),
    "offsets that are a text": one(data_offsets="08"),
    "offsets that are null": one(data_offsets=None),
    "data too short": file_of(json.dumps(GOOD), DATA[:-1]),
    "data too long": file_of(json.dumps(GOOD), DATA + b"a"),
    "data missing": file_of(json.dumps(GOOD)),
    "name twice": file_of(
        f'{{"x": {json.dumps(entry())}, "x": {json.dumps(entry(start=8, end=16))}}}', DATA
    ),
    "name with half an emoji": file_of('{"\\ud83d": ' + json.dumps(entry()) + "}", bytes(8)),
    "name that is long": head(x=entry(end=0, shape=[0]), **{"n" * 100_000: entry()}),
    "metadata that is a list": head(__metadata__=[]),
    "metadata that is a text": head(__metadata__="a"),
    "metadata that is a number": head(__metadata__=1),
    "metadata of numbers": head(__metadata__={"a": 1}),
    "metadata of nulls": head(__metadata__={"a": None}),
    "metadata of objects": head(__metadata__={"a": {}}),
    "metadata with half an emoji": file_of('{"__metadata__": {"a": "\\ud83d"}}'),
}
GOOD_METADATA = {
    "deep config": {"config": "[" * 100_000},
    "config of digits": {"config": "9" * 5000},
    "config of nan": {"config": "NaN"},
    "config list": {"config": "[]"},
    "config of a list": {"config": '{"transformer": []}'},
    "config of nothing": {"config": '{"transformer": null, "vae": null}'},
    "long": {"a": "b" * 10**6},
    "many": {f"k{i}": "v" for i in range(5000)},
    "lines": {"a\n\x1b[2J": "b\n\x1b[2J"},
    "json": {"a": '{"b": [1, 2, {"c": null}]}'},
}


def reading(content: bytes) -> Callable[[Path], Any]:
    def prepare(folder: Path) -> Callable[[], Any]:
        path = folder / "x.safetensors"
        path.write_bytes(content)
        return lambda: read_header(path)

    return prepare


def inspecting(
    content: bytes | None = None, *options: str, **tensors: Any
) -> Callable[[Path], Any]:
    def prepare(folder: Path) -> Callable[[], Any]:
        path = folder / "x.safetensors"
        if content is None:
            write_tensors(path, tensors["tensors"], tensors.get("metadata"))
        else:
            path.write_bytes(content)
        return lambda: main(["inspect", str(path), *options])

    return prepare


def shown(content: bytes) -> Callable[[Path], Any]:
    def prepare(folder: Path) -> Callable[[], Any]:
        path = folder / "x.safetensors"
        path.write_bytes(content)
        return lambda: as_text(inspect_file(path))

    return prepare


def special(kind: str) -> Callable[[Path], Any]:
    def prepare(folder: Path) -> Callable[[], Any]:
        path = folder / "x.safetensors"
        if kind == "pipe":
            os.mkfifo(path)
        elif kind == "folder":
            path.mkdir()
        elif kind == "huge hole":
            with path.open("wb") as file:
                file.write((10**8).to_bytes(8, "little"))
                file.truncate(2**33)
        elif kind == "null":
            path = folder / "a\0b"
        else:
            path.symlink_to(kind)
        return lambda: main(["inspect", str(path)])

    return prepare


def mutated(number: int) -> bytes:
    """A good head with some letters changed, its length kept right."""
    random = seeded("safetensors", number)
    text = bytearray(json.dumps(GOOD).encode())
    for _ in range(random.randint(1, 4)):
        place = random.randrange(len(text))
        choice = random.random()
        if choice < 0.5:
            text[place] = random.choice(b'0123456789-.eE[]{}",: \xff\0nt')
        elif choice < 0.8:
            text[place:place] = bytes([random.choice(b'0123456789-.[]{}",:')])
        else:
            del text[place]
    return file_of(bytes(text), DATA)


def opens(content: bytes) -> Callable[[Any], str]:
    """What is accepted can be opened by the library that reads the weights."""

    def right(header: Any) -> str:
        from safetensors import safe_open

        try:
            with safe_open(header.path, "pt") as file:
                return "" if set(file.keys()) == set(header.tensors) else "other names"
        except Exception as error:
            return f"accepted, and can't be opened: {error}"

    return right


CASES = [
    *(Case(f"head {name}", reading(content), "error") for name, content in BAD.items()),
    *(Case(f"inspect {name}", inspecting(BAD[name]), "error") for name in list(BAD)[::3]),
    *(
        Case(
            f"metadata {name}", inspecting(tensors={"x": ("F32", (2,))}, metadata=metadata), "value"
        )
        for name, metadata in GOOD_METADATA.items()
        if name not in ("many", "long")
    ),
    *(
        Case(
            f"text of metadata {name}",
            shown(file_of(json.dumps({"__metadata__": metadata}))),
            "value",
            right=lambda text: "" if len(text) < 50_000 else f"{len(text)} letters",
        )
        for name, metadata in GOOD_METADATA.items()
    ),
    *(
        Case(f"inspect file {kind}", special(kind), "error")
        for kind in ("pipe", "folder", "/dev/zero", "/nowhere", "huge hole", "null")
    ),
    Case("good", reading(head()), "value", right=opens(head())),
    *(
        Case(f"mutated {number}", reading(mutated(number)), right=opens(mutated(number)))
        for number in range(60)
    ),
]


@pytest.mark.parametrize("case", parameters(CASES, sampled=25))
def test_safetensors(case, tmp_path):
    judge(case, tmp_path)
