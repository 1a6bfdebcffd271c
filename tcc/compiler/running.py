"""Runs an artefact on data of the user's, with the back end that it is for or the next one of that one's chain."""

from __future__ import annotations

import statistics
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tcc import backends
from tcc.backends import Backend
from tcc.compiler import warnings
from tcc.compiler.data import load
from tcc.compiler.placing import require_writable
from tcc.diagnostics import Diagnostic, Exit, TccError, fail


@dataclass(frozen=True)
class Done:
    """What a run gave; ``seconds`` is the median of ``rounds`` timed runs, None where none was asked for."""

    backend: Backend
    outputs: Mapping[str, Any]
    seconds: float | None
    rounds: int
    output: Path | None
    diagnostics: tuple[Diagnostic, ...]

    def entry(self) -> dict[str, Any]:
        """As plain values."""
        return {
            "backend": self.backend.name,
            "outputs": {name: _described(value) for name, value in self.outputs.items()},
            "seconds": self.seconds,
            "rounds": self.rounds,
            "output": None if self.output is None else str(self.output),
        }


def run(
    artefact: Path,
    data: Path,
    output: Path | None = None,
    *,
    backend: str | None = None,
    threads: int = 1,
    rounds: int = 0,
    errors: Collection[str] = (),
) -> Done:
    """Run ``artefact`` on the arrays of ``data`` and write the outputs, by name, to ``output``.

    Where the back end cannot be had here and another of its chain runs the same file, that one does, with a warning
    (``fallback``), which ``errors`` may make an error.

    Raises:
        TccError: exit USAGE for files that are not there or whose suffix says nothing, exit DATA for data that does
            not fit, exit BACKEND where nothing runs it.
    """
    if not artefact.is_file():
        raise fail(Exit.USAGE, "E0234", "there is no such file", where=str(artefact), help="compile one with --emit")
    if output is not None:
        require_writable(output, [artefact, data])
    feeds = _feeds(data)
    first = backends.of_file(artefact) if backend is None else backends.backend(backend)
    said: list[Diagnostic] = []
    for chosen in backends.fallbacks(first.name):
        if chosen.suffix != first.suffix:
            continue
        try:
            return _on(chosen, artefact, feeds, output, threads=threads, rounds=rounds, said=said)
        except TccError as error:
            following = [b for b in backends.fallbacks(chosen.name) if b is not chosen and b.suffix == first.suffix]
            if error.exit_code != Exit.BACKEND or not following:
                raise
            message = f"{chosen.name} is given up, {following[0].name} is next: {error.diagnostics[0].message}"
            said.append(Diagnostic("W0802", message, str(artefact), help=error.diagnostics[0].help))
            warnings.raise_errors(said, errors)
    raise AssertionError("every chain has a first member")


def _on(
    chosen: Backend, artefact: Path, feeds: Mapping[str, Any], output: Path | None,
    *, threads: int, rounds: int, said: Sequence[Diagnostic],
) -> Done:  # fmt: skip
    chosen.require_installed()
    loaded = chosen.load(artefact, threads=threads)
    values = loaded.run(feeds)
    names = getattr(loaded, "outputs", None) or [f"output{index}" for index in range(len(values))]
    outputs = dict(zip(names, values, strict=True))
    seconds = statistics.median(chosen.measure(loaded, feeds, rounds)) if rounds else None
    if output is not None:
        _write(output, outputs)
    return Done(chosen, outputs, seconds, rounds, output, tuple(said))


def _feeds(data: Path) -> dict[str, Any]:
    loaded = load(data)
    if not isinstance(loaded, dict):
        raise fail(Exit.DATA, "E0606", "it is a single array", where=str(data),
                   help="give an .npz with one array an input, as numpy.savez writes it")  # fmt: skip
    return loaded


def _write(output: Path, outputs: Mapping[str, Any]) -> None:
    from tcc.ir import saving

    plain = {name: np.asarray(value) for name, value in outputs.items() if value is not None}
    with saving.replacing(output) as stream:
        np.savez(stream, allow_pickle=False, **plain)


def _described(value: Any) -> dict[str, Any]:
    """The type, the shape and the range of a value."""
    if not isinstance(value, np.ndarray):
        return {"dtype": type(value).__name__, "shape": [], "range": ""}
    shown = ""
    if value.size and value.dtype.kind in "biufV":
        wide = value.astype(np.float64)
        shown = f"{float(np.nanmin(wide)):.6g} to {float(np.nanmax(wide)):.6g}"
    return {"dtype": value.dtype.name, "shape": list(value.shape), "range": shown}
