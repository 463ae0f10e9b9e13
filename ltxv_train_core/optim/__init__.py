"""Optimizers and learning rate schedules, by the names of the configuration."""

from .optimizers import build_optimizer
from .schedules import build_schedule

__all__ = ["build_optimizer", "build_schedule"]
