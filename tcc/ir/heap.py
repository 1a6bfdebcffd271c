"""Gives memory that is free back to the system."""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any


def give_back() -> None:
    """Give back what lies free in the C library's heap, in a millisecond or two, where that library can be told to.

    The GNU library keeps what lay between other blocks. Sessions that run one after another each leave as much as they
    took, and a process seems to need what no two of them ever held at once.
    """
    if (trim := _trim()) is not None:
        trim(0)


@cache
def _trim() -> Any:
    try:
        return getattr(ctypes.CDLL(None), "malloc_trim", None)
    except (OSError, TypeError):  # no C library to be asked so
        return None
