"""Models that their libraries load, one at a time."""

import sys
import threading

ONE_AT_A_TIME = threading.RLock()
"""To hold around `from_pretrained`: transformers and diffusers replace functions of torch for all threads while
they load, and two loads at a time leave them replaced (transformers 5.24): later models stay empty."""


def wait_for_diffusers() -> None:
    """Waits until another thread that imports diffusers is done with it; imports nothing by itself.

    At its end the package puts another module in its place, and `from diffusers import ...` in a thread that waited
    for that finds no name in the earlier one (Python 3.11, diffusers 0.42). A plain import waits as well, and
    whoever looks after it finds the right one.
    """
    if "diffusers" in sys.modules:
        import diffusers  # noqa: F401
