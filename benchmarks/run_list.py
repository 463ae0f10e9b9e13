"""What the list of runs costs: processor time of a request, and what many who poll it cost others.

    python benchmarks/run_list.py [--runs 500]
    python benchmarks/run_list.py --url http://127.0.0.1:8188 [--clients 50] [--seconds 5] [--pairs 5]

The first measures the routes' work in this process, without the web server. At most 2 ms are wanted
for the list, 0.5 ms for one run. The second asks a running ComfyUI: its own /queue, in pairs without
clients and with some that each ask for the list every second. At most 1.5 times the median is wanted,
and 200 ms for 99 of 100. With --pid PID of the server, its processor time is told too.
"""

import argparse
import asyncio
import importlib
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import aiohttp
import psutil
from aiohttp.test_utils import make_mocked_request

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from ltxv_train_core.events import StepCompleted  # noqa: E402
from ltxv_train_core.runs import RunFolder, RunState  # noqa: E402
from ltxv_train_core.runs.metrics_file import write_steps  # noqa: E402
from tests.standin.host import StandInHost  # noqa: E402

STEPS = 2000
REPEATS = 50
QUEUE_INTERVAL_SECONDS = 0.05


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=500)
    parser.add_argument("--url")
    parser.add_argument("--pid", type=int)
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--pairs", type=int, default=5)
    args = parser.parse_args()
    if args.url:
        print(
            asyncio.run(measure_server(args.url, args.clients, args.seconds, args.pairs, args.pid))
        )
        return
    with tempfile.TemporaryDirectory() as folder:
        for line in measure_routes(Path(folder) / "base", args.runs):
            print(line)


def make_runs(folder: Path, count: int) -> None:
    """Runs that rest, a third of each kind; one in five has a long history."""
    steps = [StepCompleted(k, STEPS, 1 / k, 1e-4, 0.5, 0.1, 1.0) for k in range(1, STEPS + 1)]
    for number in range(count):
        run = RunFolder(folder / f"my-lora-{number:012x}")
        run.folder.mkdir(parents=True)
        write_steps(run.metrics_file, steps[0 if number % 5 == 0 else -10 :])
        state = RunState.new(STEPS, fingerprint=f"{number:012x}", family="f" * 12, data="d" * 12)
        state = state.moved("running").moved(
            ("finished", "stopped", "paused")[number % 3], step=STEPS
        )
        run.write_state(state)


def measure_routes(base: Path, runs: int) -> list[str]:
    """Processor time of each route's work; the first list reads everything."""
    host = StandInHost(base, [ROOT])
    try:
        make_runs(base / "output" / "ltxv_train", runs)
        (routes,) = [
            module for name, module in sys.modules.items() if name.endswith("nodes.server.routes")
        ]
        folder = base / "output" / "ltxv_train"
        name = f"my-lora-{5 * (runs // 10):012x}"
        works = {
            "list": (routes._list_runs, ""),
            "list after a run was changed": (routes._list_runs, ""),
            "list while a run trains": (routes._list_runs, ""),
            "one run": (routes._details, ""),
            "metrics since the last step": (routes._metrics, f"?since={STEPS - 1}"),
            "all metrics in 2000 points": (routes._metrics, "?points=2000"),
        }
        time.sleep(0.1)
        first = milliseconds(routes._list_runs, request(name, ""))
        lines = [f"{runs} runs: first list {first:.2f} ms of processor time"]
        # Of the pack as this ComfyUI imports it, which knows the locks that its own process holds.
        own = importlib.import_module(
            f"{routes.__name__.partition('.nodes.')[0]}.ltxv_train_core.runs"
        )
        trained = own.RunWriter(own.RunFolder(folder / f"my-lora-{1:012x}"))
        for title, (work, query) in works.items():
            asked = request(name, query)
            times = []
            for _ in range(REPEATS):
                if title.endswith("changed"):
                    os.utime(folder)
                    time.sleep(0.03)
                if title.endswith("trains"):
                    if not trained.holds_lock:
                        trained.acquire().move("running")
                    trained.run.append_metrics(
                        StepCompleted(STEPS, STEPS, 0.1, 1e-4, 0.5, 0.1, 1.0)
                    )
                    time.sleep(0.03)
                times.append(milliseconds(work, asked))
            lines.append(f"{title}: {statistics.median(times):.3f} ms (at most {max(times):.3f})")
        return lines
    finally:
        host.close()


def request(name: str, query: str) -> Any:
    return make_mocked_request("GET", f"/ltxv_train/runs{query}", match_info={"name": name})


def milliseconds(work: Any, asked: Any) -> float:
    before = time.thread_time()
    work(asked)
    return 1000 * (time.thread_time() - before)


async def measure_server(
    url: str, clients: int, seconds: float, pairs: int, pid: int | None
) -> str:
    """The latency of /queue in turns without and with clients."""
    alone, together, lists = [], [], []
    process = psutil.Process(pid) if pid else None
    used: list[float] = []
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        for _ in range(pairs):
            for number, into in ((0, alone), (clients, together)):
                before = sum(process.cpu_times()[:2]) if process else 0.0
                end = time.monotonic() + seconds
                polls = [poll(session, url, k / clients, end, lists) for k in range(number)]
                await asyncio.gather(ask_for_queue(session, url, end, into), *polls)
                used.append((sum(process.cpu_times()[:2]) - before if process else 0.0) / seconds)
    ratios = [w / a for a, w in zip(chunks(alone, pairs), chunks(together, pairs), strict=True)]
    lines = [
        f"/queue without clients: {described(alone)}",
        f"/queue with {clients} clients: {described(together)}",
        f"ratio of medians {statistics.median(ratios):.2f} (of {pairs} pairs: "
        f"{', '.join(f'{ratio:.2f}' for ratio in ratios)})",
        f"list: {described(lists)}",
    ]
    if process:
        lines.append(
            f"processor time of the server each second: {statistics.mean(used[::2]):.2f} s without, "
            f"{statistics.mean(used[1::2]):.2f} s with clients"
        )
    return "\n".join(lines)


def chunks(times: list[float], count: int) -> list[float]:
    """The median of each of so many parts."""
    size = len(times) // count
    return [statistics.median(times[k * size : (k + 1) * size]) for k in range(count)]


async def poll(
    session: aiohttp.ClientSession, url: str, wait: float, end: float, times: list[float]
) -> None:
    await asyncio.sleep(wait)
    while time.monotonic() < end:
        times.append(await ask(session, f"{url}/ltxv_train/runs"))
        await asyncio.sleep(1 - min(times[-1], 0.9))


async def ask_for_queue(
    session: aiohttp.ClientSession, url: str, end: float, times: list[float]
) -> None:
    while time.monotonic() < end:
        times.append(await ask(session, f"{url}/queue"))
        await asyncio.sleep(QUEUE_INTERVAL_SECONDS)


async def ask(session: aiohttp.ClientSession, address: str) -> float:
    before = time.monotonic()
    async with session.get(address) as answer:
        assert answer.status == 200, await answer.text()
        await answer.read()
    return time.monotonic() - before


def described(seconds: list[float]) -> str:
    ordered = sorted(seconds)
    p99 = ordered[min(len(ordered) - 1, int(0.99 * len(ordered)))]
    return (
        f"median {1000 * statistics.median(ordered):.2f} ms, p99 {1000 * p99:.1f} ms "
        f"({len(ordered)} requests)"
    )


if __name__ == "__main__":
    main()
