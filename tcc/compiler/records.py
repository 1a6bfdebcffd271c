"""What measurements decided, kept by content: a repeated or resumed compilation decides the same."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tcc import cache

FORMAT = 2
"""Part of every key; raised whenever what is measured, or how, changes."""
_PATIENCE = 60.0
"""Seconds that a writer waits for another one."""
_TABLE = "CREATE TABLE IF NOT EXISTS records (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID"


def place() -> Path:
    """Where the records lie: ``$XDG_CACHE_HOME/tcc/decisions.sqlite``; removing the file forgets them."""
    return cache.folder() / "decisions.sqlite"


@dataclass
class Records:
    """Small values of JSON's types by key. Where the file cannot be used, they last as long as this object."""

    path: Path = field(default_factory=place)
    _known: dict[str, dict[str, Any]] = field(default_factory=dict)

    def kept(self, key: str, make: Callable[[], Mapping[str, Any]]) -> dict[str, Any]:
        """The value that was first recorded for a key; what ``make`` gives where there is none yet."""
        if key not in self._known:
            found = self._read(key)
            self._known[key] = self._write(key, dict(make())) if found is None else found
        return self._known[key]

    def _read(self, key: str) -> dict[str, Any] | None:
        with contextlib.suppress(sqlite3.Error, OSError, ValueError), self._connection() as connection:
            row = connection.execute("SELECT value FROM records WHERE key = ?", (key,)).fetchone()
            return None if row is None else dict(json.loads(row[0]))
        return None

    def _write(self, key: str, value: dict[str, Any]) -> dict[str, Any]:
        with contextlib.suppress(sqlite3.Error, OSError, ValueError):
            with self._connection() as connection:
                # The first to record an answer is right: two compilations side by side decide the same.
                connection.execute("INSERT OR IGNORE INTO records VALUES (?, ?)", (key, json.dumps(value)))
            found = self._read(key)
            return value if found is None else found
        return value

    @contextlib.contextmanager
    def _connection(self) -> Any:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(self.path, timeout=_PATIENCE, isolation_level=None)
        try:
            connection.execute(_TABLE)
            yield connection
        finally:
            connection.close()
