"""Models that their libraries load, one at a time."""

import threading

ONE_AT_A_TIME = threading.RLock()
"""To hold around `from_pretrained`: transformers and diffusers replace functions of torch for all threads while
they load, and two loads at a time leave them replaced (transformers 5.24): later models stay empty."""
