"""Trains a run in a process that is killed (SIGKILL) at random moments, until it is finished.

    python killing.py CONFIG.yaml KILLS LONGEST_SECONDS [recovery]

With `recovery` every step that makes no checkpoint makes a recovery point.

Prints one line of JSON: the LoRA file, and for each kill the step it came in and the newest
checkpoint. Everything is imported once; each attempt is a fork of it.
"""

import json
import os
import random
import signal
import sys
import time
from importlib import import_module
from pathlib import Path

from ltxv_train_core.config import yaml_file
from ltxv_train_core.training import recovery
from ltxv_train_core.training.run_plan import plan_run
from ltxv_train_core.training.trainer import train

SLOW = (
    "peft.tuners.lora",
    "diffusers.models.transformers.transformer_ltx",
    "diffusers.models.transformers.transformer_ltx2",
)
"""What the program imports when it needs it."""


def main(config_file: str, kills: int, longest_seconds: float, recover: bool) -> None:
    if recover:
        recovery.FIRST_SECONDS = recovery.LEAST_SECONDS = recovery.LEAST_TIMES_ITS_DURATION = 0
    for name in SLOW:
        import_module(name)
    config = yaml_file.load(Path(config_file))
    run = plan_run(config).run
    moments, draw = [], random.Random(6)
    while len(moments) < kills:
        child = os.fork()
        if child == 0:
            train(config)
            os._exit(0)
        time.sleep(draw.uniform(0.0, longest_seconds))
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        if os.WIFEXITED(status):
            assert os.WEXITSTATUS(status) == 0
            break
        state = run.written_state()
        moments.append((run.last_step(), state.step if state else 0))
    result = train(config)
    print(json.dumps({"lora_file": str(result.lora_file), "moments": moments}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), sys.argv[4:] == ["recovery"])
