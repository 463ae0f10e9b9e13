"""The commands for the runs of an output folder."""

import json
from argparse import Namespace
from pathlib import Path

from ..runs import RunLibrary, RunSummary
from ..storage.paths import as_path
from .exit_codes import OK, STOPPED
from .parsers import Parsers
from .terminal import run


def add_parsers(parsers: Parsers) -> None:
    """Adds `runs` with its actions."""
    parser = parsers.add_parser("runs", help="list, resume, report on, listen to, or delete runs")
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    listing = actions.add_parser("list", help="all runs with their states")
    listing.add_argument("--json", action="store_true", help="one line of JSON for each run")
    listing.set_defaults(command=list_runs)
    resume = actions.add_parser("resume", help="resume a run, from its folder alone")
    resume.add_argument("name", metavar="NAME", help="name of the run's folder")
    resume.set_defaults(command=resume_run)
    delete = actions.add_parser("delete", help="delete a run with all its files")
    delete.add_argument("name", metavar="NAME", help="name of the run's folder")
    delete.set_defaults(command=delete_run)
    report = actions.add_parser("report", help="write the page of a run, to be shared")
    report.add_argument("name", metavar="NAME", help="name of the run's folder")
    report.add_argument(
        "--output",
        type=as_path,
        metavar="FILE",
        help="the HTML file, or a folder for it; default: NAME.html",
    )
    report.set_defaults(command=report_run)
    voice = actions.add_parser("voice", help="say whether a run has learned the sound of its clips")
    voice.add_argument("name", metavar="NAME", help="name of the run's folder")
    voice.add_argument(
        "--data",
        type=as_path,
        metavar="DATASET",
        help="another preprocessed data set to compare with; default: the run's own",
    )
    voice.set_defaults(command=listen_to_run)
    for action in (listing, resume, delete, report, voice):
        action.add_argument(
            "--in",
            dest="folder",
            type=as_path,
            default=Path("outputs"),
            metavar="DIR",
            help="folder that holds the runs (output_dir); default: outputs",
        )


def list_runs(args: Namespace) -> int:
    """Prints a line for each run."""
    for summary in RunLibrary(args.folder).summaries():
        if args.json:
            facts = {"name": summary.name, **summary.state.to_json(), "step": summary.step}
            print(json.dumps(facts))
        else:
            print(_line(summary))
    return OK


def resume_run(args: Namespace) -> int:
    """Resumes a run and prints the path of its LoRA."""
    from ..jobs.subprocess_trainer import resume_training

    folder = RunLibrary(args.folder).find(args.name)
    result = run(lambda report, stop: resume_training(folder, report, stop))
    print(result.lora_file)
    return OK if result.finished else STOPPED


def report_run(args: Namespace) -> int:
    """Writes the page of a run and prints its path."""
    from ..publish.report.page import write_report

    run_folder = RunLibrary(args.folder).find(args.name)
    name = f"{run_folder.name}.html"
    output = args.output or Path(name)
    print(write_report(run_folder, output / name if output.is_dir() else output))
    return OK


def listen_to_run(args: Namespace) -> int:
    """Compares the sound of a run's samples with its clips', and prints the sentence and the picture's path."""
    from ..voice.file import picture_file
    from ..voice.listen import listen_to

    folder = RunLibrary(args.folder).find(args.name)
    voice = run(lambda report, stop: listen_to(folder, args.data, report, stop))
    print(voice.text)
    print(picture_file(folder))
    return OK


def delete_run(args: Namespace) -> int:
    """Deletes a run with all its files."""
    RunLibrary(args.folder).delete(args.name)
    print(f"deleted {args.name}")
    return OK


def _line(summary: RunSummary) -> str:
    state = summary.state
    text = f"{summary.name}  {state.status}  step {summary.step} of {state.steps}"
    # The run may be a stranger's: its text must not move the terminal's cursor.
    cause = "".join(each if each.isprintable() else " " for each in str(state.cause or ""))
    return f"{text}  {cause}" if cause else text
