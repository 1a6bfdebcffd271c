"""A time by which work has to end: what takes long asks whether it has come, wherever it runs."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from tcc.diagnostics import Exit, TccError, fail

CODE = "E0903"
_END: ContextVar[float] = ContextVar("deadline", default=math.inf)


@contextmanager
def until(end: float) -> Iterator[None]:
    """Work within has to end by then, in seconds since the epoch: the one clock that processes share."""
    token = _END.set(min(end, _END.get()))
    try:
        yield
    finally:
        _END.reset(token)


def check() -> None:
    """Raise where the time has come; exit LIMIT."""
    if time.time() > _END.get():
        raise fail(Exit.LIMIT, CODE, "the time limit has come", help="allow more with --time-limit")


def has_come(error: TccError) -> bool:
    """Whether an error says that the time has come, and not that memory is short."""
    return any(diagnostic.code == CODE for diagnostic in error.diagnostics)
