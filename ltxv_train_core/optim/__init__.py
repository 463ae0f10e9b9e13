"""Optimizers, schedules and averages of weights, by the names of the configuration."""

from .ema import WeightAverage
from .optimizers import build_optimizer, final_weights, optimizer_problem
from .schedules import build_schedule

__all__ = [
    "WeightAverage",
    "build_optimizer",
    "build_schedule",
    "final_weights",
    "optimizer_problem",
]
