"""Trains a configuration in forks that train together.

    python together.py CONFIG.yaml PROCESSES [SAMPLES]

The last process has no more memory after so many samples.
"""

import os
import socket
import subprocess
import sys
from pathlib import Path

import torch

from ltxv_train_core.config import yaml_file
from ltxv_train_core.datasets.dataset import Batch
from ltxv_train_core.diffusion.draws import SampleDraws
from ltxv_train_core.strategies.base import StepInputs
from ltxv_train_core.strategies.standard import StandardStrategy
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


def fail_after(samples: int) -> None:
    """Lets this process have no more memory."""
    left, prepare = [samples], StandardStrategy.prepare

    def prepared(self, batch: Batch, draws: SampleDraws) -> StepInputs:
        if not left[0]:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB")
        left[0] -= len(batch.names)
        return prepare(self, batch, draws)

    StandardStrategy.prepare = prepared


def main(config_file: str, count: int, samples: int | None) -> None:
    config = yaml_file.load(Path(config_file))
    os.environ |= {"WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1"}
    for rank in range(1, count):
        if os.fork() == 0:
            os.environ["RANK"] = str(rank)
            processes = Processes.join()
            if samples is not None and rank == count - 1:
                fail_after(samples)
            try:
                follow_first(processes)
            except torch.OutOfMemoryError:
                os._exit(1)
            processes.leave()
            os._exit(0)
    os.environ["RANK"] = "0"
    processes = Processes.join()
    result = train(config, processes=processes)
    processes.leave()
    print(result.lora_file)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]) if sys.argv[3:] else None)
