"""The command that samples a LoRA at several strengths."""

from argparse import ArgumentTypeError, Namespace

from ..config import yaml_file
from ..storage.paths import as_path
from .exit_codes import OK
from .parsers import Parsers
from .terminal import run

_STRENGTHS = (0.4, 0.6, 0.8, 1.0, 1.2)


def add_parsers(parsers: Parsers) -> None:
    """Adds `samples`."""
    parser = parsers.add_parser(
        "samples",
        help="sample a LoRA at several strengths, in one sheet",
        description="Samples validation.prompts of a configuration, such as the training_config.yaml of a run.",
    )
    parser.add_argument("config", type=as_path, metavar="CONFIG.yaml")
    parser.add_argument("lora", type=as_path, metavar="LORA")
    parser.add_argument(
        "--strengths",
        type=float,
        nargs="+",
        default=_STRENGTHS,
        metavar="X",
        help=f"default: {' '.join(f'{each:g}' for each in _STRENGTHS)}",
    )
    parser.add_argument(
        "--add",
        type=_added,
        action="append",
        default=[],
        metavar="LORA=STRENGTH",
        help="another LoRA that is added at one strength; may be repeated",
    )
    parser.add_argument(
        "--prompt",
        action="append",
        default=[],
        help="in place of the configuration's; may be repeated",
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="SECTION.OPTION=VALUE", help="may be repeated"
    )
    parser.add_argument("--output", type=as_path, required=True, metavar="DIR")
    parser.set_defaults(command=run_samples)


def run_samples(args: Namespace) -> int:
    """Prints where the sheet lies."""
    from ..training.strength_samples import AddedLoRA, sample_strengths, with_prompts

    config = yaml_file.load(args.config, args.set)
    if args.prompt:
        config = with_prompts(config, args.prompt)
    added = [AddedLoRA(as_path(path), strength) for path, strength in args.add]
    sheet = run(
        lambda report, stop: sample_strengths(
            config, args.lora, args.strengths, args.output, added, report, stop
        )
    )
    print(sheet)
    return OK


def _added(text: str) -> tuple[str, float]:
    path, _, strength = text.rpartition("=")
    try:
        return path or text, float(strength) if path else 1.0
    except ValueError:
        raise ArgumentTypeError(
            f"{text}: expected LORA=STRENGTH, for example style.safetensors=0.8"
        ) from None
