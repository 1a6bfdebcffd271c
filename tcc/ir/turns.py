"""Work that runs on several threads at once, its results in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

from tcc.ir import deadline

Item = TypeVar("Item")
Result = TypeVar("Result")


def mapped(work: Callable[[Item], Result], items: Iterable[Item], threads: int = 1) -> Iterator[Result]:
    """The results of ``work`` in the items' order, ``threads`` of them at once; raises what ``work`` raises.

    Items are taken when they are needed: one waits while the others are worked on. At the ``deadline`` no further
    one is.
    """
    if threads < 2:
        for item in items:
            deadline.check()
            yield work(item)
        return
    deadline.check()  # a thread of the pool knows of none
    with ThreadPoolExecutor(threads) as pool:
        left, waiting = iter(items), deque[Future[Result]]()
        try:
            waiting.extend(pool.submit(work, item) for item in islice(left, threads + 1))
            while waiting:
                yield waiting.popleft().result()
                deadline.check()
                waiting.extend(pool.submit(work, item) for item in islice(left, 1))
        finally:
            for future in waiting:
                future.cancel()
