"""How memory and seconds of a step change in a long run: 10,000 steps of the miniature.

    python benchmarks/run_length.py [--steps 10000]

A whole run as `train` makes it, with a checkpoint every tenth of it. Told at ten places: the median step of those
since the last place, and the memory of the process.
"""

import argparse
import statistics
import sys
import tempfile
from pathlib import Path

import psutil

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from ltxv_train_core.config import PreprocessSettings, TrainingConfig, build  # noqa: E402
from ltxv_train_core.events import Event, StepCompleted  # noqa: E402
from ltxv_train_core.families.ltxv.miniature.datasets import generate  # noqa: E402
from ltxv_train_core.families.open import MINIATURE  # noqa: E402
from ltxv_train_core.preprocessing.preprocess import preprocess  # noqa: E402
from ltxv_train_core.training.trainer import train  # noqa: E402

CLIPS, SIZE, PLACES = 8, "64x64x9", 10
MIB = 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=10_000)
    steps = parser.parse_args().steps
    every = max(1, steps // PLACES)
    process, seconds = psutil.Process(), []

    def report(event: Event) -> None:
        if not isinstance(event, StepCompleted):
            return
        seconds.append(event.step_seconds)
        if event.step % every == 0:
            held = process.memory_info().rss / MIB
            print(f"| {event.step:,} | {1000 * statistics.median(seconds):.1f} | {held:.0f} |")
            sys.stdout.flush()
            seconds.clear()

    with tempfile.TemporaryDirectory() as folder:
        clips = generate("stripes", Path(folder, "clips"), clips=CLIPS)
        data = preprocess(PreprocessSettings(clips.metadata, MINIATURE, SIZE)).root
        print("| step | ms a step | MiB |\n|---|---|---|", flush=True)
        train(configuration(data, Path(folder, "runs"), steps, every), report)


def configuration(data: Path, runs: Path, steps: int, every: int) -> TrainingConfig:
    values = {
        "output_dir": str(runs),
        "model": {"model_source": MINIATURE},
        "lora": {"rank": 8, "alpha": 8},
        "optimization": {"steps": steps, "batch_size": 1},
        "acceleration": {"compile_with_inductor": False},
        "checkpoints": {"interval": every, "keep_last_n": 2},
        "data": {"preprocessed_data_root": str(data)},
    }
    return build(TrainingConfig, values)


if __name__ == "__main__":
    main()
