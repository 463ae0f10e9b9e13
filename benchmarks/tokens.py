"""How a training step grows with the tokens of a clip: 256 to 8,192, in widths of the miniature.

    python benchmarks/tokens.py [--tokens 256 512 1024 2048 4096 8192] [--steps 3]

Told are the median seconds of a step, and the most memory of tensors beside what `estimate` says, without and with
gradient checkpointing. It is `benchmark` on sizes of so many tokens: other models and devices by that command.
"""

import argparse
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from ltxv_train_core.benchmark.grid import BenchmarkGrid  # noqa: E402
from ltxv_train_core.benchmark.report import Row  # noqa: E402
from ltxv_train_core.benchmark.run import run_benchmark  # noqa: E402
from ltxv_train_core.units import byte_size  # noqa: E402

SIZES = {
    256: "256x256x25",
    512: "256x256x57",
    1024: "512x256x57",
    2048: "512x512x57",
    4096: "1024x512x57",
    8192: "1024x1024x57",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tokens", type=int, nargs="+", choices=SIZES, default=list(SIZES))
    parser.add_argument("--steps", type=int, default=3)
    args = parser.parse_args()
    print(
        "| tokens | s a step | peak | estimate | with checkpointing: s a step | peak | estimate |\n"
        "|---|---|---|---|---|---|---|",
        flush=True,
    )
    with tempfile.TemporaryDirectory() as folder:
        for tokens in args.tokens:
            grid = BenchmarkGrid(
                models=["LTXV_MINIATURE"],
                sizes=[SIZES[tokens]],
                ranks=["32"],
                options=["none", "checkpointing"],
                steps=args.steps,
            )
            rows = run_benchmark(grid, Path(folder, str(tokens))).rows
            print(f"| {tokens:,} | {' | '.join(map(told, rows))} |", flush=True)


def told(row: Row) -> str:
    if row.found.outcome != "measured":
        return f"{row.found.outcome} | | {byte_size(row.estimate.total)}"
    sizes = (row.found.peak_bytes, row.estimate.total)
    return f"{row.found.step_seconds:.3g} | {' | '.join(map(byte_size, sizes))}"


if __name__ == "__main__":
    main()
