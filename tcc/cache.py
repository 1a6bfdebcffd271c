"""The user's cache: what takes long to make and follows from what is installed here."""

from __future__ import annotations

import marshal
import os
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any


def folder() -> Path:
    """Where tcc keeps such files: ``$XDG_CACHE_HOME/tcc``, by default ``~/.cache/tcc``."""
    root = os.environ.get("XDG_CACHE_HOME", "")
    # The XDG Base Directory Specification: a relative path is invalid and ignored.
    return (Path(root) if Path(root).is_absolute() else Path.home() / ".cache") / "tcc"


def kept(name: str, sources: Iterable[Path], make: Callable[[], Any]) -> Any:
    """What ``make`` makes of the source files, in plain types; from the cache where the files are the same.

    Entries are written as Python writes bytecode (``marshal``): read in a fifth of JSON's time, tuples stay tuples.
    Files are told apart as Python's own bytecode cache does: by path, size and time of change. Each installation
    has an entry of its own. Where the cache cannot be written, everything works, each time anew.

    Args:
        name: of the cache's file.
        sources: files, or folders for the Python files in them.
        make: a pure function of the sources.
    """
    files = sorted(file for source in sources for file in _files(source))
    key = [[str(file), stat.st_size, stat.st_mtime_ns] for file in files for stat in [file.stat()]]
    path = _place(name, files)
    with suppress(OSError, ValueError, LookupError, TypeError, EOFError):
        known, value = marshal.loads(path.read_bytes())  # noqa: S302 - the user's own file, as bytecode is
        if known == key:
            return value
    value = make()
    with suppress(OSError):
        write(path, marshal.dumps((key, value)))
    return value


def _files(source: Path) -> Iterable[Path]:
    return [source] if source.is_file() else source.glob("*.py")


def _place(name: str, files: list[Path]) -> Path:
    from zlib import crc32

    return folder() / f"{name}-{crc32(str(files[0]).encode()):08x}.{sys.implementation.cache_tag}"


def write(path: Path, content: str | bytes) -> None:
    """Write a file of the cache, atomically; raises ``OSError``."""
    import tempfile  # only a first run writes, and this import takes longer than a later run's reading

    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
        try:
            file.write(content.encode() if isinstance(content, str) else content)
            file.close()
            Path(file.name).replace(path)
        except BaseException:
            Path(file.name).unlink(missing_ok=True)
            raise
