"""Whole data sets with one hostile part: it is left out by name, and every other pair stays right."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors import safe_open

from ltxv_train_core.datasets.index import read_index
from ltxv_train_core.families.open import MINIATURE
from ltxv_train_core.geometry import Grid
from ltxv_train_core.manifests.manifest import read_manifest
from ltxv_train_core.media.formats import FORMATS
from ltxv_train_core.media.info import MediaInfo
from ltxv_train_core.preprocessing.buckets import choose_bucket, read_buckets
from ltxv_train_core.preprocessing.preprocess import (
    PreprocessSettings,
    PreprocessSummary,
    preprocess,
)
from tests.corpus.hostile_media import fragment, media, samples, suffix
from tests.corpus.judge import Case, judge, parameters

BUCKETS = "64x64x9;64x64x1"
GOOD = {"good.mp4": "a good clip", "second.png": "a second picture"}
Spoil = Callable[[Path], object]


@pytest.fixture(scope="module", autouse=True)
def _warm(tmp_path_factory):
    """Imports take seconds, once."""
    folder = tmp_path_factory.mktemp("warm")
    _good(folder)
    preprocess(PreprocessSettings(folder, MINIATURE, BUCKETS))


def _good(folder: Path) -> None:
    for name, caption in GOOD.items():
        (folder / name).write_bytes(media(suffix(name).removeprefix(".")))
        (folder / name).with_suffix(".txt").write_text(caption, encoding="utf-8")


def _pairs(summary: PreprocessSummary) -> str:
    """What is wrong with the pairs of a data set with the two good clips in it."""
    items = {item.name: item for item in read_index(summary.root).items}
    for name, caption in GOOD.items():
        if name not in items:
            return f"{name} is missing: {summary.skipped}"
        with safe_open(summary.root / items[name].caption.embedding.path, "pt") as file:
            found = file.metadata()["caption"]
        if (items[name].caption.text, found) != (caption, caption):
            return f"{name} has the caption {items[name].caption.text!r}"
    spoilt = [name for name in items if name.startswith("bad")]
    return f"{spoilt} were taken" if spoilt else ""


def _left_out(summary: PreprocessSummary) -> str:
    named = [name for name, _ in summary.skipped if name.startswith("bad")]
    lines = [reason for _, reason in summary.skipped if len(reason.splitlines()) != 1]
    return _pairs(summary) or ("" if named else "nothing is named") or "".join(lines)


def _set(label: str, spoil: Spoil, right: Callable[[Any], str] = _left_out, **options: Any) -> Case:
    def prepare(folder: Path) -> Callable[[], Any]:
        _good(folder)
        spoil(folder)
        return lambda: preprocess(PreprocessSettings(folder, MINIATURE, BUCKETS, **options))

    return Case(label, prepare, "value", right=right)


def _clip(name: str, content: Callable[[], bytes], caption: str = "bad") -> Spoil:
    def spoil(folder: Path) -> None:
        (folder / name).write_bytes(content())
        (folder / name).with_suffix(".txt").write_text(caption, encoding="utf-8")

    return spoil


def _special(name: str, make: Callable[[Path], object]) -> Spoil:
    def spoil(folder: Path) -> None:
        make(folder / name)
        (folder / name).with_suffix(".txt").write_text("bad", encoding="utf-8")

    return spoil


def _hole(path: Path) -> None:
    path.write_bytes(media("mp4"))
    os.truncate(path, 20 * 10**9)


CLIPS = [
    _set(f"a clip of {kind}", _clip(name, content))
    for kind, name, content in (
        ("nothing", "bad.mp4", lambda: b""),
        ("zeros", "bad.mp4", lambda: bytes(10_000)),
        ("half", "bad.mp4", lambda: media("mp4")[: len(media("mp4")) // 2]),
        ("half a picture", "bad.png", lambda: media("png")[:100]),
        ("claims", "bad.mp4", lambda: samples(10**7)),
        ("a playlist", "bad.ts", lambda: b"#EXTM3U\n#EXTINF:1,\ngood.mp4\n"),
        ("other files", "bad.mov", lambda: b"ffconcat version 1.0\nfile 'good.mp4'\n"),
        ("a program", "bad.tif", lambda: b"%!PS-Adobe-3.0\nshowpage\n"),
        ("no HEIC", "bad.heic", lambda: b"\0\0\0\x18ftypheic" + bytes(100)),
    )
] + [
    _set("a hole of 20 GB", _special("bad.mp4", _hole)),
    _set("a link to zeros", _special("bad.mp4", lambda path: path.symlink_to("/dev/zero")), _pairs),
    _set("a pipe", _special("bad.mp4", os.mkfifo), _pairs),
    _set("a folder of a clip's name", _special("bad.mp4", Path.mkdir), _pairs),
    _set("a link around", lambda folder: (folder / "bad").symlink_to(folder), _pairs),
    _set("a million fragments", _clip("bad.mp4", lambda: fragment(10**6)), _pairs),
    _set("one thread", _clip("bad.png", lambda: b"\x89PNG\r\n\x1a\n"), decode_threads=1),
]

CAPTIONS = [
    _set(f"a caption of {kind}", _clip("bad.png", lambda: media("png"), caption))
    for kind, caption in (
        ("2,000 words", "word " * 2000),
        ("100,000 letters", "a" * 100_000),
        ("3 MB", "long words " * 300_000),
        ("3,000 signs", "☂ § € " * 500),
        ("one of three is long", "short\n---\n" + "word " * 1500 + "\n---\nshort too"),
    )
] + [
    _set("a caption of blanks", _clip("bad.png", lambda: media("png"), " " * 20_000)),
]

SHAPES: dict[str, Any] = {
    "list": [],
    "number": 1,
    "no version": {},
    "files is a list": {"version": 1, "files": []},
    "failures is a list": {"version": 1, "files": {}, "failures": [1]},
    "failures of numbers": {"version": 1, "files": {}, "failures": {"a": 1}},
    "entry is null": {"version": 1, "files": {"good.mp4": None}},
    "entry is a text": {"version": 1, "files": {"good.mp4": "stamp"}},
    "entry is empty": {"version": 1, "files": {"good.mp4": {}}},
    **{
        f"{key} is {value!r}": {"version": 1, "files": {"good.mp4": {key: value}}}
        for key, value in (
            ("stamp", None),
            ("stamp", [1]),
            ("stamp", ["a", {}]),
            ("sha256", 5),
            ("sha256", "../../x"),
            ("read_ns", "a"),
            ("read_ns", -(10**30)),
            ("info", []),
            ("info", {"width": 1}),
            ("info", {"width": -5, "height": 64, "frames": 17, "fps": 25.0, "is_image": False}),
            (
                "info",
                {"width": 10**9, "height": 10**9, "frames": 17, "fps": 25.0, "is_image": False},
            ),
            ("info", {"width": 96, "height": 64, "frames": 10**18, "fps": 25.0, "is_image": False}),
            ("info", {"width": 96, "height": 64, "frames": 17, "fps": 0, "is_image": False}),
            ("info", {"width": 96, "height": 64, "frames": 17, "fps": 1e-300, "is_image": False}),
            ("info", {"width": 96, "height": 64, "frames": 17, "fps": [25], "is_image": False}),
            ("info", {"width": 96, "height": 64, "frames": 1, "fps": 25.0, "is_image": True}),
            ("info", {"width": "96", "height": 64, "frames": 17, "fps": 25.0, "is_image": False}),
            ("info", {"width": 96, "height": 64, "frames": 17, "fps": 25.0, "is_image": 0}),
        )
    },
}


def _memory(label: str, value: Any) -> Case:
    """A memory of media files that is right but for what is given."""

    def spoil(folder: Path) -> None:
        root = folder / ".precomputed"
        root.mkdir()
        given = json.loads(json.dumps(value))
        entry = isinstance(given, dict) and isinstance(given.get("files"), dict)
        entry = entry and given["files"].get("good.mp4")
        if isinstance(entry, dict) and entry:
            status = (folder / "good.mp4").stat()
            info = {"width": 96, "height": 64, "frames": 17, "fps": 25.0, "is_image": False}
            right = {
                "stamp": [status.st_size, status.st_mtime_ns],
                "sha256": "0" * 64,
                "info": info,
                "read_ns": status.st_mtime_ns + 10**12,
            }
            given["files"]["good.mp4"] = right | entry
        (root / "files.json").write_text(json.dumps(given), encoding="utf-8")

    return _set(f"files.json: {label}", spoil, _pairs)


def _memory_file(label: str, make: Callable[[Path], object]) -> Case:
    def spoil(folder: Path) -> None:
        (folder / ".precomputed").mkdir()
        make(folder / ".precomputed" / "files.json")

    return _set(f"files.json is {label}", spoil, _pairs)


MEMORY = [_memory(label, value) for label, value in SHAPES.items()] + [
    _memory_file("a link to zeros", lambda path: path.symlink_to("/dev/zero")),
    _memory_file("a pipe", os.mkfifo),
    _memory_file("deep", lambda path: path.write_text("[" * 200_000)),
    _memory_file("no text", lambda path: path.write_bytes(b"\xff" * 100)),
    _memory_file("infinite", lambda path: path.write_text('{"version": 1, "files": {"a": NaN}}')),
]


def _folder(label: str, make: Spoil, ends: Any = "value", right: Any = lambda value: "") -> Case:
    def prepare(folder: Path) -> Callable[[], Any]:
        make(folder)
        return lambda: read_manifest(folder, default_caption="given")

    return Case(label, prepare, ends, right=right)


def _many(count: int, ending: str) -> Spoil:
    def make(folder: Path) -> None:
        (folder / "a.mp4").write_bytes(media("mp4"))
        for part in range(count // 1000):
            (folder / str(part)).mkdir()
            for number in range(1000):
                os.close(os.open(folder / str(part) / f"{number}{ending}", os.O_CREAT))

    return make


def _loops(folder: Path) -> None:
    (folder / "a.mp4").write_bytes(media("mp4"))
    for i in range(8):
        (folder / f"d{i}").mkdir()
        for k in range(8):
            (folder / f"d{i}" / f"l{k}").symlink_to(folder / f"d{k}")
            (folder / f"d{i}" / f"up{k}").symlink_to(folder)


def _every_suffix(folder: Path) -> None:
    for ending in FORMATS:
        (folder / f"a{ending.upper()}{ending}").write_bytes(b"")


def _deep(folder: Path) -> None:
    for _ in range(100):
        folder = folder / "deeper"
        folder.mkdir()
    (folder / "a.mp4").write_bytes(b"")


def _odd_names(folder: Path) -> None:
    for name in (b"\xff.mp4", b"a\nb.mp4", b"\x1b[2J.mp4", "é".encode() * 120 + b".mp4", b" .mp4"):
        Path(os.fsdecode(os.fsencode(folder) + b"/" + name)).write_bytes(b"")


def _clips(count: int) -> Callable[[Any], str]:
    def right(manifest: Any) -> str:
        found = len(manifest.clips) + len(manifest.skipped)
        return "" if found == count else f"{found} instead of {count}"

    return right


FOLDERS = [
    _folder("links around and around", _loops, right=_clips(1)),
    _folder("every suffix", _every_suffix, right=_clips(len(FORMATS))),
    _folder("a hundred folders deep", _deep, right=_clips(1)),
    _folder("odd names", _odd_names, right=_clips(5)),
    _folder("20,000 other files", _many(20_000, ".bin"), right=_clips(1)),
    _folder("100,000 other files", _many(100_000, ".bin"), right=_clips(1)),
    _folder("201,000 files", _many(201_000, ".bin"), "error"),
    _folder("itself a link", lambda f: (f / "a").symlink_to(f / "a"), "error"),
    _folder("nothing", lambda folder: None, "error"),
]

BUCKET_TEXTS = [
    "1000000000x32x1",
    "32x1000000000x1",
    "32x32x1000000001",
    "9" * 5000 + "x32x1",
    "32x32x1;" * 5000,
    "auto:1000000000x32x1",
    "auto:8192x8192x1",
    "auto:" + "9" * 5000,
    "٣٢x٣٢x١",
    "３２x３２x１",
    "²x32x1",
    "-32x32x1",
    "0x0x0",
    "32x32x1.0",
    "1e3x32x1",
    "0x20x32x1",
    "nanx32x1",
    "32x32",
    "auto:auto:32x32x1",
    ";" * 100_000,
    " " * 1_000_000,
    "32" + " " * 100_000 + "x32x1",
    "x" * 100_000,
    "\0x32x1",
    "8192x8192x257",
]


def _buckets(text: str, ends: Any = "error") -> Case:
    def prepare(folder: Path) -> Callable[[], Any]:
        info = MediaInfo(1920, 1080, 300, 25.0, False)
        return lambda: choose_bucket(read_buckets(text, Grid(32, 8)), info)

    return Case(f"buckets {text[:20]!r} of {len(text)}", prepare, ends)


BUCKET_CASES = [_buckets(text) for text in BUCKET_TEXTS] + [
    _buckets(text, "value")
    for text in ("32x32x1", " 64 x 64 x 9 ; ", "auto:1024x1024x257", "AUTO:64x64x9", "64×64×9")
]


@pytest.mark.parametrize("case", parameters(CLIPS, sampled=4))
def test_a_hostile_clip(case, tmp_path):
    judge(case, tmp_path)


@pytest.mark.parametrize("case", parameters(CAPTIONS, sampled=2))
def test_a_hostile_caption(case, tmp_path):
    judge(case, tmp_path)


@pytest.mark.parametrize("case", parameters(MEMORY, sampled=3))
def test_a_hostile_memory_of_files(case, tmp_path):
    judge(case, tmp_path)


@pytest.mark.parametrize("case", parameters(FOLDERS, sampled=2))
def test_folders(case, tmp_path):
    judge(case, tmp_path)


@pytest.mark.parametrize("case", parameters(BUCKET_CASES, sampled=6))
def test_buckets(case, tmp_path):
    judge(case, tmp_path)
