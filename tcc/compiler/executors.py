"""Where attempts run: here, on local processes, or on a dask cluster; the answer is the same."""

from __future__ import annotations

import gc
import importlib.util
import multiprocessing
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, Executor, Future, ProcessPoolExecutor
from contextlib import contextmanager
from itertools import islice
from typing import Any, TypeVar

from tcc.diagnostics import Exit, TccError, fail

R = TypeVar("R")

LOCAL = "local"
_PATIENCE = "10s"
"""How long a scheduler has to answer."""


@contextmanager
def executor(scheduler: str, jobs: int) -> Iterator[Executor | None]:
    """What runs ``jobs`` functions at once; None for this process.

    Args:
        scheduler: ``local``, or a dask scheduler's ``HOST:PORT``.
        jobs: how many at once.

    Raises:
        TccError: exit USAGE where dask.distributed is missing, exit BACKEND where no scheduler answers.
    """
    # An e-graph may only be freed by the thread that made it: not left to one of the executor's.
    gc.collect()
    if scheduler != LOCAL:
        with _cluster(scheduler) as made:
            yield made
    elif jobs < 2:
        yield None
    else:
        # Not forked: the libraries' own threads would not come along, and their locks would.
        pool = ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn"))
        try:
            yield pool
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


@contextmanager
def _cluster(address: str) -> Iterator[Executor]:
    if importlib.util.find_spec("distributed") is None:
        raise fail(
            Exit.USAGE, "E0245", "a scheduler needs dask.distributed", help="pip install 'tensorcompress[cluster]'"
        )
    import distributed

    try:
        client = distributed.Client(address, timeout=_PATIENCE, set_as_default=False)
    except (OSError, TimeoutError, ValueError) as error:
        advice = "start one with: dask scheduler, and workers with: dask worker HOST:PORT"
        raise fail(Exit.BACKEND, "E0806", f"no scheduler answers at {address}: {error}", help=advice) from error
    try:
        yield client.get_executor(pure=False, retries=2)
    finally:
        client.close()


def in_order(
    pool: Executor | None,
    work: Callable[..., R],
    tasks: Sequence[tuple[Any, ...]],
    jobs: int,
    lost: Callable[[str], None],
) -> Iterator[R]:
    """The results of ``work(*task)`` in the tasks' order, at most ``jobs`` ahead of what was taken.

    A worker that is lost costs time, not the answer: ``lost`` is told, and its task runs here.
    """
    if pool is None:
        yield from (work(*task) for task in tasks)
        return
    waiting: deque[tuple[Future[R], tuple[Any, ...]]] = deque()
    left = iter(tasks)
    try:
        waiting.extend((_submit(pool, work, task), task) for task in islice(left, jobs))
        while waiting:
            future, task = waiting.popleft()
            yield _result(future, work, task, lost)
            waiting.extend((_submit(pool, work, task), task) for task in islice(left, 1))
    finally:
        for future, _ in waiting:
            future.cancel()


def cleanly(work: Callable[..., R], *task: Any) -> R:
    """The result of ``work(*task)``, with what it left behind freed by its own thread (see ``executor``)."""
    try:
        return work(*task)
    finally:
        gc.collect()


def _submit(pool: Executor, work: Callable[..., R], task: tuple[Any, ...]) -> Future[R]:
    try:
        with _no_main():
            return pool.submit(cleanly, work, *task)
    except RuntimeError as error:  # a pool that broke takes nothing more
        failed: Future[R] = Future()
        failed.set_exception(error)
        return failed


@contextmanager
def _no_main() -> Iterator[None]:
    """Processes that start now do not import the user's script: it may well call the compiler without a guard.

    What runs there is the compiler's own and found by its module; a spawned interpreter would run the script again.
    """
    main = sys.modules["__main__"]
    kept = {name: getattr(main, name) for name in ("__file__", "__spec__") if hasattr(main, name)}
    for name in kept:
        setattr(main, name, None)
    try:
        yield
    finally:
        for name, held in kept.items():
            setattr(main, name, held)


def _result(future: Future[R], work: Callable[..., R], task: tuple[Any, ...], lost: Callable[[str], None]) -> R:
    try:
        return future.result()
    except TccError:
        raise
    except (Exception, CancelledError) as error:  # noqa: BLE001 - whatever it was, it shows again here if it is ours
        lost(f"{type(error).__name__}: {error}".splitlines()[0])
        return work(*task)
