"""The command that writes a whole configuration, with reasons."""

from argparse import Namespace

from ..config import PART_SOURCES, ModelConfig, TrainingConfig
from ..errors import ConfigurationError
from ..recipes.names import EFFORTS, GOALS
from ..storage.atomic import write_text
from ..storage.paths import as_path
from ..units import GIB
from .exit_codes import OK
from .parsers import Parsers


def add_parsers(parsers: Parsers) -> None:
    """Adds `recipe`."""
    parser = parsers.add_parser(
        "recipe", help="write a whole configuration for a goal, a card, a model and a data set"
    )
    parser.add_argument("dataset", metavar="DATASET", help="a preprocessed data set")
    parser.add_argument("--model-source", required=True, metavar="SOURCE")
    for part in PART_SOURCES:
        flag = f"--{part.replace('_', '-')}"
        parser.add_argument(flag, metavar="SOURCE", help="if the model has none")
    parser.add_argument("--goal", choices=GOALS, default="style")
    parser.add_argument("--effort", choices=EFFORTS, default="normal")
    parser.add_argument("--card", type=int, metavar="GB", help="by default this machine's")
    parser.add_argument(
        "--prompt", action="append", default=[], metavar="TEXT", help="sampled; may be repeated"
    )
    parser.add_argument("--name", default=TrainingConfig.model_fields["name"].default)
    parser.add_argument(
        "--output", type=as_path, metavar="FILE", help="by default it is printed; never replaced"
    )
    parser.set_defaults(command=run_recipe)


def run_recipe(args: Namespace) -> int:
    """Writes or prints the YAML of a recipe, with a reason for each choice."""
    from ..models.device import default_device, total_bytes
    from ..recipes.propose import propose
    from ..recipes.request import RecipeRequest
    from ..recipes.shipped import recipe_file

    if args.output is not None and args.output.exists():
        raise ConfigurationError(
            [f"--output {args.output}: there is such a file; give another name, or delete it"]
        )
    device = default_device()
    sources = {name: getattr(args, name) for name in ("model_source", *PART_SOURCES)}
    text = recipe_file(
        propose(
            RecipeRequest(
                goal=args.goal,
                effort=args.effort,
                card_bytes=total_bytes(device) if args.card is None else args.card * GIB,
                data_root=args.dataset,
                model=ModelConfig(**{k: v for k, v in sources.items() if v is not None}),
                prompts=tuple(args.prompt),
                device=device if args.card is None else None,
                name=args.name,
            )
        )
    )
    if args.output is None:
        print(text, end="")
    else:
        write_text(args.output, text)
        print(args.output)
    return OK
