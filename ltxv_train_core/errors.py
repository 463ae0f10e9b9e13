"""Errors that a user can act on. Each message says what was given, what is allowed, what to change."""

import sys

# An error may quote a file that its reader should not see whole, such as one with a token.
SHOWN_CHARACTERS = 80


def shown(value: object, characters: int = SHOWN_CHARACTERS) -> str:
    """A value as a message shows it: its `repr`, cut off where it is long.

    What is wrong may be a whole file, or somebody's secret that a path led to.
    """
    if isinstance(value, str):
        text = repr(value[: characters + 1])
    elif isinstance(value, dict | list | tuple | set):
        text = f"{type(value).__name__} of {len(value)}"
    elif isinstance(value, int) and value.bit_length() > 300:
        text = "a number of hundreds of digits"
    else:
        text = repr(value)
    return cut(text, characters)


def cut(text: str, characters: int = SHOWN_CHARACTERS) -> str:
    """A text as a message shows it: one line, cut off where it is long."""
    text = "".join(letter if letter.isprintable() else " " for letter in text[: characters + 1])
    return text if len(text) <= characters else f"{text[: characters - 4]} ..."


def install_command(packages: str, options: str = "") -> str:
    """What installs packages for the Python that runs this, which in ComfyUI is seldom the terminal's."""
    python = f'"{sys.executable}"' if " " in sys.executable else sys.executable
    return " ".join(filter(None, (python, "-m pip install", options, packages)))


class LTXVTrainError(ValueError):
    """Base of every error that is the user's to solve."""


class ConfigurationError(LTXVTrainError):
    """One or more options are wrong. All of them are reported together.

    Attributes:
        problems: one line for each problem, each naming its option.
    """

    def __init__(self, problems: list[str]):
        self.problems = list(problems)
        super().__init__("\n".join(self.problems))


class DataError(LTXVTrainError):
    """A data set, or one clip of it, can't be used."""


class ModelError(LTXVTrainError):
    """A model or LoRA file is missing, or isn't what it should be."""


class NotFiniteError(LTXVTrainError):
    """Numbers are NaN or infinite: the loss too many steps in a row, or weights."""


class Cancelled(Exception):
    """The work was stopped on request; finished work stays on disk."""
