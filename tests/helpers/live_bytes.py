"""Bytes of the tensors that are alive, counted as they are made and released."""

import weakref
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class LiveBytes(TorchDispatchMode):
    """Within its block, counts memory of the CPU: `with LiveBytes(model.parameters()) as memory: ...`.

    Attributes:
        now, peak: bytes of the given tensors and of those that came since.
    """

    def __init__(self, before: Any = ()):
        super().__init__()
        self.now = self.peak = 0
        self._known: set[int] = set()
        for tensor in before:
            self._note(tensor)

    def begin(self) -> None:
        """Forgets the peak until now."""
        self.peak = self.now

    def __torch_dispatch__(self, op: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = op(*args, **(kwargs or {}))
        for each in tree_leaves(result):
            if isinstance(each, Tensor):
                self._note(each)
        return result

    def _note(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if key in self._known or tensor.device.type != "cpu":
            return
        self._known.add(key)
        self.now += size
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._release, key, size)

    def _release(self, key: int, size: int) -> None:
        self._known.discard(key)
        self.now -= size
