"""Errors that a user can act on. Each message says what was given, what is allowed, what to change."""


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
    """The loss was not finite too many steps in a row."""


class Cancelled(Exception):
    """The work was stopped on request; what was finished before is kept."""
