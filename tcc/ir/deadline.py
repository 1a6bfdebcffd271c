"""A time by which work has to end: what takes long asks whether it has come, wherever it runs."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from tcc.diagnostics import Exit, TccError, fail

CODE = "E0903"


@dataclass
class Span:
    """Work up to an end, in seconds since the epoch: the one clock that processes share."""

    end: float = math.inf
    struck: bool = False
    """Whether work was cut short."""


_SPAN: ContextVar[Span] = ContextVar("span", default=Span())  # noqa: B039 - it has no end, so nothing strikes it


@contextmanager
def until(end: float) -> Iterator[Span]:
    """Work within has to end by then, and by the end of what is around it; the span says whether it was cut short."""
    around = _SPAN.get()
    span = Span(end) if end < around.end else around
    token = _SPAN.set(span)
    try:
        yield span
    finally:
        _SPAN.reset(token)


def check() -> None:
    """Raise where the time has come; exit LIMIT."""
    span = _SPAN.get()
    if is_over(span.end):
        span.struck = True
        raise fail(Exit.LIMIT, CODE, "the time limit has come", help="allow more with --time-limit")


def share(end: float, part: float) -> float:
    """When that part of the time from now to an end is over, in seconds since the epoch."""
    now = time.time()
    return now + part * max(0.0, end - now)


def is_over(end: float) -> bool:
    """Whether a time has come."""
    return time.time() > end


def has_come(error: TccError) -> bool:
    """Whether an error says that the time has come, and not that memory is short."""
    return any(diagnostic.code == CODE for diagnostic in error.diagnostics)
