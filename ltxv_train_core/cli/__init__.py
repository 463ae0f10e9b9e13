"""The command line: `python -m ltxv_train_core <command>`."""

import argparse
import os
import sys
from collections.abc import Callable, Sequence

from .. import permissions
from ..config import (
    CaptionSettings,
    Option,
    PreprocessSettings,
    ReferenceSettings,
    SplitSettings,
    TranscribeSettings,
    options,
)
from ..errors import Cancelled, ConfigurationError, LTXVTrainError
from ..families.ltx2.miniature.tasks import WITH_SOUND
from ..families.ltxv.miniature.tasks import DATASETS
from ..gpu_check.names import NAMES
from ..models.packages import drop_irrelevant_lines
from ..storage.paths import as_path
from . import allow, benchmark, commands, estimate, loras, models, recipe, runs, samples, sweep
from .exit_codes import FAILED, OK, STOPPED, WRONG_CONFIGURATION
from .parsers import Parsers


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code.

    0: done. 1: failed. 2: wrong configuration or usage. 130: stopped.
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(encoding="utf-8", errors="replace")
    drop_irrelevant_lines()
    args = _parser().parse_args(arguments)
    grants = permissions.GrantFile(permissions.default_file())
    permissions.use(permissions.CommandLine(grants, leaves=getattr(args, "push", False)))
    command: Callable[[argparse.Namespace], int] = args.command
    try:
        code = command(args)
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        # Who reads it has seen enough, as `head` has. What is left must not be written at the end either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
    except ConfigurationError as error:
        # `check` reports problems as its result, the other commands as an error.
        print(error, file=sys.stdout if command is commands.run_check else sys.stderr)
        return WRONG_CONFIGURATION
    except LTXVTrainError as error:
        print(f"error: {error}", file=sys.stderr)
        return FAILED
    except OSError as error:
        print(f"error: {error}", file=sys.stderr)
        return FAILED
    except Cancelled as error:
        print(error, file=sys.stderr)
        return STOPPED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m ltxv_train_core", description="Train LTX-Video LoRAs and IC-LoRAs."
    )
    parsers = parser.add_subparsers(required=True, metavar="COMMAND")
    for add in (
        _demo,
        _generate,
        _split,
        _caption,
        _transcribe,
        _references,
        _preprocess,
        _export,
        _train,
        _check,
        _push,
        _miniature,
        _gpu_check,
    ):
        add(parsers)
    loras.add_parsers(parsers)
    models.add_parsers(parsers)
    estimate.add_parsers(parsers)
    sweep.add_parsers(parsers)
    samples.add_parsers(parsers)
    recipe.add_parsers(parsers)
    benchmark.add_parsers(parsers)
    runs.add_parsers(parsers)
    allow.add_parsers(parsers)
    return parser


def _demo(parsers: Parsers) -> None:
    parser = parsers.add_parser("demo", help="the whole job on the built-in miniature model")
    parser.add_argument(
        "--output",
        type=as_path,
        default=None,
        metavar="DIR",
        help="default: outputs/demo, for another one demo-ic-lora, demo-ltx2 or demo-ltx2-ic-lora",
    )
    parser.add_argument("--ic-lora", action="store_true", help="train an IC-LoRA instead of a LoRA")
    parser.add_argument(
        "--family", choices=["ltxv", "ltx2"], default="ltxv", help="ltx2: video with sound"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N")
    parser.set_defaults(command=commands.run_demo)


def _gpu_check(parsers: Parsers) -> None:
    parser = parsers.add_parser(
        "gpu-check", help="what works on this machine's device, with random weights"
    )
    parser.add_argument("--only", nargs="+", choices=NAMES, default=None, metavar="CHECK")
    parser.add_argument(
        "--minutes", type=float, default=10.0, metavar="N", help="after which no check begins"
    )
    parser.set_defaults(command=commands.run_gpu_check)


def _generate(parsers: Parsers) -> None:
    parser = parsers.add_parser("generate", help="write a demo data set")
    parser.add_argument("name", choices=[*DATASETS, *WITH_SOUND])
    parser.add_argument("--output", type=as_path, required=True, metavar="DIR")
    parser.add_argument("--clips", type=int, default=None, metavar="N")
    parser.add_argument("--seed", type=int, default=0, metavar="N")
    parser.set_defaults(command=commands.run_generate)


def _preprocess(parsers: Parsers) -> None:
    parser = parsers.add_parser("preprocess", help="encode videos, images and captions once")
    for option in options(PreprocessSettings):
        _add_option(parser, option)
    parser.set_defaults(command=commands.run_preprocess)


def _add_option(parser: argparse.ArgumentParser, option: Option) -> None:
    """A flag for an option; what is not given is not in the result."""
    text = option.description.replace("%", "%%")
    flag = f"--{option.name.replace('_', '-')}"
    if option.name == "source":
        parser.add_argument("source", type=as_path, metavar="METADATA_OR_FOLDER", help=text)
    elif option.kind == "bool":
        action = argparse.BooleanOptionalAction
        parser.add_argument(flag, action=action, default=argparse.SUPPRESS, help=text)
    else:
        parser.add_argument(
            flag,
            required=option.default is None,
            default=argparse.SUPPRESS,
            choices=option.choices or None,
            metavar=None if option.choices else option.name.rsplit("_", 1)[-1].upper(),
            help=text,
        )


def _split(parsers: Parsers) -> None:
    parser = parsers.add_parser("split", help="cut long videos into scenes")
    for option in options(SplitSettings):
        _add_option(parser, option)
    parser.set_defaults(command=commands.run_split)


def _caption(parsers: Parsers) -> None:
    parser = parsers.add_parser("caption", help="describe clips with a vision-language model")
    for option in options(CaptionSettings):
        _add_option(parser, option)
    parser.set_defaults(command=commands.run_caption)


def _transcribe(parsers: Parsers) -> None:
    parser = parsers.add_parser("transcribe", help="write down what is said in clips, with Whisper")
    for option in options(TranscribeSettings):
        _add_option(parser, option)
    parser.set_defaults(command=commands.run_transcribe)


def _references(parsers: Parsers) -> None:
    parser = parsers.add_parser("references", help="write the reference videos of an IC-LoRA")
    for option in options(ReferenceSettings):
        _add_option(parser, option)
    parser.set_defaults(command=commands.run_references)


def _export(parsers: Parsers) -> None:
    parser = parsers.add_parser("export", help="write a preprocessed data set for another trainer")
    parser.add_argument("dataset", type=as_path, metavar="DATASET")
    parser.add_argument(
        "--format",
        choices=("reference", "ltx-trainer"),
        required=True,
        help="reference: the .pt files of LTX-Video-Trainer; ltx-trainer: those of the trainer of LTX-2",
    )
    parser.add_argument("--model", metavar="MODEL", help="of ltx-trainer: the LTX-2 model")
    for part in ("text-encoder", "text-projection"):
        parser.add_argument(
            f"--{part}",
            metavar="FILE",
            help=f"of ltx-trainer: the {part.replace('-', ' ')}, if not in it",
        )
    parser.add_argument("--output", type=as_path, required=True, metavar="DIR")
    parser.add_argument(
        "--dtype",
        choices=("bfloat16", "float32"),
        default="bfloat16",
        help="of the numbers; that trainer itself writes bfloat16",
    )
    parser.set_defaults(command=commands.run_export)


def _train(parsers: Parsers) -> None:
    parser = parsers.add_parser("train", help="train, resume, or reuse the finished run")
    _configuration(parser)
    parser.add_argument(
        "--again", action="store_true", help="train a finished run once more, beside the earlier"
    )
    parser.add_argument(
        "--continue-from",
        type=as_path,
        metavar="RUN",
        help="folder of a finished run to continue, for optimization.steps more steps",
    )
    parser.add_argument(
        "--processes",
        type=_none_or_more,
        default=0,
        metavar="N",
        help="train in N worker processes, one for each GPU",
    )
    parser.add_argument(
        "--push",
        action="store_true",
        help="allow the upload to the Hugging Face Hub and the logs to Weights & Biases that the "
        "configuration asks for",
    )
    parser.set_defaults(command=commands.run_train)


def _none_or_more(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"must be 0 or more, not {text}")
    return int(text)


def _check(parsers: Parsers) -> None:
    parser = parsers.add_parser("check", help="list every problem of a configuration")
    _configuration(parser)
    parser.add_argument(
        "--strict", action="store_true", help="paths that don't exist are problems, as in train"
    )
    parser.set_defaults(command=commands.run_check)


def _configuration(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", type=as_path, metavar="CONFIG.yaml")
    parser.add_argument(
        "--set", action="append", default=[], metavar="SECTION.OPTION=VALUE", help="may be repeated"
    )


def _push(parsers: Parsers) -> None:
    parser = parsers.add_parser("push", help="upload a run to the Hugging Face Hub")
    parser.add_argument("run", type=as_path, metavar="RUN", help="the run's folder")
    parser.add_argument("--to", default=None, metavar="USERNAME/NAME")
    parser.add_argument(
        "--public", action="store_true", help="make a new repository public (with --to)"
    )
    parser.set_defaults(command=commands.run_push)


def _miniature(parsers: Parsers) -> None:
    parser = parsers.add_parser("miniature", help="the built-in miniature model")
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    export = actions.add_parser("export", help="write it as a single file for ComfyUI")
    export.add_argument("--output", type=as_path, required=True, metavar="FILE")
    export.set_defaults(command=commands.run_miniature_export)
