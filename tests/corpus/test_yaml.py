"""YAML configurations, `--set` words and mapping options of any content."""

import importlib
import os
import string
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ltxv_train_core.cli import main
from ltxv_train_core.config import OptimizationConfig, yaml_file
from ltxv_train_core.config.widgets import from_widgets
from tests.corpus.judge import SECRET, Case, judge, parameters, seeded

GOOD = """\
name: a run
model: {model_source: LTXV_MINIATURE}
lora:
  rank: 4
data:
  preprocessed_data_root: data
validation:
  prompts: ["a cat", 'a dog: it runs']
optimization:
  scheduler_params: {end_factor: 0.5}
"""
LAUGHS = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]\n"
    for a, b in zip("abcdefghi", "bcdefghij", strict=True)
)
TEXTS: dict[str, tuple[str | bytes, tuple[str, ...]]] = {
    "laughs": (LAUGHS, ("line", "column", "values")),
    "laughs by merging": (
        "a: &a {x: 1}\n"
        + "".join(
            f"{b}: &{b}\n  k{b}: 1\n  <<: [{', '.join([f'*{a}'] * 9)}]\n"
            for a, b in zip("abcdefgh", "bcdefghi", strict=True)
        ),
        ("values",),
    ),
    "alias of itself": ("lora: &a [*a]\n", ("line 1", "alias")),
    "mapping of itself": ("lora: &a\n  x: *a\n", ("line 2", "alias")),
    "unknown alias": (f"lora: *{SECRET}\n", ("line 1",)),
    "unknown tag": ("lora: !thing {rank: 4}\n", ("line 1", "tag")),
    "python tag": ("lora: !!python/object/apply:os.system ['true']\n", ("line 1",)),
    "python name": ("lora: !!python/name:os.system\n", ("line 1",)),
    "unknown tag handle": ("lora: !h!x 1\n", ("line 1",)),
    "enum without value": ("lora: !!python/object/apply:ltxv_trainer.X []\n", ("line 1",)),
    "tuple of nothing": ("lora: !!python/tuple {a: 1}\n", ("line 1",)),
    "binary": (GOOD + "output_dir: !!binary aGVsbG8=\n", ("line 11",)),
    "set": (GOOD + "output_dir: !!set {a, b}\n", ("line 11",)),
    "int that is none": (GOOD + "seed: !!int abc\n", ("line 11",)),
    "bool that is none": (GOOD + "seed: !!bool abc\n", ("line 11",)),
    "float that is none": (GOOD + "seed: !!float abc\n", ("line 11",)),
    "digits": (GOOD + f"seed: {'9' * 5000}\n", ("line 11", "digits")),
    "digits in hex": (GOOD + f"seed: 0x{'f' * 5000}\n", ("line 11",)),
    "digits in 60s": (GOOD + f"seed: 1{':59' * 2000}\n", ("seed",)),
    "large number": (GOOD + f"seed: {'9' * 299}\n", ("seed",)),
    "large number for a float": (
        GOOD.replace("end_factor: 0.5", "end_factor: " + "9" * 290),
        ("end_factor",),
    ),
    "large count of steps": (
        GOOD.replace("  scheduler_params", f"  steps: {'9' * 290}\n  scheduler_params").replace(
            "end_factor: 0.5", "T_0: 3"
        ),
        ("steps",),
    ),
    "large cycle": (GOOD.replace("end_factor: 0.5", "T_0: " + "9" * 290), ("optimization",)),
    "infinite cycle": (GOOD.replace("end_factor: 0.5", "T_0: .inf"), ("optimization",)),
    "deep list": ("a: " + "[" * 3000, ("nested",)),
    "deep map": ("a: " + "{a: " * 3000, ("nested",)),
    "deep blocks": ("".join(f"{' ' * i}a:\n" for i in range(500)), ("nested",)),
    "deep dashes": ("- " * 3000 + "a", ("nested",)),
    "deep and closed": ("a: " + "[" * 1500 + "]" * 1500, ("nested",)),
    "section twice": (GOOD + "lora:\n  rank: 8\n", ("'lora'", "twice", "line 11", "line 3")),
    "key twice": (GOOD.replace("  rank: 4", "  rank: 4\n  rank: 8"), ("'rank'", "twice", "line 5")),
    "top level twice": (GOOD + "name: b\n", ("'name'", "twice")),
    "param twice": (GOOD.replace("end_factor: 0.5", "power: 1, power: 2"), ("'power'", "twice")),
    "merge twice": ("a: &a {x: 1}\nb:\n  <<: *a\n  <<: *a\n", ("twice",)),
    "section in both words": (GOOD + "ltxv_train: {lora: {rank: 8}}\n", ("lora.rank", "twice")),
    "own key that is a text": (GOOD + "ltxv_train: a\n", ("ltxv_train",)),
    "utf-16": (GOOD.encode("utf-16"), ("UTF-8",)),
    "utf-16 without mark": (GOOD.encode("utf-16-le"), ("UTF-8",)),
    "latin-1": ("name: grün\n".encode("latin-1"), ("UTF-8",)),
    "utf-32": (GOOD.encode("utf-32"), ("UTF-8",)),
    "zeros": (bytes(5000), ("UTF-8",)),
    "windows path": (GOOD.replace(": data\n", ': "C:\\Users\\me"\n'), ("line 6", "single quotes")),
    "windows path that fits": (
        GOOD.replace(": data\n", ': "C:\\new\\test"\n'),
        ("forward slashes",),
    ),
    "windows path with tab": (GOOD.replace(": data\n", ': "D:\\temp"\n'), ("forward slashes",)),
    "windows path in x": (GOOD.replace(": data\n", ': "D:\\xa"\n'), ("single quotes",)),
    "prompt with colon": (
        GOOD.replace("'a dog: it runs'", "a cat").replace(
            "  prompts: [", "  negative_prompt: a cat: it sleeps\n  prompts: ["
        ),
        ("quotes", "line 8"),
    ),
    "key that is a number": (GOOD + "5: 6\n", ("line 11",)),
    "key that is null": (GOOD + "~: 6\n", ("line 11",)),
    "key that is a bool": (GOOD + "yes: 6\n", ("line 11",)),
    "key that is a list": (GOOD + "? [a, b]\n: 6\n", ("line 11",)),
    "key that is a text by tag": (GOOD + "? !!str [a, b]\n: 6\n", ("line 11",)),
    "key in params that is a number": (GOOD.replace("end_factor: 0.5", "1: 0.5"), ("line 10",)),
    "long key": (GOOD + f"? {'k' * 5000}\n: 6\n", ("no such option",)),
    "long key in params": (GOOD.replace("end_factor", "e" * 900), ("scheduler_params",)),
    "nan": (GOOD + "seed: .nan\n", ("seed",)),
    "nan in params": (GOOD.replace("end_factor: 0.5", "end_factor: .nan"), ("scheduler_params",)),
    "infinite rate": (GOOD + "acceleration: {max: .inf}\n", ("acceleration",)),
    "tabs": ("lora:\n\trank: 4\n", ("line 2", "tabs")),
    "two documents": (GOOD + "---\n" + GOOD, ("document",)),
    "empty": ("", ("data",)),
    "only a comment": ("# nothing\n", ("data",)),
    "null": ("~", ("data",)),
    "zero": ("0", ("expected sections",)),
    "false": ("false", ("expected sections",)),
    "a list": ("[]", ("expected sections",)),
    "a text": (f"{SECRET}\n", ("expected sections",)),
    "a file of secrets": (f"machine api.wandb.ai\n  login user\n  password {SECRET}\n", ()),
    "a key": (f"-----BEGIN OPENSSH PRIVATE KEY-----\n{SECRET * 9}\n-----END\n", ()),
    "a shell file": (f"export HF_TOKEN='{SECRET}'\nexport X=\"\\z\"\n", ()),
    "a secret in quotes": (f'"{SECRET}\\q"\n', ("line 1",)),
    "a secret behind a tag": (f"!{SECRET} x\n", ("line 1",)),
    "a secret behind an anchor": (f"a: &{SECRET} 1\nb: &{SECRET} 1\n", ()),
    "a secret in a directive": (f"%{SECRET} x\n---\n", ()),
    "a secret without end": (f"a: '{SECRET}\n", ("line",)),
    "open bracket": ("a: [1, 2\n", ("line",)),
    "open quote": ('a: "x\n', ("line",)),
    "null character": (GOOD + 'output_dir: "a\\0b"\n', ("line 11",)),
    "half an emoji": (GOOD + 'output_dir: "a\\ud83d"\n', ("line 11",)),
    "no such letter": (GOOD + 'output_dir: "\\U00110000"\n', ("line",)),
    "control letters": (GOOD + "output_dir: a\x01\n", ("line 11",)),
    "version of many digits": (f"%YAML 1.{'9' * 5000}\n---\na: 1\n", ("line",)),
    "large file": ("# " + "a" * 2**20, ("bytes",)),
    "very large file": ("# " + "a" * 2**27, ("bytes",)),
    "many values": ("a: [" + "1," * 60_000 + "]", ("values",)),
    "many keys": ("".join(f"k{i}: 1\n" for i in range(20_000)), ("values",)),
    "many wrong options": ("".join(f"k{i}: 1\n" for i in range(3000)), ("no such option",)),
    "long value": (GOOD + f"seed: {'a' * 50_000}\n", ("seed",)),
    "long name": (GOOD.replace("a run", "-" * 50_000), ("name",)),
    "long size": (
        GOOD + "ltxv_train: {validation: {video_dims: '" + "9" * 5000 + "x1x1'}}",
        ("video_dims",),
    ),
    "huge sizes": (
        GOOD.replace("  prompts", f"  video_dims: [{'9' * 200}, 32, 9]\n  prompts"),
        ("validation",),
    ),
    "list for a section": (GOOD + "hub: [1, 2]\n", ("hub",)),
    "text for a section": (GOOD.replace("\n  rank: 4", " text"), ("lora",)),
    "map for a text": (GOOD + "output_dir: {a: 1}\n", ("output_dir",)),
    "list for a path": (GOOD.replace(": data\n", ": [a, b]\n"), ("preprocessed_data_root",)),
    "many wrong types": (
        GOOD + "output_dir: [1]\nseed: {}\nhub: 1\ncheckpoints: {interval: x}\n",
        ("output_dir", "seed", "checkpoints.interval"),
    ),
}
VALUES = {
    "date for a text": ("output_dir: 2024-01-01\n", lambda c: c.output_dir, "2024-01-01"),
    "time for a text": ("output_dir: 12:30\n", lambda c: c.output_dir, "12:30"),
    "moment for a text": (
        "output_dir: 2024-01-01 10:00:00\n",
        lambda c: c.output_dir,
        "2024-01-01 10:00:00",
    ),
    "merge": ("x: &x {rank: 4}\n", None, None),
    "alias": ("output_dir: &o out\nhub: {}\n", lambda c: c.output_dir, "out"),
    "windows path in single quotes": ("output_dir: 'C:\\new'\n", lambda c: c.output_dir, "C:\\new"),
    "mark": ("\ufeff", None, None),
    "carriage returns": ("output_dir: out\r\n", lambda c: c.output_dir, "out"),
    "quoted newline": ('output_dir: "a\\nb"\n', lambda c: c.output_dir, "a\nb"),
}
SETS = {
    "no value": (["lora.rank"], "--set"),
    "no name": (["=4"], "--set"),
    "long word": (["a" * 9000], "--set"),
    "many sections": ([".".join("abcdefghij") + "=1"], "section.option"),
    "deep": (["lora.rank=" + "[" * 5000], "nested"),
    "twice": (["optimization.scheduler_params={power: 1, power: 2}"], "twice"),
    "below a value": (["name.x=1"], "not a section"),
    "digits": ([f"seed={'9' * 5000}"], "digits"),
    "tag": (["seed=!!python/name:os.x"], "tag"),
    "null character": (["output_dir=a\0b"], "UTF-8"),
    "alias": (["seed=*a"], "--set"),
    "laughs": (["optimization.scheduler_params={" + LAUGHS.replace("\n", ", ") + "}"], "values"),
}
MAPPINGS = {
    "a list": "[1]",
    "a text": "power",
    "twice": "power: 1\npower: 2",
    "deep": "a: " + "{a: " * 2000,
    "digits": "power: " + "9" * 5000,
    "laughs": LAUGHS,
    "nan": "power: .nan",
    "number as key": "1: 2",
    "tabs": "\tpower: 1",
    "long": "power: " + "a" * 100_000,
    "half an emoji": 'power: "\\ud83d"',
    "list in it": "power: [1]",
    "huge": "power: " + "9" * 299,
}


def loading(content: str | bytes, overrides: list[str] | None = None) -> Callable[[Path], Any]:
    def prepare(folder: Path) -> Callable[[], Any]:
        path = folder / "c.yaml"
        path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
        return lambda: yaml_file.load(path, overrides)

    return prepare


def checking(content: str | bytes) -> Callable[[Path], Any]:
    def prepare(folder: Path) -> Callable[[], Any]:
        path = folder / "c.yaml"
        path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
        # It takes seconds the first time.
        importlib.import_module("ltxv_train_core.training.preflight")
        return lambda: main(["check", str(path)])

    return prepare


def mapping(text: str) -> Callable[[Path], Any]:
    return lambda folder: (
        lambda: from_widgets(OptimizationConfig, {"scheduler_params": text}, "optimization")
    )


def special(kind: str) -> Callable[[Path], Any]:
    def prepare(folder: Path) -> Callable[[], Any]:
        path = folder / "c.yaml"
        if kind == "pipe":
            os.mkfifo(path)
        elif kind == "folder":
            path.mkdir()
        elif kind == "long name":
            path = folder / ("a" * 300)
        elif kind == "null in the name":
            path = folder / "a\0b"
        else:
            path.symlink_to(kind)
        return lambda: yaml_file.load(path)

    return prepare


def expects(value: Any, read: Callable | None, wanted: Any) -> str:
    if read is None or read(value) == wanted:
        return ""
    return f"{read(value)!r} instead of {wanted!r}"


def mutated(number: int) -> str:
    """A good configuration with some letters changed, lost, or added."""
    random = seeded("yaml", number)
    text = list(GOOD)
    for _ in range(random.randint(1, 6)):
        place = random.randrange(len(text))
        letter = random.choice(string.printable + "\0\u2028\ufeff\x85é&*!|>%@`" + "[]{}:,-#" * 4)
        choice = random.random()
        if choice < 0.4:
            text[place] = letter
        elif choice < 0.7:
            text.insert(place, letter * random.choice((1, 1, 1, 40)))
        elif choice < 0.9:
            del text[place : place + random.randint(1, 9)]
        else:
            text[place:place] = text[max(0, place - 30) : place]
    return "".join(text)


CASES = [
    *(Case(name, loading(text), "error", says) for name, (text, says) in TEXTS.items()),
    *(
        Case(
            f"value {name}",
            loading(GOOD + text if name != "mark" else text + GOOD),
            "either" if name == "merge" else "value",
            right=lambda value, read=read, wanted=wanted: expects(value, read, wanted),
        )
        for name, (text, read, wanted) in VALUES.items()
    ),
    *(
        Case(f"set {name}", loading(GOOD, words), "error", (says,))
        for name, (words, says) in SETS.items()
    ),
    *(Case(f"mapping {name}", mapping(text), "error") for name, text in MAPPINGS.items()),
    *(
        Case(f"file {kind}", special(kind), "error")
        for kind in (
            "pipe",
            "folder",
            "/dev/zero",
            "/dev/tty",
            "/nowhere",
            "long name",
            "null in the name",
        )
    ),
    *(Case(f"check {name}", checking(TEXTS[name][0]), "error") for name in list(TEXTS)[::6]),
    *(Case(f"mutated {number}", loading(mutated(number))) for number in range(60)),
]


@pytest.mark.parametrize("case", parameters(CASES, sampled=30))
def test_yaml(case, tmp_path):
    judge(case, tmp_path)
