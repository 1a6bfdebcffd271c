"""What has been measured, in SQLite: shared between runs, safe under writers side by side and under a crash.

Write-ahead logging lets readers go on while one writer commits; a writer waits for another one; a commit is there as a
whole or not at all, whenever the process dies (https://sqlite.org/wal.html).
"""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tcc import cache
from tcc.cost_models._kernels import Kernel, Timed
from tcc.diagnostics import Diagnostic, Exit, fail

FORMAT = 1
"""Raised whenever the tables change; a file of another format is moved aside."""
PATIENCE = 60.0
"""Seconds that a writer waits for another one."""
_PAUSE = 0.01
"""Seconds between two tries to open what another process is opening."""
_PRIMARY = 0xFF
"""The bits of an extended result code that name the kind of error (https://sqlite.org/rescode.html)."""
_TABLES = """
CREATE TABLE IF NOT EXISTS machines (id INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE);
CREATE TABLE IF NOT EXISTS kernels (
    machine INTEGER NOT NULL REFERENCES machines (id),
    kernel TEXT NOT NULL,
    seconds REAL NOT NULL,
    runs INTEGER NOT NULL,
    PRIMARY KEY (machine, kernel)
) WITHOUT ROWID;
"""


@dataclass(frozen=True)
class Machine:
    """What a time depends on besides the kernel: processor, back end and its version, threads."""

    processor: str
    backend: str
    threads: int

    @property
    def text(self) -> str:
        """The machine as one line."""
        return f"{self.processor}; {self.backend}; {self.threads} threads"


@dataclass(frozen=True)
class Entry:
    """The least seconds that a run of a kernel took, and how many runs there were."""

    seconds: float
    runs: int


def place() -> Path:
    """Where the measurements lie: ``$XDG_CACHE_HOME/tcc/kernels.sqlite``."""
    return cache.folder() / "kernels.sqlite"


@dataclass
class Database:
    """The measurements in a file, which is made where there is none; ``notes`` says what became of a corrupt one."""

    path: Path = field(default_factory=place)
    notes: list[Diagnostic] = field(default_factory=list)

    def __post_init__(self) -> None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._prepare()
        except sqlite3.OperationalError as error:
            raise fail(Exit.LIMIT, "E0902", f"the measurements cannot be opened: {error}", where=str(self.path),
                       help="check that the folder is writable, or set XDG_CACHE_HOME") from error  # fmt: skip
        except sqlite3.DatabaseError as error:
            self._move_aside(str(error))
            self._prepare()
        except OSError as error:
            message = f"cannot write the measurements: {error.strerror or error}"
            hint = "set XDG_CACHE_HOME to a folder that is writable"
            raise fail(Exit.USAGE, "E0223", message, where=str(self.path), help=hint) from error

    def _prepare(self) -> None:
        """Make or check the file, waiting for others who do.

        SQLite does not wait by itself where waiting could be for ever: while one switches to write-ahead logging or
        closes as the last, another that opens may be refused at once (https://sqlite.org/c3ref/busy_handler.html).
        """
        end = time.monotonic() + PATIENCE
        while True:
            try:
                return self._prepare_once()
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & _PRIMARY != sqlite3.SQLITE_BUSY or time.monotonic() > end:
                    raise
            time.sleep(_PAUSE)

    def _prepare_once(self) -> None:
        with self._connection() as connection:
            connection.execute("PRAGMA journal_mode=WAL")
            (found,) = connection.execute("PRAGMA user_version").fetchone()
            (sound,) = connection.execute("PRAGMA quick_check(1)").fetchone()
            if sound != "ok":
                raise sqlite3.DatabaseError(sound)
            if found not in (0, FORMAT):
                message = f"its format is {found}, should be {FORMAT}"
                raise sqlite3.DatabaseError(message)
            connection.executescript(_TABLES)
            connection.execute(f"PRAGMA user_version={FORMAT}")

    def _move_aside(self, reason: str) -> None:
        aside = self.path.with_name(f"{self.path.name}.corrupt-{time.time_ns()}")
        with contextlib.suppress(FileNotFoundError):  # another process was quicker
            self.path.replace(aside)
        for suffix in ("-wal", "-shm"):
            Path(f"{self.path}{suffix}").unlink(missing_ok=True)
        message = f"the measurements could not be read and were moved to {aside.name}: {reason}"
        self.notes.append(Diagnostic("W0901", message, str(self.path), help="they are taken again as they are needed"))

    @contextlib.contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        connection = sqlite3.connect(self.path, timeout=PATIENCE, isolation_level=None)
        try:
            connection.execute("PRAGMA synchronous=NORMAL")
            yield connection
        finally:
            connection.close()

    def add(self, machine: Machine, timed: Iterable[Timed]) -> None:
        """Keep what was measured: the least time of a kernel over all runs there ever were."""
        best: dict[str, Entry] = {}
        for item in timed:
            key, known = item.kernel.text, best.get(item.kernel.text)
            seconds = min(item.seconds, known.seconds) if known else item.seconds
            best[key] = Entry(seconds, item.runs + (known.runs if known else 0))
        with self._connection() as connection:
            # At once a writer: a reader that becomes one may find that another has written meanwhile.
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("INSERT OR IGNORE INTO machines (text) VALUES (?)", (machine.text,))
            (number,) = connection.execute("SELECT id FROM machines WHERE text = ?", (machine.text,)).fetchone()
            connection.executemany(
                "INSERT INTO kernels VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET "
                "seconds = min(seconds, excluded.seconds), runs = runs + excluded.runs",
                [(number, key, entry.seconds, entry.runs) for key, entry in sorted(best.items())],
            )
            connection.execute("COMMIT")

    def entries(self, machine: Machine) -> dict[Kernel, Entry]:
        """All that was measured on a machine, in the kernels' order."""
        query = "SELECT kernel, seconds, runs FROM kernels JOIN machines ON machine = id WHERE text = ? ORDER BY kernel"
        with self._connection() as connection:
            rows: Sequence[tuple[str, float, int]] = connection.execute(query, (machine.text,)).fetchall()
        return {Kernel.parse(key): Entry(seconds, runs) for key, seconds, runs in rows}

    def machines(self) -> dict[str, int]:
        """The machines and how many kernels were measured on each."""
        query = "SELECT text, count(*) FROM machines JOIN kernels ON machine = id GROUP BY text ORDER BY text"
        with self._connection() as connection:
            return dict(connection.execute(query).fetchall())
