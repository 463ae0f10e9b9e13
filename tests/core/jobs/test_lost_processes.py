"""One of two processes is killed or hangs while they train one run together, as it happens, in real time."""

import os
import signal
import time

import psutil
import pytest

from ltxv_train_core.runs.failures import RunFailedError
from ltxv_train_core.runs.library import current_state
from ltxv_train_core.training.run_plan import plan_run

pytestmark = [
    pytest.mark.kills,
    pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="needs signals of POSIX"),
]


def worker(run, rank: int) -> psutil.Process:
    """The process of a rank."""
    for process in psutil.Process().children(recursive=True):
        if str(run.folder) in process.cmdline() and process.environ().get("RANK") == str(rank):
            return process
    raise AssertionError(f"no process has the rank {rank}")


@pytest.mark.parametrize(
    ("rank", "sign", "seconds", "kind", "said"),
    [
        (0, "SIGKILL", 30, "crashed", "process 1 was killed by the signal SIGKILL"),
        (1, "SIGKILL", 30, "crashed", r"process 2 (was killed by the signal SIGKILL|of 2 is gone)"),
        (
            0,
            "SIGSTOP",
            95,
            "hung",
            r"(process 1 of 2|the training process) has not answered for 60 s",
        ),
        (1, "SIGSTOP", 95, "hung", "process 2 of 2 has not answered for 60 s"),
    ],
)
def test_a_process_that_is_lost_ends_the_run_by_name(
    manager, training_config, rank, sign, seconds, kind, said
):
    config = training_config(optimization={"steps": 100_000, "batch_size": 1})
    job = manager.submit(plan_run(config, processes=2))
    while job.step < 3:
        assert not job.wait(0.05)
    os.kill(worker(job.run, rank).pid, getattr(signal, sign))
    started = time.monotonic()
    with pytest.raises(RunFailedError, match=said):
        job.result()
    took = time.monotonic() - started
    print(f"{sign} of rank {rank}: {took:.1f} s")
    state = current_state(job.run)
    assert (state.status, state.cause.kind) == ("failed", kind)
    assert took < seconds
    assert psutil.Process().children(recursive=True) == []
