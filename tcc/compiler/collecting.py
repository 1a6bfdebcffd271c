"""Has garbage collected less often while an exact level compiles: most of what it makes lives until the end."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

_NEW = 10_000
"""New objects after which they are looked at; Python's own 700 make it a twentieth of the time of a compilation."""


@contextmanager
def seldom() -> Iterator[None]:
    """Collect at ``_NEW`` new objects; afterwards the process's own settings stand again, and off stays off."""
    new, *rest = gc.get_threshold()
    if not 0 < new < _NEW:
        yield
        return
    gc.set_threshold(_NEW, *rest)
    try:
        yield
    finally:
        gc.set_threshold(new, *rest)
