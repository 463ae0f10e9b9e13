"""Work of some threads ahead of its consumer: never more than fits into memory."""

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def read_ahead(
    read: Callable[[Item], Result], items: Iterable[Item], threads: int
) -> Generator[tuple[Item, Future[Result]], None, None]:
    """Yields items in their order, each with its finished or failed reading.

    At most `threads` items beyond the one that was yielded last are being read or held.
    """
    source = iter(items)
    waiting: deque[tuple[Item, Future[Result]]] = deque()
    with ThreadPoolExecutor(threads, "ltxv-read") as pool:

        def top_up() -> None:
            for item in islice(source, threads - len(waiting)):
                waiting.append((item, pool.submit(read, item)))

        try:
            top_up()
            while waiting:
                item, future = waiting.popleft()
                future.exception()  # waits; the consumer asks for the result
                top_up()
                yield item, future
                del item, future
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
