"""Indexes and cached tensors of preprocessed data sets of any content."""

import json
import os
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

from ltxv_train_core.datasets.dataset import TrainingDataset
from ltxv_train_core.datasets.export import export_reference
from ltxv_train_core.datasets.index import CachedFile, Caption, Example, Index, write_index
from ltxv_train_core.storage.tensors import write_safetensors
from tests.corpus.judge import SECRET, Case, judge, parameters, seeded
from tests.corpus.tensor_files import write_tensors
from tests.helpers.index_of_version_1 import as_version_1

CLIPS = ("a.mp4", "b/c.mp4", "d.png")
LATENTS = (128, 2, 2, 2)


def tensors(number: int) -> dict[str, torch.Tensor]:
    return {
        "latents": torch.full(LATENTS, float(number)),
        "conditions": torch.full((3 + number, 8), float(number)),
        "masks": torch.ones(LATENTS[1:], dtype=torch.bool),
        "reference_latents": torch.full(LATENTS, -float(number)),
    }


def stored(folder: str, name: str) -> CachedFile:
    return CachedFile(f"{folder}/{name}.safetensors", f"key of {folder} {name}")


def write(root: Path) -> Path:
    """A whole data set of three clips; returns its index file."""
    items = []
    for number, name in enumerate(CLIPS):
        files = {folder: stored(folder, name) for folder in tensors(number)}
        for folder, tensor in tensors(number).items():
            kind = {"conditions": "prompt_embeds", "masks": "mask"}.get(folder, "latents")
            file = files[folder]
            write_safetensors(root / file.path, {kind: tensor}, {"key": file.key})
        items.append(
            Example(
                name,
                "64x64x9",
                25.0,
                {
                    "video": {
                        "latents": files["latents"],
                        "reference": files["reference_latents"],
                        "mask": files["masks"],
                    }
                },
                (Caption(f"caption {number}", files["conditions"]),),
            )
        )
    write_index(root / "index.json", Index({"name": "x"}, {}, tuple(items)))
    return root / "index.json"


def read_all(root: Path, **options: Any) -> dict[str, float]:
    """The numbers in the latents and the text of each clip."""
    dataset = TrainingDataset(root, "reference_latents", "masks", **options)
    found = {}
    for number in range(len(dataset)):
        sample = dataset[number]
        assert sample.streams["video"]["reference"] is not None
        means = (
            sample.streams["video"]["latents"].mean(),
            sample.text["prompt_embeds"].mean(),
            -sample.streams["video"]["reference"].mean(),
        )
        found[sample.name] = [float(mean) for mean in means]
    return found


def pairs_right(found: dict[str, list[float]]) -> str:
    wrong = {n: m for n, m in found.items() if m != [float(CLIPS.index(n))] * 3}
    return f"wrong pairs: {wrong}" if wrong else ""


def outside(folder: Path) -> None:
    """A data file beside the data set that is none of its."""
    secret = folder / "secret.safetensors"
    write_safetensors(secret, {"latents": torch.zeros(LATENTS)}, {"key": "key of latents a.mp4"})


def with_index(
    change: Callable[[dict], Any] | str | bytes, act: Callable = read_all, version: int = 1
) -> Any:
    """The data set with another index: changed in the layout of a version, or written just so."""

    def prepare(folder: Path) -> Callable[[], Any]:
        root = folder / "data"
        path = write(root)
        outside(folder)
        if callable(change):
            value = json.loads(path.read_text(encoding="utf-8"))
            value = as_version_1(value) if version == 1 else value
            given = change(value)
            change_text = json.dumps(value if given is None else given)
            path.write_text(change_text, encoding="utf-8", errors="surrogatepass")
        elif isinstance(change, bytes):
            path.write_bytes(change)
        else:
            path.write_text(change, encoding="utf-8")
        return lambda: act(root)

    return prepare


def first(name: str, value: Any) -> Callable[[dict], None]:
    """Says something else of the first clip."""

    def change(index: dict) -> None:
        index["items"][0][name] = value

    return change


def first_path(value: Any) -> Callable[[dict], None]:
    def change(index: dict) -> None:
        index["items"][0]["latents"]["path"] = value

    return change


def top(name: str, value: Any) -> Callable[[dict], None]:
    return lambda index: index.update({name: value})


def swapped(index: dict) -> None:
    """The texts of two clips stand at each other."""
    a, b = index["items"][:2]
    a["conditions"], b["conditions"] = b["conditions"], a["conditions"]


def swapped_paths(index: dict) -> None:
    a, b = (item["conditions"] for item in index["items"][:2])
    a["path"], b["path"] = b["path"], a["path"]


def lost(*names: str) -> Callable[[dict], None]:
    def change(index: dict) -> None:
        for name in names:
            index.pop(name, None)
            index["items"][0].pop(name, None)

    return change


def twice(index: dict) -> None:
    index["items"][1]["name"] = index["items"][0]["name"]


def same_files(index: dict) -> None:
    index["items"][1] |= {n: index["items"][0][n] for n in ("latents", "conditions")}


def first_stream(name: str, value: Any) -> Callable[[dict], None]:
    """Says something else of the first clip's video."""

    def change(index: dict) -> None:
        index["items"][0]["streams"]["video"][name] = value

    return change


def another_stream(value: Any) -> Callable[[dict], None]:
    def change(index: dict) -> None:
        index["items"][0]["streams"]["smell"] = value

    return change


def first_caption(value: Any) -> Callable[[dict], None]:
    def change(index: dict) -> None:
        index["items"][0]["captions"][0]["embedding"] = value

    return change


ANYTHING = {
    "null": None,
    "number": 5,
    "text": "abc",
    "list": [],
    "object": {},
    "lists": [[]],
    "true": True,
    "long": "a" * 10**6,
    "numbers": [1, 2],
}
PATHS = {
    "above": "../secret.safetensors",
    "far above": "../" * 30 + "etc/passwd",
    "above in it": "latents/../../secret.safetensors",
    "absolute": "/etc/passwd",
    "device": "/dev/zero",
    "backslashes": "..\\secret.safetensors",
    "drive": "C:\\Windows\\x",
    "unc": "\\\\server\\share\\x",
    "empty": "",
    "dot": ".",
    "folder": "latents",
    "dots": "..",
    "null character": "latents/a\0.safetensors",
    "long": "a" * 5000,
    "deep": "a/" * 3000,
    "of another": "latents/b/c.mp4.safetensors",
    "url": "https://example.org/a",
    "tilde": "~/a",
    "half an emoji": "latents/\ud83d",
}
FPS = (0, -1, -25.0, "25", None, [], True, 1e9, 10**400)
SIZES = (
    "",
    "abc",
    "64x64",
    "0x0x0",
    "-64x64x9",
    "65x64x9",
    "64x64x8",
    "9" * 5000 + "x64x9",
    64,
    None,
    "64x64x9x1",
    "640000x640000x9",
    "96x64x9",
    "64x64x17",
    "٦٤x64x9",
)
INDEXES: dict[str, Any] = {
    "empty": "",
    "list": "[]",
    "null": "null",
    "object": "{}",
    "number": "5",
    "torn": '{"version": 1,',
    "deep": "[" * 100_000,
    "deep items": '{"version": 1, "items": ' + "[" * 100_000,
    "digits": '{"version": ' + "9" * 5000 + "}",
    "utf-16": '{"version": 1}'.encode("utf-16"),
    "latin-1": '{"version": "ü"}'.encode("latin-1"),
    "zeros": bytes(1000),
    "secret": SECRET,
    "large": b" " * 2**26,
    "many lists": '{"version": 1, "items": [' + "[]," * 5_000_000 + "[]]}",
    "many items": '{"version": 1, "items": [' + "{}," * 5_000_000 + "{}]}",
    "version of text": '{"version": "' + "1" * 10_000 + '"}',
    "version 3": top("version", 3),
    "no items": top("items", []),
    "fingerprint": top("fingerprint", "0" * 64),
    "no fingerprint": lost("fingerprint"),
    "no model": lost("model"),
    "no settings": lost("settings"),
    "no name": lost("name"),
    "no latents": lost("latents"),
    "no caption": lost("caption"),
    "no conditions": lost("conditions"),
    "name twice": twice,
    "texts swapped": swapped,
    "items of text": top("items", "abc"),
    "items of numbers": top("items", [1]),
    "model of numbers": top("model", {"name": 1}),
    "a model list": top("model", []),
    "captions of numbers": first("more_captions", [1]),
    "captions of text": first("more_captions", "abc"),
    "captions without files": first("more_captions", [{"text": "a"}]),
}
FILES: dict[str, Any] = {
    "absent": None,
    "empty": b"",
    "text": b"hello",
    "pipe": "pipe",
    "folder": "folder",
    "device": "/dev/zero",
    "no key": {"tensors": {"latents": ("F32", LATENTS)}},
    "another key": {"tensors": {"latents": ("F32", LATENTS)}, "metadata": {"key": "x"}},
}
KEYED: dict[str, dict[str, Any]] = {
    "no tensor": {},
    "another name": {"latent": ("F32", LATENTS)},
    "another width": {"latents": ("F32", (64, 2, 2, 2))},
    "another size": {"latents": ("F32", (128, 2, 4, 1))},
    "fewer frames": {"latents": ("F32", (128, 1, 2, 2))},
    "one dimension": {"latents": ("F32", (1024,))},
    "no dimension": {"latents": ("F32", ())},
    "more dimensions": {"latents": ("F32", (1, *LATENTS))},
    "nothing in it": {"latents": ("F32", (128, 0, 2, 2))},
    "integers": {"latents": ("I64", LATENTS)},
    "booleans": {"latents": ("BOOL", LATENTS)},
    "eight bits": {"latents": ("F8_E4M3", LATENTS)},
    "giant": {"latents": ("F32", (128, 2**10, 2**8, 2**8))},
}
TEXTS: dict[str, dict[str, Any]] = {
    "another width": {"prompt_embeds": ("F32", (3, 9))},
    "no width": {"prompt_embeds": ("F32", (3,))},
    "no tokens": {"prompt_embeds": ("F32", (0, 8))},
    "no tensor": {"x": ("F32", (3, 8))},
    "integers": {"prompt_embeds": ("I64", (3, 8))},
    "batch": {"prompt_embeds": ("F32", (1, 3, 8))},
    "giant": {"prompt_embeds": ("F32", (2**30, 8))},
}
MASKS: dict[str, dict[str, Any]] = {
    "floats": {"mask": ("F32", (2, 2, 2))},
    "another size": {"mask": ("BOOL", (2, 2, 3))},
    "channels": {"mask": ("BOOL", (1, 2, 2, 2))},
    "three frames": {"mask": ("BOOL", (3, 2, 2))},
    "no tensor": {},
}


def with_file(file: CachedFile, content: Any) -> Callable[[Path], Any]:
    """The data set with another file in the place of one."""

    def prepare(folder: Path) -> Callable[[], Any]:
        root = folder / "data"
        write(root)
        outside(folder)
        path = root / file.path
        path.unlink()
        if content == "pipe":
            os.mkfifo(path)
        elif content == "folder":
            path.mkdir()
        elif isinstance(content, str):
            path.symlink_to(content)
        elif isinstance(content, bytes):
            path.write_bytes(content)
        elif content is not None:
            write_tensors(path, content["tensors"], content.get("metadata"))
        return lambda: read_all(root)

    return prepare


def keyed(folder: str, tensors: dict[str, Any]) -> Callable[[Path], Any]:
    file = stored(folder, CLIPS[0])
    return with_file(file, {"tensors": tensors, "metadata": {"key": file.key}})


def export(root: Path) -> Any:
    return export_reference(root, root.parent / "exported") and {}


def renamed(name: str) -> Callable[[dict], None]:
    return first("name", name)


@cache
def good_index() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        return write(Path(folder)).read_bytes()


def mutated(number: int) -> bytes:
    random, content = seeded("index", number), bytearray(good_index())
    for _ in range(random.randint(1, 3)):
        place = random.randrange(len(content))
        choice = random.random()
        if choice < 0.5:
            content[place] = random.choice(b'0123456789-.eE[]{}",:/\\ \xff\0abc')
        elif choice < 0.8:
            content[place:place] = bytes([random.choice(b'0123456789-.[]{}",:/\\')])
        else:
            del content[place]
    return bytes(content)


CASES = [
    Case("good", with_index(lambda index: None), "value", right=pairs_right),
    *(Case(f"index {name}", with_index(change), "error") for name, change in INDEXES.items()),
    Case("paths of texts swapped", with_index(swapped_paths), "error"),
    Case("files of another", with_index(same_files), "error"),
    *(
        Case(f"path {name}", with_index(first_path(path)), "error", unread=("secret.safetensors",))
        for name, path in PATHS.items()
    ),
    *(
        Case(f"fps {number} {str(fps)[:12]}", with_index(first("fps", fps)), "error")
        for number, fps in enumerate(FPS)
    ),
    *(
        Case(f"size {number}", with_index(first("size", size)), "error")
        for number, size in enumerate(SIZES)
    ),
    *(
        Case(
            f"{field} {name}",
            with_index(first(field, value)),
            "either"
            if (field, name)
            in (
                ("caption", "text"),
                ("caption", "long"),
                ("mask", "null"),
                ("reference_latents", "null"),
                ("mask", "object"),
            )
            else "error",
        )
        for field in ("caption", "latents", "conditions", "reference_latents", "mask")
        for name, value in ANYTHING.items()
    ),
    Case("good of today", with_index(lambda index: None, version=2), "value", right=pairs_right),
    *(
        Case(
            f"{what} {name} of today",
            with_index(change(value), version=2),
            "either" if (what, name) in (("mask", "object"),) else "error",
        )
        for what, change in (
            ("streams", lambda value: first("streams", value)),
            ("captions", lambda value: first("captions", value)),
            ("latents", lambda value: first_stream("latents", value)),
            ("mask", lambda value: first_stream("mask", value)),
            ("another role", lambda value: first_stream("depth", value)),
            ("another stream", another_stream),
            ("embedding", first_caption),
            ("family", lambda value: top("family", value)),
        )
        for name, value in ANYTHING.items()
    ),
    *(
        Case(
            f"path {name} of today",
            with_index(first_stream("latents", {"path": path, "key": "x"}), version=2),
            "error",
            unread=("secret.safetensors",),
        )
        for name, path in PATHS.items()
    ),
    *(Case(f"name {name}", with_index(renamed(path), export)) for name, path in PATHS.items()),
    *(
        Case(f"file {name}", with_file(stored("latents", CLIPS[0]), content), "error")
        for name, content in FILES.items()
    ),
    *(
        Case(f"latents {name}", keyed("latents", content), "error")
        for name, content in KEYED.items()
    ),
    *(
        Case(f"reference {name}", keyed("reference_latents", content), "error")
        for name, content in list(KEYED.items())[::3]
    ),
    *(
        Case(f"text {name}", keyed("conditions", content), "error")
        for name, content in TEXTS.items()
    ),
    *(Case(f"mask {name}", keyed("masks", content), "error") for name, content in MASKS.items()),
    *(
        Case(
            f"mutated {number}",
            with_index(mutated(number)),
            right=lambda found: (
                "" if len(found) < 3 or set(found) - set(CLIPS) else pairs_right(found)
            ),
        )
        for number in range(60)
    ),
]


@pytest.mark.parametrize("case", parameters(CASES, sampled=25))
def test_datasets(case, tmp_path):
    judge(case, tmp_path)
