"""Trains a configuration in forks that train together.

    python together.py CONFIG.yaml PROCESSES

Prints the LoRA file in its last line.
"""

import os
import socket
import subprocess
import sys
import threading
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import torch

from ltxv_train_core.config import yaml_file
from ltxv_train_core.datasets.dataset import Batch
from ltxv_train_core.diffusion.draws import SampleDraws
from ltxv_train_core.models import compile as compiling
from ltxv_train_core.strategies.base import StepInputs
from ltxv_train_core.strategies.standard import StandardStrategy
from ltxv_train_core.training import distributed
from ltxv_train_core.training.distributed import Processes
from ltxv_train_core.training.trainer import follow_first, train

ROOT = Path(__file__).parents[2]


def train_together(
    config_file: Path, count: int, *options: str
) -> "subprocess.CompletedProcess[str]":
    """Runs this file."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    return subprocess.run(
        [sys.executable, __file__, str(config_file), str(count), *options],
        env=os.environ | {"PYTHONPATH": str(ROOT), "MASTER_PORT": str(port)},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def after(samples: int, happens: Callable[[], None]) -> None:
    """Lets something happen to this process after so many samples."""
    left, prepare = [samples], StandardStrategy.prepare

    def prepared(self: StandardStrategy, batch: Batch, draws: SampleDraws) -> StepInputs:
        if not left[0]:
            happens()
        left[0] -= len(batch.names)
        return prepare(self, batch, draws)

    StandardStrategy.prepare = prepared  # type: ignore[method-assign]


def lack_memory() -> None:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB")


def hang() -> None:
    time.sleep(1000)


def compile_without_inductor() -> None:
    """torch's stand-in that traces and differentiates graphs as inductor does, and runs them as they are."""
    from torch._dynamo.backends.debugging import aot_eager

    def backend(self: object, graph: torch.fx.GraphModule, inputs: list) -> Callable:
        print("a graph is compiled", flush=True)
        return aot_eager(graph, inputs)

    compiling._Compiler._backend = backend  # type: ignore[assignment]


def stopper(step: int | None) -> tuple[threading.Event, Callable[[object], None]]:
    """A stop, and what sets it after a step."""
    stop = threading.Event()

    def report(event: object) -> None:
        if step is not None and getattr(event, "step", 0) == step and hasattr(event, "loss"):
            stop.set()

    return stop, report


def main(options: Namespace) -> None:
    config = yaml_file.load(options.config)
    os.environ |= {"WORLD_SIZE": str(options.count), "MASTER_ADDR": "127.0.0.1"}
    if options.aot_eager:
        compile_without_inductor()
    if options.collective_seconds:
        distributed.COLLECTIVE = timedelta(seconds=options.collective_seconds)
    children = []
    for rank in range(1, options.count):
        children.append(os.fork())
        if children[-1] == 0:
            os.environ["RANK"] = str(rank)
            processes = Processes.join()
            if rank == options.count - 1:
                for samples, happens in ((options.oom, lack_memory), (options.hang, hang)):
                    if samples is not None:
                        after(samples, happens)
            try:
                follow_first(processes)
            except torch.OutOfMemoryError:
                os._exit(1)
            processes.leave()
            os._exit(0)
    os.environ["RANK"] = "0"
    processes = Processes.join()
    stop, report = stopper(options.stop)
    try:
        result = train(config, report, stop, processes=processes)
    finally:
        if options.hang is not None:
            os.kill(children[-1], 9)  # as a launcher would
    processes.leave()
    print(result.lora_file)


if __name__ == "__main__":
    parser = ArgumentParser()
    parser.add_argument("config", type=Path)
    parser.add_argument("count", type=int)
    parser.add_argument("--oom", type=int, help="samples until the last process lacks memory")
    parser.add_argument("--hang", type=int, help="samples until it hangs and still beats")
    parser.add_argument("--collective-seconds", type=float)
    parser.add_argument("--stop", type=int, help="the step after which the run is stopped")
    parser.add_argument("--aot-eager", action="store_true")
    main(parser.parse_args())
