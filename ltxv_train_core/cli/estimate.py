"""The command that tells what training takes, before anything is downloaded."""

import json
import math
from argparse import Namespace
from typing import TYPE_CHECKING

from ..config import TrainingConfig
from ..errors import ConfigurationError
from ..families.registry import a_version_of_each_size
from ..geometry import VideoSize
from ..recipes.names import EFFORTS, GOALS
from ..storage.paths import as_path
from . import configurations
from .exit_codes import OK
from .parsers import Parsers

if TYPE_CHECKING:
    from ..recipes.clips import Clips

_CARDS_GB = (8, 12, 16, 24, 32, 48, 80)
_SIZE = "768x448x89"


def add_parsers(parsers: Parsers) -> None:
    """Adds `estimate`."""
    parser = parsers.add_parser(
        "estimate", help="say what a configuration takes, or what fits which card"
    )
    parser.add_argument(
        "what",
        nargs="*",
        metavar="CONFIG.yaml | MODEL",
        help="a configuration, or models as model.model_source names them; none: every published version "
        "whose sizes are known",
    )
    parser.add_argument("--goal", choices=GOALS, default="style")
    parser.add_argument("--effort", choices=EFFORTS, default="normal")
    parser.add_argument(
        "--size",
        metavar="WxHxF",
        help=f"of the clips; default {_SIZE}, of a configuration its data set's",
    )
    parser.add_argument("--fps", type=float, default=24.0)
    parser.add_argument("--clips", type=int, default=25, metavar="N")
    parser.add_argument("--cards", type=int, nargs="+", default=_CARDS_GB, metavar="GB")
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.set_defaults(command=run_estimate)


def run_estimate(args: Namespace) -> int:
    """Prints memory by part and disk of a configuration, or for each model a table of cards."""
    _require_counts(args)
    files = [each for each in args.what if each.lower().endswith((".yaml", ".yml"))]
    if files:
        if len(args.what) > 1:
            raise ConfigurationError(
                [
                    f"{', '.join(args.what)}: expected one configuration, or models; give {files[0]} alone"
                ]
            )
        return _of_configuration(args)
    from ..recipes.estimates import card_estimates, table

    found = {
        model: card_estimates(
            model,
            args.goal,
            VideoSize.parse(args.size or _SIZE),
            args.fps,
            args.cards,
            args.clips,
            args.effort,
        )
        for model in args.what or a_version_of_each_size()
    }
    if args.json:
        print(json.dumps({m: [e.as_json() for e in each] for m, each in found.items()}, indent=2))
        return OK
    for model, each in found.items():
        print(f"{model}, goal {args.goal}, clips of {args.size or _SIZE}\n\n{table(each)}\n")
    return OK


def _of_configuration(args: Namespace) -> int:
    from ..recipes.estimates import RunBytes

    config = configurations.load(as_path(args.what[0]))
    needs = RunBytes.of(config, _clips(config, args))
    print(json.dumps(needs.as_json(), indent=2) if args.json else needs.text)
    return OK


def _clips(config: TrainingConfig, args: Namespace) -> "Clips":
    """Those of the command line, or the data set's."""
    from ..datasets.of_run import open_dataset
    from ..families.open import describe_model
    from ..recipes.clips import Clips

    if args.size is None:
        return Clips.of(open_dataset(config))
    family = describe_model(config.model.model_source).family
    size = VideoSize.parse(args.size)
    if problem := family.grid.problem(size):
        raise ConfigurationError([f"--size: {problem}"])
    return Clips.alike(args.clips, size, args.fps, family, config.conditioning.mode != "none")


def _require_counts(args: Namespace) -> None:
    problems = [
        f"--{name} {value}: expected a finite number above 0"
        for name, value in (("fps", args.fps), ("clips", args.clips), ("cards", min(args.cards)))
        if not 0 < value < math.inf
    ]
    if problems:
        raise ConfigurationError(problems)
