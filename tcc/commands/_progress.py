"""Shows on a terminal what is being done."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tcc.passes.manager import Instrument

if TYPE_CHECKING:
    from rich.status import Status


@dataclass
class Progress(Instrument):
    """A line that says which pass runs."""

    status: Status

    @staticmethod
    @contextmanager
    def shown() -> Iterator[Progress]:
        """The line, which goes when the block ends."""
        from rich.console import Console

        with Console(stderr=True).status("reading") as status:
            yield Progress(status)

    def begin(self, text: str, number: int, count: int) -> None:
        """Name the pass."""
        self.status.update(f"{number}/{count} {text}")
