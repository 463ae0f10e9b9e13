"""How start-up and batches grow with a data set: 10 to 100,000 clips of the miniature.

    python benchmarks/data_sets.py [--clips 10 100 1000 10000 100000]

Each size is opened in a process of its own. Its files are links to those of eight clips, so that the disk holds
little. Told are processor seconds and memory of opening it, which a run does once, and milliseconds of one batch.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from itertools import islice
from pathlib import Path

import psutil

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from ltxv_train_core.config import PreprocessSettings  # noqa: E402
from ltxv_train_core.datasets.batches import batches  # noqa: E402
from ltxv_train_core.datasets.dataset import TrainingDataset  # noqa: E402
from ltxv_train_core.datasets.index import (  # noqa: E402
    CachedFile,
    Caption,
    Example,
    read_index,
    write_index,
)
from ltxv_train_core.families.ltxv.miniature.datasets import generate  # noqa: E402
from ltxv_train_core.preprocessing.preprocess import preprocess  # noqa: E402

OWN_CLIPS = 8
BATCHES = 200
MIB = 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, nargs="+", default=[10, 100, 1000, 10_000, 100_000])
    parser.add_argument("--opened", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.opened:
        print(measure(args.opened))
        return
    with tempfile.TemporaryDirectory() as folder:
        clips = generate("stripes", Path(folder) / "clips", clips=OWN_CLIPS)
        own = preprocess(PreprocessSettings(clips.metadata, "LTXV_MINIATURE", "96x64x17")).root
        print(
            "| clips | seconds of CPU to open | MiB | ms a batch |\n|---|---|---|---|", flush=True
        )
        for count in args.clips:
            root = Path(folder) / str(count)
            multiply(own, root, count)
            command = [sys.executable, __file__, "--opened", str(root)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            print(f"| {count:,} | {done.stdout.strip()} |", flush=True)


def multiply(own: Path, root: Path, count: int) -> None:
    """Writes a data set of so many clips, linked to those of another one."""
    index = read_index(own)
    for folder in ("latents", "conditions"):
        (root / folder).mkdir(parents=True)

    def linked(file: CachedFile, folder: str, number: int) -> CachedFile:
        path = f"{folder}/{number:06d}.safetensors"
        os.link(own / file.path, root / path)
        return CachedFile(path, file.key)

    def example(number: int) -> Example:
        like = index.items[number % len(index.items)]
        latents = linked(like.streams["video"]["latents"], "latents", number)
        caption = Caption(like.caption.text, linked(like.caption.embedding, "conditions", number))
        return Example(
            f"{number:06d}.mp4", like.size, like.fps, {"video": {"latents": latents}}, (caption,)
        )

    items = tuple(example(number) for number in range(count))
    write_index(root / "index.json", replace(index, items=items))


def measure(root: Path) -> str:
    """A row's numbers."""
    process = psutil.Process()
    before, began = process.memory_info().rss, time.process_time()
    dataset = TrainingDataset(root)
    seconds, held = time.process_time() - began, process.memory_info().rss - before
    order = batches(dataset, 1, seed=0)
    next(order)  # the first one sorts the clips
    began = time.perf_counter()
    for _ in islice(order, BATCHES):
        pass
    each = (time.perf_counter() - began) / BATCHES
    return f"{seconds:.2f} | {held / MIB:.0f} | {1000 * each:.2f}"


if __name__ == "__main__":
    main()
