"""The command that inspects a model or LoRA file."""

import json
from argparse import Namespace

from ..storage.paths import as_path
from .parsers import Parsers

OK = 0


def add_parsers(parsers: Parsers) -> None:
    """Adds `inspect`."""
    parser = parsers.add_parser("inspect", help="say what a model or LoRA file is")
    parser.add_argument(
        "file", nargs="+", metavar="FILE", help="a name with spaces, in quotes or not"
    )
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.set_defaults(command=inspect)


def inspect(args: Namespace) -> int:
    """Prints kind, versions, number formats and metadata of a model or LoRA file."""
    from ..families.inspect import as_text, inspect_file

    facts = inspect_file(as_path(" ".join(args.file)))
    print(json.dumps(facts, indent=2, ensure_ascii=False) if args.json else as_text(facts))
    return OK
