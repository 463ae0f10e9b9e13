"""Runs on disk: their names, states and files, and the one who may write them."""

from .fingerprint import RECIPE, family, fingerprint
from .folder import LoRAFile, RunFolder, SampleSet
from .library import RunLibrary, RunNotFoundError
from .state import STATUSES, Cause, RunState, Status
from .summary_cache import RunSummary
from .writer import RunBusyError, RunWriter

__all__ = [
    "RECIPE",
    "STATUSES",
    "Cause",
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
