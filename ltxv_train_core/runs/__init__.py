"""Runs on disk: their names, states and files, and their writer."""

from .fingerprint import RECIPE, family, fingerprint
from .folder import LoRAFile, RunFolder, SampleSet
from .label import Label
from .library import RunLibrary, RunNotFoundError
from .state import STATUSES, Failure, RunState, Status
from .summary_cache import RunSummary
from .writer import RunBusyError, RunWriter

__all__ = [
    "RECIPE",
    "STATUSES",
    "Failure",
    "Label",
    "LoRAFile",
    "RunBusyError",
    "RunFolder",
    "RunLibrary",
    "RunNotFoundError",
    "RunState",
    "RunSummary",
    "RunWriter",
    "SampleSet",
    "Status",
    "family",
    "fingerprint",
]
