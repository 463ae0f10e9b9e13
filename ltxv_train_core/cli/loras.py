"""The commands that write LoRA files and checkpoints from existing ones."""

import argparse
import sys
from argparse import Namespace
from collections.abc import Iterable

from ..lora.forms import LORA_FORMS
from ..storage.paths import as_path
from .exit_codes import OK
from .parsers import Parsers
from .terminal import run


def add_parsers(parsers: Parsers) -> None:
    """Adds `convert`, `merge`, `resize` and `extract`."""
    for add in (_convert, _merge, _resize, _extract):
        add(parsers)


def run_convert(args: Namespace) -> int:
    """Writes a LoRA in another form and prints its path."""
    from ..lora.convert import convert_lora

    done = convert_lora(args.lora, args.to, args.output)
    _warn(done.notes)
    print(done.output)
    return OK


def run_merge(args: Namespace) -> int:
    """Merges a LoRA into a copy of a checkpoint and prints its path."""
    from ..lora.merge import merge_lora

    done = run(
        lambda report, stop: merge_lora(
            args.checkpoint, args.lora, args.output, args.strength, report, stop
        )
    )
    _warn(done.notes)
    print(done.output)
    return OK


def run_resize(args: Namespace) -> int:
    """Reduces the rank of a LoRA; prints the relative error and the path."""
    from ..lora.resize import resize_lora

    done = resize_lora(args.lora, args.output, args.rank, args.energy)
    _warn(done.notes)
    layer, error = done.worst
    print(f"rank {done.rank}, error {done.error:.4f}, at most {error:.4f} ({layer})")
    print(done.output)
    return OK


def run_extract(args: Namespace) -> int:
    """Extracts a LoRA; prints the relative error and the path."""
    from ..lora.extract import extract_lora

    done = run(
        lambda report, stop: extract_lora(
            args.base, args.tuned, args.output, args.rank, report, stop
        )
    )
    _warn(done.notes)
    print(f"{done.layers} layers, error {done.error:.4f}")
    print(done.output)
    return OK


def _convert(parsers: Parsers) -> None:
    parser = parsers.add_parser("convert", help="write a LoRA in another form")
    parser.add_argument("lora", type=as_path, metavar="LORA")
    parser.add_argument("--to", choices=LORA_FORMS, required=True)
    _output(parser)
    parser.set_defaults(command=run_convert)


def _merge(parsers: Parsers) -> None:
    parser = parsers.add_parser("merge", help="merge a LoRA into a checkpoint")
    parser.add_argument("checkpoint", type=as_path, metavar="CHECKPOINT")
    parser.add_argument("lora", type=as_path, metavar="LORA")
    parser.add_argument("--strength", type=float, default=1.0, metavar="X", help="default: 1")
    _output(parser)
    parser.set_defaults(command=run_merge)


def _resize(parsers: Parsers) -> None:
    parser = parsers.add_parser("resize", help="reduce the rank of a LoRA")
    parser.add_argument("lora", type=as_path, metavar="LORA")
    size = parser.add_mutually_exclusive_group(required=True)
    size.add_argument("--rank", type=int, default=None, metavar="N")
    size.add_argument(
        "--energy",
        type=float,
        default=None,
        metavar="SHARE",
        help="the smallest rank that keeps this share of the change, for example 0.99",
    )
    _output(parser)
    parser.set_defaults(command=run_resize)


def _extract(parsers: Parsers) -> None:
    parser = parsers.add_parser(
        "extract", help="extract a LoRA from the difference of two checkpoints"
    )
    parser.add_argument("base", type=as_path, metavar="BASE")
    parser.add_argument("tuned", type=as_path, metavar="TUNED")
    parser.add_argument("--rank", type=int, required=True, metavar="N")
    _output(parser)
    parser.set_defaults(command=run_extract)


def _output(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--output", type=as_path, required=True, metavar="FILE", help="a new .safetensors file"
    )


def _warn(notes: Iterable[str]) -> None:
    for note in notes:
        print(f"warning: {note}", file=sys.stderr)
