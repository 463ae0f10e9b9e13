"""Ten thousand steps in ComfyUI: what a long run takes from the machine stays the same.

    python -m pytest -n0 -m soak

SOAK_STEPS sets another number of steps; it takes about an hour for ten thousand on two cores.
"""

import json
import os
import statistics
import sys
import time
from dataclasses import astuple, dataclass

import psutil
import pytest

from tests.graph import Graph
from tests.host import Host
from tests.nodes.workflows import add, configure

STEPS = int(os.environ.get("SOAK_STEPS", "10000"))
SETTLED_STEPS = 200
INTERVAL_SECONDS = 1.0
SIZE = "64x64x9"


@dataclass(frozen=True)
class Usage:
    """What the process takes at a step."""

    step: int
    resident_bytes: int
    threads: int
    handles: int


def measure(process: psutil.Process, step: int) -> Usage:
    with process.oneshot():
        handles = process.num_handles() if sys.platform == "win32" else process.num_fds()
        return Usage(step, process.memory_info().rss, process.num_threads(), handles)


@pytest.mark.soak
@pytest.mark.parametrize(
    "host", [pytest.param("comfyui", marks=pytest.mark.comfyui)], indirect=True
)
def test_a_long_run_takes_no_more_at_its_end_than_at_its_beginning(host: Host) -> None:
    graph = Graph()
    dataset = add(graph, host, "LTXVTrainDemoDataset", task="stripes", clips=4, seed=3)
    data = add(
        graph,
        host,
        "LTXVTrainDatasetPreprocess",
        dataset_path=dataset,
        model_source="LTXV_MINIATURE",
        resolution_buckets=SIZE,
    )
    config = configure(
        graph,
        host,
        data,
        steps=STEPS,
        name="soak",
        validation={
            "prompts": "a circle",
            "video_dims": SIZE,
            "inference_steps": 1,
            "interval": 100,
        },
        checkpoints={"interval": 50, "keep_last_n": 2},
    )
    graph.add("LTXVTrainLoRA", config=config)
    prompt = host.start(graph.prompt)
    used = follow(host, STEPS)
    assert host.wait(prompt).succeeded()
    print(*(json.dumps(astuple(each)) for each in used), sep="\n")

    settled = [each for each in used if each.step > SETTLED_STEPS]
    quarter = len(settled) // 4
    begin, end = settled[:quarter], settled[-quarter:]
    assert quarter > 10
    for name, more in (("resident_bytes", 64 * 2**20), ("threads", 1), ("handles", 2)):
        before, after = (
            statistics.median(getattr(each, name) for each in part) for part in (begin, end)
        )
        print(f"{name}: {before:,.0f} -> {after:,.0f}")
        assert after <= before + more, name


def follow(host: Host, steps: int) -> list[Usage]:
    """Polls as a browser with the panel does until the last step, and measures each time."""
    process, found, step = psutil.Process(host.pid), [], 0
    while step < steps:
        runs = host.get("/ltxv_train/runs")
        run = next((each for each in runs if each["name"].startswith("soak-")), None)
        if run is not None:
            assert run["status"] in ("queued", "running", "finished"), run
            host.get(f"/ltxv_train/runs/{run['name']}")
            host.get(f"/ltxv_train/runs/{run['name']}/metrics?since={step}")
            step = run["step"]
            found.append(measure(process, step))
        time.sleep(INTERVAL_SECONDS)
    return found
