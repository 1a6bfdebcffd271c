"""Puts finished files where the user wants them: checked before any work, renamed into their places at its end."""

from __future__ import annotations

import glob
import os
import platform
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tcc.diagnostics import Exit, fail


def require_writable(path: Path, protected: Sequence[Path]) -> None:
    """Check, before any work, that a file can be written and is not one of ``protected``.

    Raises:
        TccError: E0223 where it cannot be written, E0224 where it is the input.
    """
    reason = ""
    if path.is_dir():
        reason = "it is a directory"
    elif path.exists() and not path.is_file():
        reason = "it is no regular file"
    elif not path.parent.exists():
        reason = f"there is no folder {path.parent}"
    elif not path.parent.is_dir():
        reason = f"{path.parent} is no folder"
    if reason:
        raise fail(Exit.USAGE, "E0223", f"cannot write the file: {reason}", where=str(path),
                   help="choose another output path, or make the folder first")  # fmt: skip
    # By the file and not by its name: there are links.
    if path.exists() and any(other.exists() and path.samefile(other) for other in protected):
        raise fail(Exit.USAGE, "E0224", "the output would overwrite the input model", where=str(path),
                   help="choose another output path")  # fmt: skip


@contextmanager
def workspace(output: Path | None) -> Iterator[Path]:
    """A folder for what is being made, on the output's own file system so that renaming out of it is atomic.

    Raises:
        TccError: E0223 where there can be none.
    """
    parent = None if output is None else output.resolve().parent
    prefix = "tcc-" if output is None else f".{output.name}.{platform.node()}-"
    if parent is not None:
        _clear_dead(parent, prefix)
    try:
        folder = tempfile.mkdtemp(dir=parent, prefix=f"{prefix}{os.getpid()}-")
    except OSError as error:
        raise fail(Exit.USAGE, "E0223", f"cannot write the file: {error.strerror or error}", where=str(output),
                   help="check that the folder is writable and has room") from error  # fmt: skip
    try:
        yield Path(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _clear_dead(parent: Path, prefix: str) -> None:
    """Remove what killed processes of this machine left of the same output's workspaces."""
    for folder in parent.glob(f"{glob.escape(prefix)}*"):
        pid = folder.name.removeprefix(prefix).partition("-")[0]
        if pid.isdecimal() and not Path("/proc", pid).exists():
            shutil.rmtree(folder, ignore_errors=True)


def publish(files: Sequence[Path], output: Path) -> tuple[Path, ...]:
    """Rename the workspace's files to their places, the model last: it is never seen without its weights."""
    target = output.resolve()  # a link stays a link: what it points to is replaced
    placed = [target.with_name(file.name) for file in files]
    try:
        for file, place in reversed(list(zip(files, placed, strict=True))):
            if place.exists():
                file.chmod(place.stat().st_mode & 0o777)
            file.replace(place)
    except OSError as error:
        raise fail(Exit.USAGE, "E0223", f"cannot write the file: {error.strerror or error}", where=str(output),
                   help="check that the folder is writable and has room") from error  # fmt: skip
    return (output, *placed[1:])
