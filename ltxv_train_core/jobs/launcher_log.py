"""What the log of a launcher and its processes says of their end."""

import re
import signal
from collections.abc import Iterable

_FIRST_FAILURE = re.compile(
    r"^Root Cause.*?^\s*rank\s*: (?P<rank>\d+).*?^\s*exitcode\s*: (?P<code>-?\d+)",
    re.MULTILINE | re.DOTALL,
)
"""The table that torch's launcher prints, which accelerate uses too (torch 2.13)."""


def last_words(text: str, exit_code: int) -> str:
    """Says which process ended and why, as far as its log tells.

    Args:
        text: of the log.
        exit_code: of the process that was started: the worker, or the launcher of several.
    """
    if found := _FIRST_FAILURE.search(text):
        rank, code = found["rank"], int(found["code"])
        said = _last(line for line in text.splitlines() if line.strip().startswith(f"[rank{rank}]"))
        return f"process {int(rank) + 1} {_ended(code, said)}"
    return f"the training process {_ended(exit_code, _last(text.splitlines()))}"


def _ended(code: int, said: str) -> str:
    if code < 0:
        return f"was killed by the signal {_signal(-code)}{_reason(-code)}"
    return f"ended with code {code} and gave no reason ({said or 'no output'})"


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # one of another system
        return str(number)


def _reason(number: int) -> str:
    if number == getattr(signal, "SIGKILL", None):
        return "; somebody ended it, or the system did because the computer's memory was full"
    return ""


def _last(lines: Iterable[str]) -> str:
    """The last line of processes before what their launcher writes."""
    written = [line.strip() for line in lines if line.strip()]
    theirs = [line for line in written if line.startswith("[rank")]
    return (theirs or written or [""])[-1]
