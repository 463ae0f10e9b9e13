"""The command that allows what graphs may do on this machine, for servers without a browser."""

from argparse import Namespace

from ..permissions import OWN_ENTITY, GrantFile, Grants, Upload, default_file
from ..storage.paths import as_path
from .exit_codes import OK
from .parsers import Parsers


def add_parsers(parsers: Parsers) -> None:
    """Adds `allow`."""
    parser = parsers.add_parser(
        "allow",
        help="allow graphs to read, write and send on this machine, or list what is allowed",
    )
    parser.add_argument(
        "--folder",
        action="append",
        default=[],
        metavar="DIR",
        help="folder that graphs may read, and write where it is empty or written by this program",
    )
    parser.add_argument(
        "--download",
        action="append",
        default=[],
        metavar="OWNER/NAME",
        help="repository of the Hugging Face Hub that models and data sets may be downloaded from",
    )
    parser.add_argument(
        "--upload",
        action="append",
        default=[],
        metavar="OWNER[/NAME]",
        help="repository or namespace of the Hub that trained files may be uploaded to, as private",
    )
    parser.add_argument("--public", action="store_true", help="with --upload: also as public")
    parser.add_argument(
        "--entity",
        action="append",
        default=[],
        metavar="NAME",
        help=f'user or team at Weights & Biases; "{OWN_ENTITY}" is that of the login',
    )
    parser.add_argument("--remove", action="store_true", help="remove these permissions")
    parser.add_argument(
        "--comfyui",
        type=as_path,
        metavar="DIR",
        help="ComfyUI's base folder; by default the one in whose custom_nodes this pack lies",
    )
    parser.set_defaults(command=run_allow)


def run_allow(args: Namespace) -> int:
    """Adds or removes permissions, and prints those there are."""
    file = GrantFile(default_file(args.comfyui))
    visibility = "public" if args.public else "private"
    named = Grants.from_json(
        {
            "folders": [str(as_path(each).absolute()) for each in args.folder],
            "downloads": args.download,
            "uploads": [{"to": each, "visibility": visibility} for each in args.upload],
            "entities": args.entity,
        }
    )
    allowed = file.read()
    if named != Grants():
        allowed = file.remove(named) if args.remove else file.add(named)
    for line in _lines(allowed):
        print(line)
    print(f"({file.path})")
    return OK


def _lines(allowed: Grants) -> list[str]:
    def upload(each: Upload) -> str:
        return f"{each.to} ({'public or private' if each.visibility == 'public' else 'private'})"

    lines = [
        *(f"folder    {each}" for each in allowed.folders),
        *(f"download  {each}" for each in allowed.downloads),
        *(f"upload    {upload(each)}" for each in allowed.uploads),
        *(f"entity    {each}" for each in allowed.entities),
    ]
    return lines or ["nothing was allowed"]
