"""The command that measures training steps on this machine's device."""

from argparse import Namespace
from dataclasses import replace
from pathlib import Path

from ..benchmark.names import ATTENTION, MODELS, OPTIONS
from ..storage.paths import as_path
from .parsers import Parsers
from .terminal import run

_OK = 0


def add_parsers(parsers: Parsers) -> None:
    """Adds `benchmark`."""
    parser = parsers.add_parser(
        "benchmark",
        help="measure training steps on this machine's device, with random weights",
        description="Measures seconds of a training step and peak memory for every combination of the values, "
        "with random weights of a model's shapes. What isn't given suits the device.",
    )
    parser.add_argument(
        "models",
        nargs="*",
        metavar="MODEL",
        help=f"{', '.join(MODELS)}, another version, or a file or folder on this machine",
    )
    parser.add_argument("--sizes", nargs="+", metavar="WxHxF", help="of the clips")
    parser.add_argument("--ranks", nargs="+", metavar="N", help="of the LoRA")
    parser.add_argument(
        "--options", nargs="+", metavar="OPTION", help=f"{', '.join(OPTIONS)}; several joined by +"
    )
    parser.add_argument(
        "--attention", nargs="+", metavar="KERNEL", help=f"kernels: {', '.join(ATTENTION)}"
    )
    parser.add_argument(
        "--blocks", type=int, metavar="N", help="how many of the model's are run; 0: all"
    )
    parser.add_argument("--steps", type=int, metavar="N", help="that are measured for each row")
    parser.add_argument("--batch-size", type=int, metavar="N")
    parser.add_argument(
        "--output",
        type=as_path,
        default=Path("outputs", "benchmarks"),
        metavar="DIR",
        help="folder of the table (.md) and the numbers for programs (.json); default: outputs/benchmarks",
    )
    parser.set_defaults(command=run_benchmark)


def run_benchmark(args: Namespace) -> int:
    """Prints the table, and where it lies."""
    from ..benchmark.grid import default_grid
    from ..benchmark.run import new_stem
    from ..benchmark.run import run_benchmark as measure
    from ..models.device import default_device

    names = ("models", "sizes", "ranks", "options", "attention", "blocks", "steps", "batch_size")
    given = {name: value for name in names if (value := getattr(args, name)) not in (None, [])}
    grid = replace(default_grid(default_device().type), **given)
    stem = new_stem(args.output)
    found = run(lambda report, stop: measure(grid, stem, report, stop))
    print(found.text)
    print(f"{stem}.md and {stem}.json")
    return _OK
