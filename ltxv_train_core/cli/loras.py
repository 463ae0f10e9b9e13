"""The commands that make LoRA files and checkpoints of others."""

import argparse
import sys
from argparse import Namespace
from collections.abc import Iterable
from pathlib import Path

OK = 0
FORMS = ("comfy", "kohya", "diffusers")


def add_parsers(parsers: argparse._SubParsersAction) -> None:
    _convert(parsers)


def convert(args: Namespace) -> int:
    from ..adapters.convert import convert_lora

    done = convert_lora(args.lora, args.to, args.output)
    _warn(done.notes)
    print(done.output)
    return OK


def _convert(parsers: argparse._SubParsersAction) -> None:
    parser = parsers.add_parser("convert", help="write a LoRA in another form")
    parser.add_argument("lora", type=Path, metavar="LORA")
    parser.add_argument("--to", choices=FORMS, required=True)
    _output(parser)
    parser.set_defaults(command=convert)


def _output(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--output", type=Path, required=True, metavar="FILE", help="a new .safetensors file"
    )


def _warn(notes: Iterable[str]) -> None:
    for note in notes:
        print(f"warning: {note}", file=sys.stderr)
