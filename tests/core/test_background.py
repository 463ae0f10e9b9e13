import threading

import pytest
import torch

from ltxv_train_core.background import Job
from ltxv_train_core.errors import Cancelled
from ltxv_train_core.events import Notice, raise_if_stopped


def test_a_job_reports_and_returns():
    def work(report, stop):
        report(Notice("one"))
        report(Notice("two"))
        return 42

    job = Job(work).start()
    assert job.result() == 42
    assert [event.message for event in job.drain()] == ["one", "two"]
    assert job.drain() == []


def test_a_job_runs_outside_inference_mode():
    with torch.inference_mode():
        job = Job(lambda report, stop: (torch.is_inference_mode_enabled(), torch.is_grad_enabled()))
        assert job.start().result() == (False, True)


def test_cancel_reaches_the_work():
    started = threading.Event()

    def work(report, stop):
        started.set()
        while True:
            raise_if_stopped(stop)

    job = Job(work).start()
    started.wait()
    assert not job.wait(0.01)
    job.cancel()
    with pytest.raises(Cancelled):
        job.result()


def test_what_the_work_raises_is_raised_again():
    def work(report, stop):
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        Job(work).start().result()
