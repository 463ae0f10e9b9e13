"""The judge itself: each way to end badly is seen."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ltxv_train_core.errors import ConfigurationError, DataError
from tests.corpus.judge import SECRET, Case, Misbehaved, judge


def _raise(error: Exception) -> Any:
    raise error


def _loop() -> None:
    while True:
        pass


ACTIONS: dict[str, tuple[str, Callable[[Path], Any]]] = {
    "not ours": ("traceback", lambda folder: _raise(KeyError("x"))),
    "printed": ("traceback", lambda folder: print("Traceback (most recent call last)")),
    "loop": ("hang", lambda folder: _loop()),
    "much memory": ("memory", lambda folder: len(b"1" * (9 * 2**27))),
    "too much memory": ("memory", lambda folder: len(b"1" * 2**36)),
    "beside": ("outside", lambda folder: (folder.parent / "a").write_text("")),
    "elsewhere": ("outside", lambda folder: (folder.parent.parent / "corpus-judge").mkdir()),
    "unread": ("outside", lambda folder: (folder / "unread").read_text()),
    "told": ("wrong", lambda folder: _raise(DataError(f"can't read {SECRET}"))),
    "long": ("wrong", lambda folder: _raise(DataError("a" * 4000))),
    "lines": ("wrong", lambda folder: _raise(ConfigurationError(["a\nb"]))),
    "silent": ("wrong", lambda folder: _raise(DataError(""))),
    "value": ("good", lambda folder: (folder / "a").write_text("abc")),
    "error": ("good", lambda folder: _raise(DataError("a: can't be read"))),
}


SLOW = ("loop", "much memory")


@pytest.mark.corpus
@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=[] if n in SLOW else pytest.mark.corpus_sample) for n in ACTIONS],
)
def test_verdict(name, tmp_path):
    verdict, action = ACTIONS[name]
    inner = tmp_path / "inner"
    inner.mkdir()

    def prepare(folder: Path) -> Callable[[], Any]:
        (folder / "unread").write_text("")
        return lambda: action(folder)

    case = Case(name, prepare, unread=("unread",))
    if verdict == "good":
        judge(case, inner)
        return
    with pytest.raises(Misbehaved) as raised:
        judge(case, inner)
    assert raised.value.verdict == verdict
