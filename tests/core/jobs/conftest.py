import pytest

from ltxv_train_core.jobs import JobManager


@pytest.fixture
def manager():
    manager = JobManager()
    yield manager
    manager.shut_down()
