"""Work on many items by a few threads, a few items ahead of the one whose result is next."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import TypeVar

import torch

__all__ = ["in_order"]

T = TypeVar("T")
# Items that are worked on or done and waiting, for each thread: the bound on what is held.
_AHEAD = 2


def in_order(work: Callable[[int], T], items: Iterable[int], threads: int) -> Iterator[tuple[int, Callable[[], T]]]:
    """Yield every item, in order, with a function that returns the work's result on it or raises its error.

    By one thread the work is done when that function is called; by more it is done ahead, on one thread of torch each,
    and what is not begun is left when the caller stops.
    """
    if threads == 1:
        for item in items:
            yield item, partial(work, item)
        return
    waiting: deque[tuple[int, Future[T]]] = deque()
    own = torch.get_num_threads()
    # A thread's first look at torch's number of threads is its own; what later threads start with is set back below.
    pool = ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,))
    try:
        for item in items:
            waiting.append((item, pool.submit(work, item)))
            if len(waiting) > _AHEAD * threads:
                first, future = waiting.popleft()
                yield first, future.result
        while waiting:
            first, future = waiting.popleft()
            yield first, future.result
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(own)
