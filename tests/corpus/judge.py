"""Judges how the core ends on an input that somebody damaged or made up.

A test module of a kind lists its cases and hands them to `judge`:

    CASES = [Case("deep nesting", prepare)]

    @pytest.mark.parametrize("case", parameters(CASES, sampled=20))
    def test_yaml(case, tmp_path):
        judge(case, tmp_path)

`prepare(folder)` writes the case's files into the folder and returns what is to be run, a function
without arguments. It ends well with a value, with an error of the project, or with an exit code.
"""

import contextlib
import io
import os
import random
import resource
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest

from ltxv_train_core.errors import Cancelled, ConfigurationError, LTXVTrainError

CPU_SECONDS = 2.0
"""On a quiet machine. A slower or busier one has more: `_slowness`."""
STOPPED_AFTER_CPU_SECONDS = 12.0
STOPPED_AFTER_SECONDS = 60.0
GROWN_BYTES = 2**30
MESSAGE_CHARACTERS = 3000
EXIT_CODES = (1, 2, 130)
"""Of commands that failed."""

SECRET = "hf_cOrPuSsEcReTcOrPuSsEcReT"
"""A token, to be put where it must never come back from. Messages are searched for it."""

Verdict = Literal["traceback", "hang", "memory", "outside", "wrong", "good"]


@dataclass(frozen=True)
class Case:
    """One input and how it may end.

    Attributes:
        prepare: writes the files, and returns what to run.
        ends: "error" and "value" where only one of them is right. An exit code of 0 is a value.
        says: words that an error (or what is printed) must have, in upper or lower case.
        right: what is wrong with a value, in words; empty where nothing is.
        unread: files that must not be opened, named below the case's folder.
    """

    name: str
    prepare: Callable[[Path], Callable[[], Any]]
    ends: Literal["error", "value", "either"] = "either"
    says: tuple[str, ...] = ()
    right: Callable[[Any], str] = lambda value: ""
    unread: tuple[str, ...] = ()


class Misbehaved(AssertionError):
    """A case that did not end well. The summary counts the verdicts."""

    def __init__(self, verdict: Verdict, reason: str):
        self.verdict = verdict
        super().__init__(f"{verdict}: {reason}")


def parameters(cases: list[Case], sampled: int) -> list[Any]:
    """Parameters of a test: all are marked `corpus`, and `sampled` of them, evenly spread over the
    list, are part of the default run too."""
    names = [case.name for case in cases]
    assert len(set(names)) == len(names), sorted(n for n in set(names) if names.count(n) > 1)
    quick = {index * len(cases) // sampled for index in range(sampled)} if sampled else set()
    marks = {True: [pytest.mark.corpus, pytest.mark.corpus_sample], False: [pytest.mark.corpus]}
    return [
        pytest.param(case, id=case.name, marks=marks[index in quick])
        for index, case in enumerate(cases)
    ]


def seeded(*name: Any) -> random.Random:
    """A generator of numbers that are the same in every run."""
    return random.Random(repr(name))


def judge(case: Case, parent: Path) -> None:
    """Runs a case in a folder of its own.

    Raises:
        Misbehaved: it did not end well.
    """
    folder = parent / "case"
    folder.mkdir()
    action = case.prepare(folder)
    beside = _listing(parent)
    printed = io.StringIO()
    opened = _Opened(folder)
    value: Any = None
    error: Exception | None = None
    before, started = _peak_bytes(reset=True), time.process_time()
    try:
        with (
            contextlib.redirect_stdout(printed),
            contextlib.redirect_stderr(printed),
            opened.watched(),
            _bounded(),
        ):
            value = action()
    except (LTXVTrainError, Cancelled) as ended:
        error = ended
    except SystemExit as ended:
        value = ended.code
    except MemoryError as ended:
        raise Misbehaved("memory", "no memory was left") from ended
    except _OutOfTime as ended:
        raise Misbehaved("hang", str(ended)) from ended
    except BaseException as ended:
        if isinstance(ended, KeyboardInterrupt):
            raise
        raise Misbehaved("traceback", f"{type(ended).__name__}: {str(ended)[:300]}") from ended
    finally:
        # Other tests of this process measure their own peak.
        peak = _peak_bytes()
        _peak_bytes(reset=True)
    seconds, grown = time.process_time() - started, peak - before
    if grown > GROWN_BYTES:
        raise Misbehaved("memory", f"{grown / 2**20:,.0f} MiB more")
    if seconds > CPU_SECONDS and seconds > CPU_SECONDS * _slowness():
        raise Misbehaved("hang", f"{seconds:.1f} seconds of CPU")
    if opened.outside or _listing(parent) != beside:
        raise Misbehaved("outside", f"written: {opened.outside or _listing(parent) - beside}")
    if read := {str(folder / name) for name in case.unread} & opened.read:
        raise Misbehaved("outside", f"opened: {read}")
    _judge_words(case, value, error, printed.getvalue())


def _judge_words(case: Case, value: Any, error: Exception | None, printed: str) -> None:
    text = f"{printed}\n{error or ''}"
    if "Traceback (most recent call last)" in text:
        raise Misbehaved("traceback", printed[-300:])
    if SECRET in text:
        raise Misbehaved("wrong", "the content of a file came back")
    problems = error.problems if isinstance(error, ConfigurationError) else [str(error or "")]
    if any("\n" in problem.strip() for problem in problems):
        raise Misbehaved("wrong", f"a problem of several lines: {problems}")
    if len(text) > MESSAGE_CHARACTERS:
        raise Misbehaved("wrong", f"{len(text):,} characters of message: {text[:200]}")
    failed = error is not None or (type(value) is int and value in EXIT_CODES)
    if case.ends == "value" and failed:
        raise Misbehaved("wrong", f"refused: {text[:300]}")
    if case.ends == "error" and not failed:
        raise Misbehaved("wrong", f"accepted: {value!r}"[:300])
    if failed and not text.strip():
        raise Misbehaved("wrong", "failed without a word")
    if missing := [word for word in case.says if word.lower() not in text.lower()]:
        raise Misbehaved("wrong", f"{missing} not said: {text[:300]}")
    if not failed and (complaint := case.right(value)):
        raise Misbehaved("wrong", complaint)


class _OutOfTime(BaseException):
    """No `Exception`, so that nothing swallows it."""


@contextlib.contextmanager
def _bounded() -> Iterator[None]:
    """Ends what takes too long, and what asks for many gigabytes."""

    def stop(number: int, frame: Any) -> None:
        kind = "CPU" if number == signal.SIGPROF else "waiting"
        raise _OutOfTime(f"stopped after too much {kind}")

    limits = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    handlers = [(s, signal.signal(s, stop)) for s in (signal.SIGPROF, signal.SIGALRM)]
    resource.setrlimit(
        resource.RLIMIT_AS, (pages * resource.getpagesize() + 4 * GROWN_BYTES, limits[1])
    )
    signal.setitimer(signal.ITIMER_PROF, STOPPED_AFTER_CPU_SECONDS)
    signal.setitimer(signal.ITIMER_REAL, STOPPED_AFTER_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
        resource.setrlimit(resource.RLIMIT_AS, limits)
        for number, handler in handlers:
            signal.signal(number, handler)


def _slowness() -> float:
    """How many times longer this machine takes, now, for some work than a quiet one; at least 1."""
    started = time.process_time()
    for _ in range(4):
        sorted({str(number): [number] for number in range(50_000)}.items())
        len(b"1" * 2**26)
    return max(1.0, (time.process_time() - started) / 0.25)


def _peak_bytes(reset: bool = False) -> int:
    """The most memory that was resident since the last reset; with `reset`, what is resident now."""
    if reset:
        Path("/proc/self/clear_refs").write_text("5")
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


def _listing(parent: Path) -> set[str]:
    """What lies beside the case's folder."""
    return {path.name for path in parent.iterdir()}


class _Opened:
    """Which files Python code opens, makes or removes."""

    _now: "_Opened | None" = None
    _hooked = False

    def __init__(self, folder: Path):
        self.folder = str(folder)
        self.read: set[str] = set()
        self.outside: set[str] = set()

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        if not _Opened._hooked:
            sys.addaudithook(_Opened._hook)
            _Opened._hooked = True
        _Opened._now = self
        try:
            yield
        finally:
            _Opened._now = None

    @staticmethod
    def _hook(event: str, arguments: tuple[Any, ...]) -> None:
        if _Opened._now is not None:
            _Opened._now._see(event, arguments)

    def _see(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open" and isinstance(arguments[0], str | bytes):
            path, mode, flags = arguments
            writes = bool(set(mode or "") & set("wax+")) or bool((flags or 0) & 0o3)
            self._note(path, writes)
        elif event in ("os.mkdir", "os.remove", "os.rmdir", "os.truncate", "shutil.rmtree"):
            self._note(arguments[0], True)
        elif event in ("os.rename", "os.link", "os.symlink"):
            self._note(arguments[1], True)

    def _note(self, path: Any, writes: bool) -> None:
        name = str(Path(os.fsdecode(path)).absolute()) if isinstance(path, str | bytes) else ""
        if not writes:
            self.read.add(name)
        elif (
            name
            and not name.startswith((self.folder, "/dev/", "/proc/"))
            and "__pycache__" not in name
        ):
            self.outside.add(name)
