"""Heartbeats of processes that train together: each learns of another one that hangs or is gone."""

import threading
import time
from collections.abc import Callable
from contextlib import suppress

from torch.distributed import Store

BEAT_SECONDS = 5.0
SILENT_BEATS = 12
"""A process hangs that has not beaten while another one has so often: a minute. Beats are counted, not
time: while a computer sleeps, nobody is silent."""

_POLL_SECONDS = 0.1


class Heartbeats:
    """Beats from a thread of its own, and watches the others.

    The first process watches all others, and these watch the first one: it ends them.
    """

    def __init__(self, store: Store, rank: int, count: int, on_silence: Callable[[int], None]):
        """
        Args:
            store: that all of them reach, over a connection of this process for this alone.
            on_silence: called once from the thread, with the rank of a process that hangs.
        """
        self.store, self.rank, self.on_silence = store, rank, on_silence
        self._watched = range(1, count) if rank == 0 else range(1)
        self._last = dict.fromkeys(self._watched, -1)
        self._silent = dict.fromkeys(self._watched, 0)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="ltxv-train heartbeat", daemon=True)

    def start(self) -> None:
        """Begins to beat."""
        self._thread.start()

    def close(self) -> None:
        """Ends the thread, which tells the others that this process leaves."""
        self._ended.set()
        self._thread.join(BEAT_SECONDS)

    def find_lost(self) -> int | None:
        """Waits for two beats. Returns the rank of a process that has left, or is gone since."""
        before = {rank: self.store.add(f"beats/{rank}", 0) for rank in self._watched}
        until = time.monotonic() + 2.5 * BEAT_SECONDS
        while time.monotonic() < until:
            for rank in before:
                if self.store.check([f"left/{rank}"]):
                    return rank
            time.sleep(_POLL_SECONDS)
        return next(
            (r for r, beats in before.items() if self.store.add(f"beats/{r}", 0) == beats), None
        )

    def _beat(self) -> None:
        while not self._ended.wait(BEAT_SECONDS):
            try:
                silent = self._look()
            except RuntimeError:  # whoever keeps the store is gone
                silent = None if self.rank == 0 else 0
            if silent is not None:
                self.on_silence(silent)
                return
        with suppress(RuntimeError):
            self.store.set(f"left/{self.rank}", "")

    def _look(self) -> int | None:
        """Beats once. Returns the rank of a process that hangs."""
        self.store.add(f"beats/{self.rank}", 1)
        for rank in self._watched:
            beats = self.store.add(f"beats/{rank}", 0)
            is_here = beats != self._last[rank] or self.store.check([f"left/{rank}"])
            self._last[rank] = beats
            self._silent[rank] = 0 if is_here else self._silent[rank] + 1
            if self._silent[rank] >= SILENT_BEATS:
                return rank
        return None
