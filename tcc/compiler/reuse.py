"""Results of compilations, kept by content: the same command on the same files is answered without compiling again."""

from __future__ import annotations

import contextlib
import datetime as dt
import hashlib
import importlib.util
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tcc
from tcc import cache
from tcc.compiler import placing
from tcc.diagnostics import Diagnostic
from tcc.targets import native, parse

if TYPE_CHECKING:
    from tcc.compiler.result import Result

FORMAT = 1
"""Part of every key; raised whenever what is kept, or what its key is made of, changes."""
LIMIT = 2 * 2**30
"""Bytes that all kept results may take together; what was not used for longest goes first. None takes over half."""
SWITCH = "TCC_REUSE"
"""The environment variable that turns keeping and taking off: ``TCC_REUSE=0``."""
_IN_TIME = 0.5
"""The part of the time limit above which a result may be what the clock made of it, and is not kept."""
_ENTRY = "entry.json"
_LIBRARIES = ("egglog", "highspy", "networkx", "numpy", "onnx", "onnx_ir", "onnxruntime", "sklearn")
"""Libraries that have a say in what a compilation gives."""


def folder() -> Path:
    """Where results lie: ``$XDG_CACHE_HOME/tcc/results``; removing the folder forgets them."""
    return cache.folder() / "results"


@dataclass(frozen=True)
class Taken:
    """What an earlier compilation said and wrote, as ``Result`` has it."""

    diagnostics: tuple[Diagnostic, ...]
    report: Mapping[str, Any]
    files: tuple[Path, ...]


@dataclass(frozen=True)
class Reuse:
    """One compilation's place among the kept results.

    Args:
        model: the input's file.
        output: the file to write.
        asked: everything else that decides the result, in JSON's types.
        data: files and folders of the user's that are read besides: their contents count.
    """

    model: Path
    output: Path
    asked: Mapping[str, Any]
    data: Sequence[Path] = ()
    _begun: float = field(default_factory=time.time)
    _inputs: list[str] = field(default_factory=list)

    def take(self) -> Taken | None:
        """Copy an earlier result to the output; None where there is none, or it is not whole any more.

        Raises:
            TccError: E0223 where the output cannot be written, E0224 where it is the input.
        """
        if os.environ.get(SWITCH) == "0":
            return None
        with contextlib.suppress(OSError, ValueError, LookupError, TypeError):
            return self._take(self._place())
        return None

    def keep(self, result: Result) -> None:
        """Keep a result, where it is one that the same command gives again; what cannot be written is not kept."""
        limit = _IN_TIME * float(self.asked.get("time_limit", 0.0))
        if os.environ.get(SWITCH) == "0" or not result.files or result.report["measured"]["seconds"] > limit:
            return
        if sum(file.stat().st_size for file in result.files) > LIMIT / 2:
            return
        with contextlib.suppress(OSError, ValueError):
            beside = [file for file in result.read if not file.samefile(self.model)]
            # What changed meanwhile was read either before or after.
            if all(file.stat().st_mtime < self._begun for file in (self.model, *beside)):
                self._keep(self._place(), result, beside)
                _evict()

    def _place(self) -> Path:
        if not self._inputs:
            self._inputs.extend(_content([self.model, *self.data]))
        parts = [FORMAT, dict(self.asked), str(self.model), str(self.output), self._inputs, *_environment()]
        return folder() / hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def _take(self, place: Path) -> Taken | None:
        entry = json.loads((place / _ENTRY).read_text(encoding="utf-8"))
        beside = [self.model.parent / name for name in entry["beside"]]
        if _content(beside) != list(entry["beside"].values()):
            return None
        placing.require_writable(self.output, [self.model, *beside])
        with placing.workspace(self.output) as work:
            copies = [Path(shutil.copyfile(place / name, work / name)) for name in entry["files"]]
            if _content(copies) != list(entry["files"].values()):
                shutil.rmtree(place, ignore_errors=True)
                return None
            files = placing.publish(copies, self.output)
        os.utime(place)  # used: the last to go
        told = [*map(_diagnostic, entry["diagnostics"]), _note(entry["made"], str(self.model))]
        entry["report"]["diagnostics"] = [{"severity": d.severity, **asdict(d)} for d in told]
        return Taken(tuple(told), entry["report"], files)

    def _keep(self, place: Path, result: Result, beside: Sequence[Path]) -> None:
        folder().mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(dir=folder(), prefix="."))
        try:
            names = [file.resolve().name for file in result.files]
            copies = [Path(shutil.copyfile(file, made / name)) for file, name in zip(result.files, names, strict=True)]
            entry = {
                "made": time.time(),
                "beside": {
                    os.path.relpath(file, self.model.parent): digest
                    for file, digest in zip(beside, _content(beside), strict=True)
                },
                "files": dict(zip(names, _content(copies), strict=True)),
                "diagnostics": [asdict(diagnostic) for diagnostic in result.diagnostics],
                "report": result.report,
            }
            (made / _ENTRY).write_text(json.dumps(entry), encoding="utf-8")
            made.replace(place)  # fails where the same was kept meanwhile: one of them does
        except BaseException:
            shutil.rmtree(made, ignore_errors=True)
            raise


def _note(made: float, where: str) -> Diagnostic:
    when = dt.datetime.fromtimestamp(made, dt.UTC)
    message = f"nothing has changed since {when:%Y-%m-%d %H:%M} UTC: the result of that compilation is taken"
    return Diagnostic("N0712", message, where, help="--no-reuse compiles and measures anew")


def _diagnostic(kept: Mapping[str, Any]) -> Diagnostic:
    return Diagnostic(**{**kept, "notes": tuple(kept["notes"])})


def _content(paths: Iterable[Path]) -> list[str]:
    """A digest of each file, and of each folder all of its files' names and digests."""
    found = []
    for path in paths:
        if path.is_dir():
            inside = sorted(file for file in path.rglob("*") if file.is_file())
            listed = json.dumps([[str(file.relative_to(path)) for file in inside], _content(inside)])
            found.append(hashlib.sha256(listed.encode()).hexdigest())
        else:
            with path.open("rb") as stream:
                found.append(hashlib.file_digest(stream, "sha256").hexdigest())
    return found


def _environment() -> list[Any]:
    """What else decides a result: tcc itself, the libraries, this machine and what was measured on it."""
    root = Path(__file__).parent.parent
    sources = [*root.rglob("*.py"), *root.rglob("*.toml"), *parse.own_folder().glob("*.toml")]
    specs = [importlib.util.find_spec(name) for name in _LIBRARIES]
    libraries = [Path(spec.origin) for spec in specs if spec is not None and spec.origin is not None]
    measured = sorted(path for path in cache.folder().glob("*") if path.name.startswith(("native", "kernels.sqlite")))
    return [
        tcc.__version__, sys.version, native.processor(), native.processors(),
        [[str(path), stat.st_size, stat.st_mtime_ns] for path in sorted(sources) + libraries for stat in [path.stat()]],
        [[path.name, digest] for path, digest in zip(measured, _content(measured), strict=True)],
    ]  # fmt: skip


def _evict() -> None:
    """Forget what was not used for longest, until the rest keeps to the limit."""
    used = {place: place.stat().st_mtime for place in folder().iterdir() if place.is_dir()}
    total = 0
    for place in sorted(used, key=lambda place: -used[place]):
        total += sum(file.stat().st_size for file in place.iterdir())
        if total > LIMIT:
            shutil.rmtree(place, ignore_errors=True)
