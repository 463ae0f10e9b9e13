"""Processes that meet, beat, and miss one another. Threads stand for them: each has a store of its own."""

import socket
import threading
import time
from datetime import timedelta

import pytest
import torch.distributed as dist

from ltxv_train_core.errors import Cancelled
from ltxv_train_core.training import heartbeats, lost, rendezvous
from ltxv_train_core.training.distributed import Processes
from ltxv_train_core.training.heartbeats import Heartbeats
from ltxv_train_core.training.lost import ProcessLostError, watched


@pytest.fixture
def port(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    monkeypatch.setenv("MASTER_PORT", str(port))
    monkeypatch.delenv("TORCHELASTIC_USE_AGENT_STORE", raising=False)
    return port


@pytest.fixture
def fast(monkeypatch):
    monkeypatch.setattr(heartbeats, "BEAT_SECONDS", 0.02)


def until(condition, seconds=20):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.01)


def beating(store, count, silent):
    """The heartbeats of so many processes; `silent` collects who misses whom."""
    found = []
    for rank in range(count):
        found.append(Heartbeats(store, rank, count, lambda r, rank=rank: silent.append((rank, r))))
        found[-1].start()
    return found


def test_whoever_falls_silent_is_missed_by_the_first(fast):
    silent: list = []
    processes = beating(dist.HashStore(), 3, silent)
    time.sleep(heartbeats.SILENT_BEATS * 0.02 * 2)
    assert silent == [], "all of them beat"
    processes[2]._ended.wait = lambda seconds: time.sleep(1000)  # as SIGSTOP leaves it
    until(lambda: silent)
    assert silent == [(0, 2)]
    processes[0].close()
    processes[1].close()


def test_the_others_miss_the_first(fast):
    silent: list = []
    processes = beating(dist.HashStore(), 3, silent)
    processes[0]._ended.wait = lambda seconds: time.sleep(1000)
    until(lambda: len(silent) == 2)
    assert sorted(silent) == [(1, 0), (2, 0)]


def test_whoever_leaves_is_not_missed(fast):
    silent: list = []
    processes = beating(dist.HashStore(), 3, silent)
    processes[0].close()
    processes[2].close()
    time.sleep(heartbeats.SILENT_BEATS * 0.02 * 3)
    assert silent == []
    assert processes[0].find_lost() in (1, 2)
    processes[1].close()


def test_processes_meet_and_share_what_is_stored(port):
    stores = [rendezvous.open_store(is_host=True), rendezvous.open_store()]
    other = threading.Thread(target=rendezvous.meet, args=(stores[1], 1, 2))
    other.start()
    rendezvous.meet(stores[0], 0, 2)
    other.join()
    assert stores[0].add("x", 1) == 1
    assert stores[1].add("x", 1) == 2


def test_who_does_not_come_is_named(port, monkeypatch):
    assert timedelta(minutes=5) == rendezvous.PATIENCE
    monkeypatch.setattr(rendezvous, "PATIENCE", timedelta(seconds=0.3))
    store = rendezvous.open_store(is_host=True)
    said = rf"process 2, 3 of 3 did not come within 0\.005 minutes.*127\.0\.0\.1:{port}"
    with pytest.raises(rendezvous.RendezvousError, match=said):
        rendezvous.meet(store, 0, 3)


def test_a_stop_ends_the_wait_for_the_others(port, monkeypatch):
    stop = threading.Event()
    threading.Timer(0.2, stop.set).start()
    for name, value in {"WORLD_SIZE": "2", "RANK": "0"}.items():
        monkeypatch.setenv(name, value)
    started = time.monotonic()
    with pytest.raises(Cancelled):
        Processes.join(stop)
    assert time.monotonic() - started < 5


def test_a_process_whose_partner_hangs_says_so_and_ends(port, fast, monkeypatch):
    ended, failures = threading.Event(), []
    monkeypatch.setattr(lost.os, "_exit", lambda code: (failures.append(code), ended.set()))
    host = rendezvous.open_store(is_host=True)
    with watched(Processes(0, 2), failures.append):
        assert ended.wait(20)
    del host
    assert (failures[0].kind, failures[1]) == ("hung", 1)
    assert failures[0].message.startswith("process 2 of 2 has not answered for")


@pytest.mark.parametrize(
    ("error", "is_lost"),
    [
        (
            RuntimeError("[../third_party/gloo/gloo/transport/tcp/pair.cc:5] Connection closed"),
            True,
        ),
        (RuntimeError("Application timeout caused pair closure"), True),
        (dist.DistBackendError("NCCL"), True),
        (RuntimeError("shape mismatch"), False),
    ],
)
def test_a_broken_connection_names_the_process_that_is_gone(port, fast, error, is_lost):
    host = rendezvous.open_store(is_host=True)
    expected = ProcessLostError if is_lost else RuntimeError
    with pytest.raises(expected) as caught, watched(Processes(0, 2), lambda failure: None):
        raise error
    assert isinstance(caught.value, ProcessLostError) == is_lost
    if is_lost:
        assert str(caught.value) == "process 2 of 2 is gone"
        assert caught.value.cause.kind == "crashed"
    del host


def test_alone_nobody_is_watched():
    assert Processes().watch(lambda rank: None) is None
    with pytest.raises(RuntimeError, match="gloo"), watched(Processes(), lambda failure: None):
        raise RuntimeError("gloo")
