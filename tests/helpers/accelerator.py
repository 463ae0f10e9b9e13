"""A second device for tests, calculated by the CPU: `with Accelerator() as accelerator: model.to(accelerator.device)`.

It models what a GPU does and a CPU hides:
- its tensors and those of the CPU can't be mixed;
- work is queued on streams. Results come at once, but the host is taken to be ahead of the device without bound,
  so whatever two streams do with the same memory must be ordered by events: else `Race` is raised;
- memory is counted, by the stream that allocates it, and so is what that stream gets back too early;
- copies are asynchronous from pinned memory alone, of which there may be little.
"""

import sys
import types
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map_only

CPU = torch.device("cpu")
aten = torch.ops.aten


class Race(AssertionError):
    """Two streams use the same memory in no order."""


class Stream:
    """A queue of work. `clock` holds, of each stream, how much of its work comes before what is queued next."""

    def __init__(self, device: Any = None):
        self.clock: dict[Stream, int] = {self: 0}

    def work(self) -> int:
        self.clock[self] += 1
        return self.clock[self]

    def record_event(self) -> "Event":
        return Event(dict(self.clock))

    def wait_event(self, event: "Event") -> None:
        for stream, done in event.clock.items():
            self.clock[stream] = max(done, self.clock.get(stream, 0))

    def wait_stream(self, other: "Stream") -> None:
        self.wait_event(other.record_event())

    def is_after(self, stream: "Stream", number: int) -> bool:
        return self.clock.get(stream, 0) >= number


class Event:
    def __init__(self, clock: dict[Stream, int]):
        self.clock = clock

    def synchronize(self) -> None:
        """The host waits: what comes after it on any stream comes after the event."""
        _running().waits += 1
        _running().host.wait_event(self)


class Memory:
    """A tensor's memory, with who wrote and read it last."""

    def __init__(self, storage: Any):
        self.storage = storage
        self.written: tuple[Stream, int] | None = None
        self.read: dict[Stream, int] = {}
        self.last: dict[Stream, int] = {}

    def use(self, stream: Stream, number: int, writes: bool) -> None:
        earlier = [self.written] if self.written else []
        earlier += list(self.read.items()) if writes else []
        for other, done in earlier:
            if not stream.is_after(other, done):
                raise Race("memory is used while another stream still works with it")
        self.last[stream] = number
        if writes:
            self.written, self.read = (stream, number), {}
        else:
            self.read[stream] = number


class _Pinned:
    """Pinned memory of the host, as long as a tensor has it."""

    def __init__(self, tensor: Tensor):
        self.storage, self.nbytes = StorageWeakRef(tensor.untyped_storage()), tensor.nbytes
        self.memory = Memory(None)


class DeviceTensor(Tensor):
    """A tensor of the device; for autograd it is one of the meta device."""

    @staticmethod
    def __new__(cls, raw: Tensor, memory: Memory) -> "DeviceTensor":
        return Tensor._make_wrapper_subclass(
            cls, raw.size(), strides=raw.stride(), storage_offset=raw.storage_offset(),
            dtype=raw.dtype, device="meta",
        )  # fmt: skip

    def __init__(self, raw: Tensor, memory: Memory):
        self.raw, self.memory = raw, memory

    @property
    def device(self) -> torch.device:
        return Accelerator.device

    @classmethod
    def __torch_dispatch__(cls, op: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _running().run(op, args, kwargs or {})


class Accelerator(TorchDispatchMode):
    """The device. There is one at a time.

    Attributes:
        live_bytes, peak_bytes: of its memory.
        allocated_bytes: by stream, all there ever were.
        pinned_bytes: of the host.
        waits: how often the host has waited for the device.
        released_early: how often memory was given back while another stream still worked with it.
    """

    device = torch.device("privateuseone", 0)
    current: "Accelerator | None" = None

    def __init__(self, total_bytes: int = 2**40, pinned_limit: int = 2**40):
        super().__init__()
        self.total_bytes, self.pinned_limit = total_bytes, pinned_limit
        self.host, self.stream = Stream(), Stream()
        self.waits = self.released_early = 0
        self.live_bytes = self.peak_bytes = 0
        self.allocated_bytes: dict[Stream, int] = {}
        self._memories: weakref.WeakValueDictionary[int, Memory] = weakref.WeakValueDictionary()
        self._pinned: dict[int, _Pinned] = {}

    @property
    def pinned_bytes(self) -> int:
        return sum(each.nbytes for each in self._pinned.values() if not each.storage.expired())

    def __enter__(self) -> "Accelerator":

        module: Any = types.ModuleType("torch.privateuseone")
        module.Stream, module.Event = Stream, Event
        module.stream, module.current_stream = self._on, lambda device=None: self.stream
        module.get_amp_supported_dtype = lambda: [torch.bfloat16, torch.float16]
        module.empty_cache = lambda: None
        module.mem_get_info = lambda device: (self.total_bytes - self.live_bytes, self.total_bytes)
        module.max_memory_allocated = lambda device: self.peak_bytes
        module.reset_peak_memory_stats = self._reset_peak
        module.memory_reserved = module.memory_allocated = lambda device: self.live_bytes
        sys.modules["torch.privateuseone"] = torch.privateuseone = module  # type: ignore[attr-defined]
        Accelerator.current = self
        return super().__enter__()  # type: ignore[no-any-return]

    def __exit__(self, *error: Any) -> None:

        super().__exit__(*error)
        Accelerator.current = None
        del sys.modules["torch.privateuseone"], torch.privateuseone  # type: ignore[attr-defined]

    def _reset_peak(self, device: torch.device) -> None:
        self.peak_bytes = self.live_bytes

    @contextmanager
    def _on(self, stream: Stream) -> Iterator[None]:
        before, self.stream = self.stream, stream
        try:
            yield
        finally:
            self.stream = before

    def __torch_dispatch__(self, op: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if op is aten.is_pinned.default:
            return self._pinned_memory(args[0]) is not None
        if op is aten._pin_memory.default:
            return self._pin(args[0])
        wanted = kwargs.get("device")
        on_device = any(issubclass(each, DeviceTensor) for each in types)
        if on_device or (wanted is not None and torch.device(wanted).type == self.device.type):
            return self.run(op, args, kwargs)
        self._touch_by_host(op, args)
        return op(*args, **kwargs)

    def run(self, op: Any, args: Any, kwargs: Any) -> Any:
        """An operation with tensors of the device, or one that makes some."""
        given = [each for each in tree_flatten((args, kwargs))[0] if isinstance(each, Tensor)]
        ours = [each for each in given if isinstance(each, DeviceTensor)]
        wanted = kwargs.get("device")
        target = self.device if ours else CPU
        if (
            wanted is not None and torch.device(wanted).type != "meta"
        ):  # what autograd takes ours for
            target = torch.device(wanted)
        if op is aten.copy_.default:
            return self._copy(args[0], args[1], bool((*args, False)[2]))
        if op is aten._to_copy.default:
            return self._moved(args[0], target, kwargs)
        mixed = any(each.ndim for each in given if not isinstance(each, DeviceTensor))
        assert not (ours and mixed), f"{op}: a tensor of the CPU among those of the device"
        raw_args, raw_kwargs = tree_map_only(DeviceTensor, lambda each: each.raw, (args, kwargs))
        if wanted is not None:
            raw_kwargs = {**raw_kwargs, "device": CPU}
        if op is aten._local_scalar_dense.default:
            self._wait()
        written = [each for each in ours if _is_written(op, each, args, kwargs)]
        is_view = op.is_view
        if not is_view:
            self._use(ours, written)
        result = op(*raw_args, **raw_kwargs)
        by_raw = {id(each.raw): each for each in ours}
        return tree_map_only(
            Tensor,
            lambda raw: by_raw.get(id(raw)) if id(raw) in by_raw else self._wrap(raw),
            result,
        )

    def _copy(self, to: Tensor, source: Tensor, non_blocking: bool) -> Tensor:
        number = self._next()
        for each, writes in ((source, False), (to, True)):
            memory = each.memory if isinstance(each, DeviceTensor) else self._pinned_memory(each)
            if memory is not None:
                memory.use(self.stream, number, writes)
            elif non_blocking:
                raise RuntimeError("an asynchronous copy from or to pageable memory")
        getattr(to, "raw", to).copy_(getattr(source, "raw", source))
        crosses = not (isinstance(to, DeviceTensor) and isinstance(source, DeviceTensor))
        if crosses and not non_blocking:
            self._wait()
        return to

    def _moved(self, tensor: Tensor, target: torch.device, options: dict[str, Any]) -> Tensor:
        is_here = isinstance(tensor, DeviceTensor)
        dtype = options.get("dtype") or tensor.dtype
        if is_here and target.type == self.device.type and dtype == tensor.dtype:
            return tensor
        shaped = torch.empty_like(getattr(tensor, "raw", tensor), dtype=dtype)
        to = self._wrap(shaped) if target.type == self.device.type else shaped
        return self._copy(to, tensor, bool(options.get("non_blocking")))

    def _wait(self) -> None:
        self.waits += 1
        self.host.wait_stream(self.stream)

    def _next(self) -> int:
        """The number of what is queued now. It comes after all that the host has done or waited for."""
        self.stream.wait_stream(self.host)
        return self.stream.work()

    def _use(self, given: list[DeviceTensor], written: list[DeviceTensor]) -> None:
        number = self._next()
        for each in given:
            each.memory.use(self.stream, number, any(each is one for one in written))

    def _touch_by_host(self, op: Any, args: Any) -> None:
        """Pinned memory that the host writes must not be one that is still copied."""
        if op is aten.copy_.default and (memory := self._pinned_memory(args[0])):
            memory.use(self.host, self.host.work(), writes=True)

    def _wrap(self, raw: Tensor) -> DeviceTensor:
        memory = self._memories.get(raw.untyped_storage().data_ptr())
        if memory is None:
            memory = Memory(raw.untyped_storage())
            size = memory.storage.nbytes()
            self._count(size)
            if self.live_bytes > self.total_bytes:
                self._count(-size)
                raise torch.OutOfMemoryError(f"Accelerator out of memory. Tried to allocate {size}")
            memory.written = (self.stream, self.stream.clock[self.stream])
            self.allocated_bytes[self.stream] = self.allocated_bytes.get(self.stream, 0) + size
            self._memories[memory.storage.data_ptr()] = memory
            weakref.finalize(memory, self._release, size, self.stream, memory.last)
        return DeviceTensor(raw, memory)

    def _pin(self, tensor: Tensor) -> Tensor:
        if self.pinned_bytes + tensor.nbytes > self.pinned_limit:
            raise RuntimeError("CUDA error: out of memory")
        pinned = tensor.clone()
        self._pinned[pinned.data_ptr()] = _Pinned(pinned)
        return pinned

    def _pinned_memory(self, tensor: Tensor) -> Memory | None:
        found = self._pinned.get(tensor.untyped_storage().data_ptr())
        return None if found is None or found.storage.expired() else found.memory

    def _release(self, nbytes: int, owner: Stream, last: dict[Stream, int]) -> None:
        """Memory goes back to the stream that has allocated it, whose next work may have it."""
        self._count(-nbytes)
        owner.wait_stream(self.host)
        self.released_early += not all(owner.is_after(*use) for use in last.items())

    def _count(self, nbytes: int) -> None:
        self.live_bytes += nbytes
        self.peak_bytes = max(self.peak_bytes, self.live_bytes)


def _running() -> Accelerator:
    assert Accelerator.current is not None, "the device is there within its block alone"
    return Accelerator.current


def _is_written(op: Any, tensor: Tensor, args: Any, kwargs: Any) -> bool:
    values = [*zip(op._schema.arguments, args, strict=False)]
    values += [(each, kwargs.get(each.name)) for each in op._schema.arguments]
    return any(
        value is tensor and each.alias_info is not None and each.alias_info.is_write
        for each, value in values
    )
