"""What a benchmark has done already, a line of JSON each: a run that was stopped goes on."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_FOLDER = Path(__file__).resolve().parent.parent / "build"


@dataclass
class Journal:
    """The rows of a benchmark, by what they are of.

    Args:
        name: of the benchmark.
        key: all that rows depend on besides; those of another one are not taken over.
        fresh: whether nothing is taken over.
    """

    name: str
    key: Mapping[str, Any]
    fresh: bool = False
    _rows: dict[str, dict[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.fresh and self.path.exists():
            entries = [entry for line in self.path.read_text().splitlines() if (entry := _read(line))]
            self._rows = {json.dumps(e["what"]): e["row"] for e in entries if e["key"] == dict(self.key)}

    @property
    def path(self) -> Path:
        """The file."""
        return _FOLDER / f"{self.name}.jsonl"

    def find(self, *what: str | int | Sequence[str]) -> dict[str, Any] | None:
        """The row of something that is done; None where it is not."""
        return self._rows.get(json.dumps(what))

    def add(self, row: dict[str, Any], *what: str | int | Sequence[str]) -> dict[str, Any]:
        """Keep a row."""
        self.path.parent.mkdir(exist_ok=True)
        with self.path.open("a") as stream:
            stream.write(json.dumps({"key": self.key, "what": what, "row": row}) + "\n")
        self._rows[json.dumps(what)] = row
        return row


def _read(line: str) -> dict[str, Any] | None:
    """An entry; None for one that a killed process has not written to its end, or of another form."""
    try:
        entry = json.loads(line)
    except ValueError:
        return None
    return entry if isinstance(entry, dict) and entry.keys() == {"key", "what", "row"} else None
