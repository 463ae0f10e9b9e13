"""The commands. Each returns an exit code; results go to standard output."""

import json
import logging
import os
import signal
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from ..config import (
    CaptionSettings,
    ModelConfig,
    PreprocessSettings,
    ReferenceSettings,
    Section,
    SplitSettings,
    TranscribeSettings,
    build,
)
from ..errors import ConfigurationError
from ..events import Progress, Reporter, StopSignal
from ..families.ltx2.miniature.tasks import WITH_SOUND
from ..gpu_check.names import NAMES
from ..team import ALONE, Team
from . import configurations
from .exit_codes import FAILED, OK, STOPPED, WRONG_CONFIGURATION
from .terminal import run

if TYPE_CHECKING:
    from ..datasets.summary import PreprocessSummary

SectionT = TypeVar("SectionT", bound=Section)

logger = logging.getLogger(__name__)

HUB_DATASETS = Path("datasets")
"""Data sets of the Hub are downloaded to this folder, below the one that the command runs in."""


def run_demo(args: Namespace) -> int:
    """Runs the whole job on the miniature and prints what it measured."""
    from ..demo.report import format_report
    from ..demo.run import run_demo

    if args.family == "ltx2":
        from ..demo.with_sound import IC_TASK, TASK, run_demo_with_sound

        wanted, name = (IC_TASK, "demo-ltx2-ic-lora") if args.ic_lora else (TASK, "demo-ltx2")
        folder = args.output or Path("outputs", name)
        heard = run(
            lambda report, stop: run_demo_with_sound(folder, args.seed, report, stop, wanted)
        )
        print(format_report(heard))
        return OK
    task, name = ("mirror", "demo-ic-lora") if args.ic_lora else ("stripes", "demo")
    output = args.output or Path("outputs", name)
    result = run(lambda report, stop: run_demo(task, output, args.seed, report, stop))
    print(format_report(result))
    return OK


def run_generate(args: Namespace) -> int:
    """Writes a demo data set and prints the path of its metadata."""
    from ..families.ltx2.miniature import datasets as heard
    from ..families.ltxv.miniature import datasets as silent

    write = heard.generate if args.name in WITH_SOUND else silent.generate
    options = {} if args.clips is None else {"clips": args.clips}
    dataset = run(
        lambda report, stop: write(
            args.name, args.output, seed=args.seed, report=report, stop=stop, **options
        )
    )
    print(dataset.metadata)
    return OK


def run_preprocess(args: Namespace) -> int:
    """Encodes a data set; prints the summary, the paths, and the counts as one line of JSON.

    Processes that `accelerate launch` has started share the clips; the first one writes the index.
    """
    from ..manifests.hub_dataset import folder_name, is_hub_name, with_hub_source
    from ..preprocessing.preprocess import encode_share
    from ..preprocessing.preprocess import preprocess as prepare

    settings = _settings(PreprocessSettings, args)
    named = settings.source.as_posix()
    folder = HUB_DATASETS / folder_name(named) if is_hub_name(named, Path()) else None

    def work(team: Team, report: Reporter, stop: StopSignal) -> "PreprocessSummary | None":
        if team.rank > 0:
            team.agree(None)  # until the source is there
        found = with_hub_source(settings, named, folder, report, stop) if folder else settings
        if team.rank == 0:
            team.agree(None)
        if team.count > 1:
            encode_share(found, team, _without_bars(report, team), stop)
        return prepare(found, report, stop) if team.rank == 0 else None

    with _team() as team:
        summary = run(partial(work, team))
    if summary is None:
        return OK
    print(summary.text)
    print(f"contact sheet: {summary.sheet}")
    if summary.verification is not None:
        print(f"decoded clips: {summary.verification}")
    print(f"preprocessed data: {summary.index if summary.other_indexes else summary.root}")
    counts = {
        "written": summary.written,
        "reused": summary.reused,
        "skipped": len(summary.skipped),
        "seconds": round(summary.seconds, 2),
    }
    print(json.dumps(counts))
    return OK


def run_split(args: Namespace) -> int:
    """Splits long videos into scenes and prints the path of their metadata."""
    from ..manifests.scene_splitting import split_videos

    settings = _settings(SplitSettings, args)
    summary = run(lambda report, stop: split_videos(settings, report, stop))
    print(
        f"{summary.written} scenes written, {summary.reused} reused, {summary.too_short} too short"
    )
    print(summary.metadata)
    return OK


def run_caption(args: Namespace) -> int:
    """Captions clips and prints the path of the metadata. Processes share the clips, as in `preprocess`."""
    from ..manifests.captioning import write_captions

    settings = _settings(CaptionSettings, args)
    with _team() as team:
        summary = run(
            lambda report, stop: write_captions(settings, _without_bars(report, team), stop, team)
        )
    if team.rank > 0:
        return OK
    print(
        f"{summary.written} captions written, {summary.reused} reused, {len(summary.skipped)} skipped"
    )
    print(summary.metadata)
    return OK


def run_transcribe(args: Namespace) -> int:
    """Writes down what is said in clips and prints the path of the metadata. Processes share the clips, as in `preprocess`."""
    from ..manifests.transcribing import transcribe

    settings = _settings(TranscribeSettings, args)
    with _team() as team:
        summary = run(
            lambda report, stop: transcribe(settings, _without_bars(report, team), stop, team)
        )
    if team.rank > 0:
        return OK
    print(summary.text)
    print(summary.metadata)
    return OK


def run_references(args: Namespace) -> int:
    """Writes reference videos and prints the path of the metadata."""
    from ..manifests.references import make_references

    settings = _settings(ReferenceSettings, args)
    print(run(lambda report, stop: make_references(settings, report, stop)))
    return OK


def run_export(args: Namespace) -> int:
    """Writes a preprocessed data set in the layout of another trainer and prints its folder."""
    from ..preprocessing.export_as import NEEDS_MODEL, export_as

    if args.format == "ltx-trainer" and args.model is None:
        raise ConfigurationError([f"--model: {NEEDS_MODEL}"])
    model = args.model and ModelConfig(
        model_source=args.model,
        text_encoder_source=args.text_encoder,
        text_projection_source=args.text_projection,
    )
    given = (args.format, args.dataset, args.output, args.dtype, model)
    print(run(lambda report, stop: export_as(*given, report, stop)))
    return OK


def run_train(args: Namespace) -> int:
    """Trains, resumes or reuses a run, and prints the path of its LoRA."""
    from ..jobs.subprocess_trainer import train_in_subprocess
    from ..runs import RunFolder
    from ..training.distributed import Processes
    from ..training.trainer import follow_first
    from ..training.trainer import train as run_training

    config = configurations.load(args.config, args.set, logger.warning)
    before = RunFolder(args.continue_from.resolve()) if args.continue_from else None
    options = {"again": args.again, "continue_from": before}
    if args.processes:
        result = run(
            lambda report, stop: train_in_subprocess(
                config, report, stop, args.processes, **options
            )
        )
    else:
        processes = Processes.join()
        if not processes.is_first:
            # Ctrl-C reaches all of them: the first one stops the others, with a checkpoint.
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            follow_first(processes)
            processes.leave()
            return OK
        result = run(
            lambda report, stop: run_training(config, report, stop, **options, processes=processes)
        )
        processes.leave()
    print(result.lora_file)
    return OK if result.finished else STOPPED


def run_check(args: Namespace) -> int:
    """Prints every problem and warning of a configuration."""
    from ..training.preflight import check as examine

    untranslated: list[str] = []
    config = configurations.load(args.config, args.set, untranslated.append)
    problems, warnings = run(lambda report, stop: examine(config, args.strict, report))
    warnings = [*dict.fromkeys(untranslated), *warnings]
    for line in problems:
        print(line)
    for line in warnings:
        print(f"warning: {line}")
    if not problems:
        print(f"{args.config}: ready to train" + (", but for the warnings" if warnings else ""))
    return WRONG_CONFIGURATION if problems else OK


def run_push(args: Namespace) -> int:
    """Uploads a run and prints its address."""
    from ..config import HubConfig
    from ..publish.hub import push as upload
    from ..runs import RunFolder

    run_folder = RunFolder(args.run.resolve())
    target = HubConfig(hub_model_id=args.to, private=not args.public) if args.to else None
    print(run(lambda report, stop: upload(run_folder, target, report)))
    return OK


def run_gpu_check(args: Namespace) -> int:
    """Prints what works on the device, line by line, and what the device is."""
    from ..gpu_check.run import check_device
    from ..models.described import described
    from ..models.device import default_device

    print("\n".join(described(default_device())), flush=True)
    verdicts = run(
        lambda report, stop: check_device(args.only or NAMES, args.minutes, report, stop)
    )
    print("\n".join(map(str, verdicts)))
    return FAILED if any(verdict.outcome == "fails" for verdict in verdicts) else OK


def run_miniature_export(args: Namespace) -> int:
    """Writes the miniature as a file for ComfyUI and prints its path."""
    from ..families.ltxv.miniature.comfy_file import export

    print(export(Path(args.output)))
    return OK


@contextmanager
def _team() -> Iterator[Team]:
    """This process among those that a launcher has started; importing torch for one alone takes seconds.

    A process that ended without leaving the others could crash in the threads of torch that talk with them.
    """
    if os.environ.get("WORLD_SIZE", "1") == "1":
        yield ALONE
        return
    from ..training.distributed import Processes

    processes = Processes.join()
    yield processes
    processes.leave()  # not after an error: the others may never answer


def _without_bars(report: Reporter, team: Team) -> Reporter:
    """Of several processes on one terminal, the first one alone draws bars."""
    if team.rank == 0:
        return report
    return lambda event: None if isinstance(event, Progress) else report(event)


def _settings(section: type[SectionT], args: Namespace) -> SectionT:
    """The options that were given, with the defaults of the others."""
    return build(section, {k: v for k, v in vars(args).items() if k in section.model_fields})
