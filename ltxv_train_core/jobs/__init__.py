"""Runs that are worked on in this process: a queue for each device, and what is asked of them."""

from .manager import JobManager
from .run_job import Follower, RunJob

__all__ = ["Follower", "JobManager", "RunJob"]
