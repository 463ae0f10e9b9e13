"""A process among several. A group of one plays two."""

import pytest
import torch
import torch.distributed as dist

from ltxv_train_core.errors import ConfigurationError
from ltxv_train_core.models.device import use_device
from ltxv_train_core.training.distributed import COLLECTIVE, PATIENCE, Processes
from ltxv_train_core.training.run_plan import plan_run


@pytest.fixture
def group():
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    if dist.is_initialized():
        dist.destroy_process_group()


@pytest.fixture
def device():
    yield use_device
    use_device(None)


def test_losses_become_means(group):
    assert Processes(0, 4).means([3.0, 1.0]) == [0.75, 0.25]
    assert Processes(0, 2).means([0.1]) == [0.05], "in double precision"
    assert Processes(0, 2).agree({"a": 1}) == {"a": 1}


def test_alone_nothing_is_asked_of_anybody():
    assert (Processes().means([3.0]), Processes().agree("x")) == ([3.0], "x")
    Processes().leave()
    Processes(1, 2).leave()


def test_the_first_one_is_number_0():
    assert Processes() == Processes(0, 1, 0)
    assert [Processes(rank, 3).is_first for rank in range(3)] == [True, False, False]


def test_what_a_launcher_started_joins(group, monkeypatch):
    for name in ("WORLD_SIZE", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    assert Processes.join() == Processes()
    monkeypatch.setenv("WORLD_SIZE", "1")
    monkeypatch.setenv("LOCAL_RANK", "5")
    assert Processes.join() == Processes()
    monkeypatch.setenv("WORLD_SIZE", "3")
    assert Processes.join() == Processes(0, 3, 5)
    monkeypatch.delenv("LOCAL_RANK")
    assert Processes.join() == Processes(0, 3, 0)
    Processes(0, 1).leave()
    assert dist.is_initialized()
    Processes(0, 3).leave()
    assert not dist.is_initialized()


def test_each_process_has_the_accelerator_of_its_number(device):
    assert PATIENCE.total_seconds() == 6 * 3600
    assert COLLECTIVE.total_seconds() == 1800
    device(torch.device("cuda"))
    assert Processes(1, 2, 1).device == torch.device("cuda", 1)
    assert Processes(0, 1, 1).device == torch.device("cuda")
    device(torch.device("cpu"))
    assert Processes(1, 2, 1).device == torch.device("cpu")


@pytest.mark.parametrize(
    ("kind", "there", "processes", "fits"),
    [
        ("cpu", 0, 5, True),
        ("mps", 0, 1, True),
        ("mps", 9, 2, False),
        ("cuda", 2, 2, True),
        ("cuda", 2, 3, False),
    ],
)
def test_each_process_needs_an_accelerator(
    training_config, device, monkeypatch, kind, there, processes, fits
):
    config = training_config()
    monkeypatch.setattr(torch.cuda, "device_count", lambda: there)
    device(torch.device(kind))
    try:
        assert plan_run(config, processes=processes).state.processes == processes
    except ConfigurationError as error:
        text = str(error)
    else:
        text = ""
    count = there if kind == "cuda" else 1
    told = f"{processes} processes: this machine has {count} accelerators ({kind}); use as many"
    assert (told in text) != fits
