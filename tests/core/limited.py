"""Trains a run whose process gets too little of something after a step (POSIX).

    python limited.py CONFIG.yaml LIMIT STEP

LIMIT is "memory" (address space) or "file" (size of a file). Prints the error as JSON, then lifts
the limit and trains on in the same process.
"""

import json
import resource
import sys
from pathlib import Path

import psutil

from ltxv_train_core.config import yaml_file
from ltxv_train_core.errors import LTXVTrainError
from ltxv_train_core.events import StepCompleted
from ltxv_train_core.plan import plan_run
from ltxv_train_core.trainer import train

KINDS = {"memory": resource.RLIMIT_AS, "file": resource.RLIMIT_FSIZE}
MOST_BYTES = {"memory": lambda: psutil.Process().memory_info().vms, "file": lambda: 20_000}


def main(config_file: str, what: str, step: int) -> None:
    config = yaml_file.load(Path(config_file))
    kind = KINDS[what]
    _, hard = resource.getrlimit(kind)

    def limit(event):
        if isinstance(event, StepCompleted) and event.step == step:
            resource.setrlimit(kind, (MOST_BYTES[what](), hard))

    run = plan_run(config).run
    try:
        train(config, limit)
        error = "none"
    except LTXVTrainError as raised:
        error = f"{type(raised).__name__}: {raised}"
    resource.setrlimit(kind, (hard, hard))
    state = run.written_state().to_json()
    print(json.dumps({"error": error, "state": state}))
    print(train(config).lora_file)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
