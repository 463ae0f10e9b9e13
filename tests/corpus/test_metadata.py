"""Metadata files and folders of captions of any content: bad rows go alone, pairs stay right."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ltxv_train_core.manifests.editing import write_edited
from ltxv_train_core.manifests.manifest import Manifest, read_manifest
from tests.corpus.judge import SECRET, Case, judge, parameters, seeded

GOOD = {"a.mp4": "a red square", "b.mp4": "a green disc, moving", "ü c.mp4": 'a "blue" star'}
DEEP = "[" * 100_000
DIGITS = "9" * 5000


def row(name: str, caption: Any = None) -> dict[str, Any]:
    return {"media_path": name, "caption": GOOD[name] if caption is None else caption}


ROWS = [row(name) for name in GOOD]
# Values of a caption or a path that are none, as they stand in a line of json.
NO_TEXTS = {
    "number": "5",
    "float": "1e999",
    "digits": DIGITS,
    "nan": "NaN",
    "infinity": "-Infinity",
    "true": "true",
    "object": '{"en": "two"}',
    "list of lists": '[["x"], ["y"]]',
    "list of numbers": "[1, 2]",
    "list of objects": '[{"a": 1}]',
    "null": "null",
    "empty": '""',
    "spaces": '"  "',
    "deep": DEEP,
    "deep and closed": "[" * 50_000 + "]" * 50_000,
    "half an emoji": '"\\ud83d"',
    "long object": json.dumps({"k": "v" * 100_000}),
}
NO_PATHS = NO_TEXTS | {
    "null character": '"a\\u0000.mp4"',
    "long": json.dumps("a" * 5000),
    "long with folders": json.dumps("a/" * 5000),
    "very long": json.dumps("a" * 500_000),
    "above": '"../../../../etc/passwd"',
    "absolute": '"/etc/passwd"',
    "device": '"/dev/zero"',
    "pipe": '"pipe.mp4"',
    "folder": '"."',
    "home": '"~/a.mp4"',
    "lines": '"a\\nb.mp4"',
    "control": '"\\u001b[2Ja.mp4"',
    "drive": '"C:\\\\a.mp4"',
    "url": '"https://example.org/a.mp4"',
}
LINES = {
    "text": b"hello",
    "torn": b'{"media_path": "a.mp4", "capt',
    "not utf-8": b'{"media_path": "a.mp4", "caption": "gr\xfcn"}',
    "utf-16": '{"media_path": "a.mp4"}'.encode("utf-16"),
    "zeros": bytes(300),
    "deep": DEEP.encode(),
    "deep objects": b'{"a":' * 100_000,
    "digits": DIGITS.encode(),
    "digits in it": f'{{"media_path": "a.mp4", "x": {DIGITS}}}'.encode(),
    "list": b"[]",
    "null": b"null",
    "empty object": b"{}",
    "other columns": b'{"path": "x"}',
    "empty": b"",
    "long": b'{"media_path": "' + b"a" * 3_000_000 + b'"}',
    "many lists": b"[" + b"[]," * 1_000_000 + b"[]]",
    "two": b'{"a": 1} {"b": 2}',
    "mark": b"\xef\xbb\xbf{}",
    "separators": '"\u2028\u2029\x85"'.encode(),
    "secret": f"{SECRET}".encode(),
}


def media(folder: Path) -> None:
    for name in GOOD:
        (folder / name).write_bytes(b"video")
    os.mkfifo(folder / "pipe.mp4")


def pairs_right(manifest: Manifest) -> str:
    """Clips are some of the good ones, each with its own caption."""
    wrong = {
        c.media.name: c.captions for c in manifest.clips if c.captions != (GOOD.get(c.media.name),)
    }
    return f"wrong pairs: {str(wrong)[:200]}" if wrong else ""


def all_there(manifest: Manifest) -> str:
    found = sorted(clip.media.name for clip in manifest.clips)
    return pairs_right(manifest) or ("" if found == sorted(GOOD) else f"only {found}")


def others_there(manifest: Manifest) -> str:
    """The bad row names a.mp4 or nothing; b and c are there."""
    found = {clip.media.name for clip in manifest.clips}
    if not manifest.skipped:
        return "nothing was said of the bad row"
    return pairs_right(manifest) or ("" if {"b.mp4", "ü c.mp4"} <= found else f"only {found}")


def reading(name: str, content: bytes | str | Callable[[Path], None], **options: Any) -> Any:
    def prepare(folder: Path) -> Callable[[], Any]:
        media(folder)
        path = folder / name
        if callable(content):
            content(path)
        else:
            path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
        return lambda: read_manifest(path, **options)

    return prepare


def as_json(texts: list[str]) -> str:
    return f"[{', '.join(texts)}]"


def line(media_path: str = '"a.mp4"', caption: str = '"a red square"') -> str:
    return f'{{"media_path": {media_path}, "caption": {caption}}}'


def others() -> list[str]:
    return [json.dumps(r) for r in ROWS[1:]]


def csv_text(delimiter: str = ",", newline: str = "\n", quote: bool = True) -> str:
    def cell(text: str) -> str:
        return '"' + text.replace('"', '""') + '"' if quote else text

    rows = [["media_path", "caption"], *([n, c] for n, c in GOOD.items())]
    return newline.join(delimiter.join(map(cell, r)) for r in rows) + newline


def broken_csv(line: str) -> str:
    return csv_text() + line + "\n"


CSV: dict[str, tuple[str | bytes, str, Any]] = {
    "commas": (csv_text(), "value", all_there),
    "semicolons": (csv_text(";"), "value", all_there),
    "tabs": (csv_text("\t"), "value", all_there),
    "carriage returns": (csv_text(newline="\r\n"), "value", all_there),
    "old carriage returns": (csv_text(newline="\r"), "value", all_there),
    "mark": ("\ufeff" + csv_text(), "value", all_there),
    "blank lines": (csv_text().replace("\n", "\n\n"), "value", all_there),
    "unquoted comma": (
        'media_path,caption\na.mp4,a red, square\nb.mp4,"a green disc, moving"\n'
        'ü c.mp4,"a ""blue"" star"\n',
        "value",
        others_there,
    ),
    "unquoted comma at the end": (broken_csv("x.mp4,a,"), "value", all_there),
    "open quote": ('media_path,caption\na.mp4,"a red square\nb.mp4,a\nü c.mp4,b\n', "error", None),
    "open quote that closes": (
        'media_path,caption\na.mp4,"a red square\nb.mp4,"a green disc, moving"\n',
        "error",
        None,
    ),
    "row in a cell": (
        'media_path,caption\na.mp4,"a red square\nb.mp4,"\nü c.mp4,"a ""blue"" star"\n',
        "value",
        pairs_right,
    ),
    "row in a cell to the end": (
        'media_path,caption\nb.mp4,"a green disc, moving"\na.mp4,"a red square\nü c.mp4,x"\n',
        "value",
        pairs_right,
    ),
    "quote in the middle": ('media_path,caption\na.mp4,"a "red" square"\n', "error", None),
    "null characters": (broken_csv("x\0.mp4,a\0b"), "either", pairs_right),
    "large cell": (broken_csv("x.mp4," + "a" * 200_000), "either", pairs_right),
    "large cell in quotes": (broken_csv('x.mp4,"' + "a\n" * 100_000 + '"'), "either", pairs_right),
    "utf-16": (csv_text().encode("utf-16"), "value", all_there),
    "latin-1": (csv_text().encode("latin-1"), "value", all_there),
    "empty": ("", "error", None),
    "header alone": ("media_path,caption\n", "error", None),
    "no header": ("a.mp4,a red square\nb.mp4,x\n", "error", None),
    "other columns": ("path,text\na.mp4,x\n", "error", None),
    "column twice": ("media_path,caption,caption\na.mp4,a red square,wrong\n", "error", None),
    "nameless columns": ("media_path,caption,,\na.mp4,a red square,,\n", "value", pairs_right),
    "missing cells": (broken_csv("x.mp4"), "value", all_there),
    "many columns": (
        "media_path,caption," + ",".join(map(str, range(50_000))) + "\n",
        "error",
        None,
    ),
    "long column": ("c" * 100_000 + ",b\n1,2\n", "error", None),
    "many rows": ("media_path,caption\n" + "a,b\n" * 2_000_000, "error", None),
    "same media many times": (
        "media_path,caption\n" + "a.mp4,a red square\n" * 20_000,
        "value",
        pairs_right,
    ),
    "zeros": (bytes(10**6), "error", None),
    "binary": (bytes(range(256)) * 100, "error", None),
    "secret": (f"{SECRET}\n{SECRET}\n", "error", None),
    "absent media": (
        "media_path,caption\nx.mp4,a\n" + "y" * 3000 + ".mp4,b\n",
        "value",
        pairs_right,
    ),
}
JSON: dict[str, tuple[str | bytes, str]] = {
    "object": ('{"media_path": "a.mp4"}', "error"),
    "text": ('"a.mp4"', "error"),
    "empty": ("", "error"),
    "empty list": ("[]", "error"),
    "numbers": ("[1, 2]", "value"),
    "deep": (DEEP, "error"),
    "deep in a row": (f'[{{"media_path": {DEEP}}}]', "error"),
    "digits": (f"[{DIGITS}]", "error"),
    "torn": (as_json([line()])[:-9], "error"),
    "utf-16": (as_json([line()]).encode("utf-16"), "value"),
    "latin-1": ('[{"caption": "grün"}]'.encode("latin-1"), "error"),
    "many lists": ("[" + "[]," * 8_000_000 + "[]]", "error"),
    "large": (b"[" + b" " * 70 * 2**20 + b"]", "error"),
    "zeros": (bytes(1000), "error"),
    "other columns": ('[{"path": "a.mp4"}]', "error"),
    "long column": ('[{"' + "c" * 100_000 + '": 1}]', "error"),
    "many columns": ("[" + ",".join(f'{{"c{i}": 1}}' for i in range(9000)) + "]", "error"),
    "secret": (f'["{SECRET}"]', "value"),
}


def special(kind: str) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        if kind == "pipe":
            os.mkfifo(path)
        elif kind == "folder of nothing":
            path.mkdir()
        else:
            path.symlink_to(kind)

    return write


def captions_in(content: bytes | str) -> Any:
    """A folder whose a.txt is damaged; the others have their captions."""

    def prepare(folder: Path) -> Callable[[], Any]:
        media(folder)
        for name, caption in GOOD.items():
            (folder / name).with_suffix(".txt").write_text(caption, encoding="utf-8")
        text = folder / "a.txt"
        text.unlink()
        if content == "pipe":
            os.mkfifo(text)
        elif content == "folder":
            text.mkdir()
        elif isinstance(content, str):
            text.symlink_to(content)
        else:
            text.write_bytes(content)
        return lambda: read_manifest(folder)

    return prepare


def edited(content: str) -> Any:
    def prepare(folder: Path) -> Callable[[], Any]:
        path = folder / "dataset.json"
        path.write_text(content, encoding="utf-8")
        return lambda: write_edited(path, [row("a.mp4", ""), row("b.mp4", "")])

    return prepare


def mutated(number: int, suffix: str) -> bytes:
    """Good metadata with some bytes changed, lost, or added."""
    random = seeded("metadata", suffix, number)
    lines = [json.dumps(r) for r in ROWS]
    texts = {".csv": csv_text(), ".jsonl": "\n".join(lines), ".json": as_json(lines)}
    content = bytearray(texts[suffix].encode("utf-8"))
    for _ in range(random.randint(1, 3)):
        place = random.randrange(len(content))
        choice = random.random()
        if choice < 0.4:
            content[place] = random.choice(b'\0\x80\xff\n\r",;\t{}[]:\\ae')
        elif choice < 0.7:
            content[place:place] = bytes([random.choice(b'\0\xff\n\r",;\t{}[]:\\')])
        else:
            del content[place : place + random.randint(1, 12)]
    return bytes(content)


def no_strangers(value: Manifest) -> str:
    """Whatever was changed, a clip has no caption of another one."""
    for clip in value.clips:
        strangers = [text for name, text in GOOD.items() if name != clip.media.name]
        if any(text in caption for text in strangers for caption in clip.captions):
            return f"{clip.media.name} has the caption {clip.captions}"
    return ""


def caption_is(caption: str) -> Callable[[Manifest], str]:
    """That of a.mp4."""

    def right(value: Manifest) -> str:
        found = {clip.media.name: clip.captions for clip in value.clips}
        return (
            ""
            if found == {**{n: (c,) for n, c in GOOD.items()}, "a.mp4": (caption,)}
            else f"{found}"
        )

    return right


CASES = [
    *(
        Case(f"csv {name}", reading("m.csv", text), ends, right=right or (lambda value: ""))
        for name, (text, ends, right) in CSV.items()
    ),
    Case("tsv", reading("m.tsv", csv_text("\t")), "value", right=all_there),
    *(Case(f"json {name}", reading("m.json", text), ends) for name, (text, ends) in JSON.items()),
    *(
        Case(f"json file {kind}", reading("m.json", special(kind)), "error")
        for kind in ("pipe", "folder of nothing", "/dev/zero", "/nowhere", "/etc/shadow")
    ),
    *(
        Case(f"{suffix} file {kind}", reading(f"m{suffix}", special(kind)), "error")
        for suffix in (".csv", ".jsonl")
        for kind in ("pipe", "/dev/zero")
    ),
    *(
        Case(
            f"jsonl line {name}",
            reading("m.jsonl", b"\n".join([text, *(o.encode() for o in others())])),
            "value",
            right=pairs_right
            if name in ("empty", "empty object", "mark", "other columns", "separators")
            # Read as Windows' text; and what begins as UTF-16 is none of it.
            else no_strangers
            if name in ("not utf-8", "utf-16")
            else others_there,
        )
        for name, text in LINES.items()
    ),
    *(
        Case(
            f"{suffix} caption {name}",
            reading(f"m{suffix}", join([line(caption=text), *others()])),
            "either"
            if suffix == ".json" and name in ("digits", "deep", "deep and closed")
            else "value",
            right=others_there,
        )
        for suffix, join in ((".json", as_json), (".jsonl", "\n".join))
        for name, text in NO_TEXTS.items()
    ),
    *(
        Case(
            f"{suffix} path {name}",
            reading(f"m{suffix}", join([line(media_path=text), *others()])),
            "either"
            if suffix == ".json" and name in ("digits", "deep", "deep and closed")
            else "value",
            right=lambda value: (
                others_there(value) if value.skipped or len(value.clips) == 2 else "taken"
            ),
        )
        for suffix, join in ((".json", as_json), (".jsonl", "\n".join))
        for name, text in NO_PATHS.items()
        if name not in ("above", "absolute")
    ),
    *(
        Case(f"captions {name}", captions_in(text), "value", right=caption_is(caption))
        for name, text, caption in (
            ("latin-1", "grün".encode("latin-1"), "grün"),
            ("utf-16", "green".encode("utf-16"), "green"),
        )
    ),
    *(
        Case(f"captions {name}", captions_in(text), "value", right=others_there)
        for name, text in {
            "empty": b"",
            "dashes": b"---\n---",
            "large": b"a" * 2**21,
            "zeros": b"\xff\0" * 50,
            "pipe": "pipe",
            "folder": "folder",
            "device": "/dev/zero",
            "absent": "/nowhere",
        }.items()
    ),
    *(
        Case(f"edited {name}", edited(text))
        for name, text in {
            "torn": "[{",
            "deep": DEEP,
            "object": "{}",
            "numbers": "[1]",
            "nan": "[NaN]",
            "captions that are none": '[{"media_path": "a.mp4", "caption": {"en": "x"}}]',
            "paths that are none": '[{"media_path": ["a.mp4"], "caption": "x"}]',
            "null characters": '[{"media_path": "a\\u0000.mp4", "caption": "x"}]',
            "digits": f"[{DIGITS}]",
        }.items()
    ),
    *(
        Case(
            f"mutated {suffix} {number}",
            reading(f"m{suffix}", mutated(number, suffix)),
            right=no_strangers,
        )
        for suffix in (".csv", ".json", ".jsonl")
        for number in range(40)
    ),
]


@pytest.mark.parametrize("case", parameters(CASES, sampled=40))
def test_metadata(case, tmp_path):
    judge(case, tmp_path)
