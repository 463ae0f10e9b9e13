"""Runs that this process works on: a queue for each device, and what is asked of them.

The events of a run go one way, wherever it trains:

    trainer, in a thread of this process  ------------------------>+
                                                                   |
    trainer, in a worker process                                   v
      its reporter --> WorkerConnection --> SubprocessTrainer --> RunJob.report
                                                                   |
                                                                   v
                                                            RunJob.listeners
                                                              |          |
                                             a node that waits          JobManager's subscribers
                                             (an EventQueue)            (browsers, for example)

What is asked of a run goes the other way: `JobManager.stop`, `pause` and `request` set the job's
`Control`, which the trainer asks between two steps. SubprocessTrainer sends it to the worker.
"""

from .manager import JobManager
from .run_job import RunJob

__all__ = ["JobManager", "RunJob"]
