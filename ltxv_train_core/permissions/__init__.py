"""What a graph or a file from somebody else may do on this machine: read, write, leave it.

A process is a command line's or a canvas'. On a command line, paths are their writer's consent. On a
canvas, a graph may be anybody's: it reads and writes in ComfyUI's folders, and elsewhere only what
this machine's user allowed. Nothing in a graph, a YAML file or a run folder can allow anything.
"""

from .grants import OWN_ENTITY, Grants, Upload, Visibility
from .ledger import Ledger, require_own, write_own
from .missing import no_such_path
from .policy import (
    Ask,
    Canvas,
    CommandLine,
    NotAllowedError,
    Places,
    Policy,
    environment,
    join,
    policy,
    use,
)
from .store import GrantFile, default_file, require_grantable

__all__ = [
    "OWN_ENTITY",
    "Ask",
    "Canvas",
    "CommandLine",
    "GrantFile",
    "Grants",
    "Ledger",
    "NotAllowedError",
    "Places",
    "Policy",
    "Upload",
    "Visibility",
    "default_file",
    "environment",
    "join",
    "no_such_path",
    "policy",
    "require_grantable",
    "require_own",
    "use",
    "write_own",
]
