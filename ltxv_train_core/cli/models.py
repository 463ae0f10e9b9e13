"""The commands that tell of a model or LoRA."""

import json
from argparse import Namespace
from pathlib import Path

from ..storage.paths import as_path
from ..units import byte_size
from .exit_codes import OK
from .parsers import Parsers


def add_parsers(parsers: Parsers) -> None:
    """Adds `inspect` and `presets`."""
    parser = parsers.add_parser("inspect", help="say what a model or LoRA file is")
    parser.add_argument(
        "file", nargs="+", metavar="FILE", help="a name with spaces, in quotes or not"
    )
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.add_argument(
        "--layers",
        action="store_true",
        help="of a LoRA: how much each layer changes, as a heat map",
    )
    parser.set_defaults(command=run_inspect)
    parser = parsers.add_parser("presets", help="what presets of lora.target_modules take")
    parser.add_argument("model", metavar="MODEL", help="as model.model_source names it")
    parser.add_argument("--rank", type=int, default=64, metavar="N")
    parser.set_defaults(command=run_presets)


def run_inspect(args: Namespace) -> int:
    """Prints kind, versions, number formats and metadata of a model or LoRA file."""
    from ..families.inspect import as_text, inspect_file

    path = as_path(" ".join(args.file))
    if args.layers:
        return _print_layers(path, args.json)
    facts = inspect_file(path)
    print(json.dumps(facts, indent=2, ensure_ascii=False) if args.json else as_text(facts))
    return OK


def _print_layers(path: Path, as_json: bool) -> int:
    from ..lora.changes import LoRAChanges
    from ..lora.file import read_lora

    changes = LoRAChanges.of(read_lora(path).lora)
    print(json.dumps(changes.as_json(), indent=2) if as_json else changes.as_text())
    return OK


def run_presets(args: Namespace) -> int:
    """Prints the presets that a model has layers for, with parameters and bytes."""
    from ..config import LoRAConfig, build
    from ..training.preset_sizes import preset_sizes

    rank = build(LoRAConfig, {"rank": args.rank}, "lora").rank
    for each in preset_sizes(args.model, rank):
        print(
            f"{each.preset}: {each.parameters:,} parameters, {byte_size(each.training_bytes)} to train, "
            f"{byte_size(each.file_bytes)} as a file"
        )
    return OK
