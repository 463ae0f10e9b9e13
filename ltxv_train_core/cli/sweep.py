"""The command that trains runs which differ in a few options, and ranks them."""

import logging
from argparse import Namespace

from ..storage.paths import as_path
from ..sweep.search import METHODS
from . import configurations
from .exit_codes import OK
from .parsers import Parsers
from .terminal import run

logger = logging.getLogger(__name__)


def add_parsers(parsers: Parsers) -> None:
    """Adds `sweep`."""
    parser = parsers.add_parser(
        "sweep",
        help="train runs that differ in a few options, and rank them by held-out loss",
        description="Trains one run after another. The same command again goes on with what is missing.",
    )
    parser.add_argument("config", type=as_path, metavar="CONFIG.yaml")
    parser.add_argument(
        "--vary",
        action="append",
        required=True,
        metavar="OPTION: VALUES",
        help='for example "lora.rank: 8, 32" or "optimization.learning_rate: 1e-4 to 1e-3"; may be repeated',
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="SECTION.OPTION=VALUE", help="may be repeated"
    )
    parser.add_argument("--method", choices=METHODS, default="grid")
    parser.add_argument(
        "--trials", type=int, default=0, metavar="N", help="how many runs; default: all of a grid"
    )
    parser.add_argument("--seed", type=int, default=0, help="of what is drawn")
    parser.add_argument(
        "--to-the-end", action="store_true", help="end no run early, however bad it is"
    )
    parser.set_defaults(command=run_sweep)


def run_sweep(args: Namespace) -> int:
    """Prints the table, and where it lies."""
    from ..sweep.run import run_sweep as sweep

    config = configurations.load(args.config, args.set, logger.warning)
    found, folder = run(
        lambda report, stop: sweep(
            config,
            "\n".join(args.vary),
            args.method,
            args.trials,
            args.seed,
            not args.to_the_end,
            report,
            stop,
        )
    )
    print(found.text)
    print(folder)
    return OK
