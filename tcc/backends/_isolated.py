"""A back end whose library runs in a process of its own."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from tcc.backends._base import DEFAULTS, Artefact, Backend, Loaded, Settings
from tcc.backends._worker import SECONDS, Worker
from tcc.diagnostics import TccError

if TYPE_CHECKING:
    from tcc.ir.model import Model


class Remote:
    """An artefact that is loaded in another process."""

    def __init__(self, worker: Worker, facts: Mapping[str, Any]) -> None:
        self._worker = worker
        self.facts = facts

    @property
    def outputs(self) -> list[str]:
        """The outputs' names, in order; none where the artefact does not tell."""
        return list(self.facts.get("outputs", ()))

    def run(self, feeds: Mapping[str, Any]) -> list[Any]:
        """The outputs in the model's order; raises what ``Worker.call`` raises."""
        return self._worker.call("run", arrays=feeds)[1]

    def measure(self, feeds: Mapping[str, Any], rounds: int) -> list[float]:
        """Seconds of each run, timed in the other process so that the way there is not counted."""
        seconds: list[float] = self._worker.call("measure", arrays=feeds, rounds=rounds)[0]
        return seconds

    def close(self) -> None:
        """End the process."""
        self._worker.close()


@dataclass(frozen=True)
class Isolated(Backend):
    """Lowers, loads and runs through ``server``, an object with the methods of ``Server`` in another process."""

    server: ClassVar[str]
    building_seconds: ClassVar[float] = SECONDS

    def worker(self) -> Worker:
        """A fresh process.

        Raises:
            TccError: E0804 where the back end is not installed.
        """
        self.require_installed()
        return Worker(self.server, self.name)

    def lower(self, model: Model, path: Path, settings: Settings = DEFAULTS) -> Artefact:
        """Build the artefact in another process and put it in its place when it is whole."""
        self.require_installed()
        self.require(model)
        worker = self.worker()
        try:
            with tempfile.TemporaryDirectory(prefix="tcc-lower-") as folder:
                source = model.save(Path(folder) / "model.onnx")[0]
                made = Path(folder) / "made"
                made.mkdir()
                value, _ = worker.call(
                    "lower", seconds=self.building_seconds, source=str(source), output=str(made / path.name),
                    settings=plain_settings(settings),
                )  # fmt: skip
                files = [made / name for name in value["files"]]
                return Artefact(_placed(files, path), value["facts"])
        finally:
            worker.close()

    def load(self, path: Path, *, threads: int = 1) -> Loaded:
        """Load the artefact in another process, which lives as long as what is handed back."""
        worker = self.worker()
        try:
            value, _ = worker.call("load", path=str(path), threads=threads)
        except TccError:
            worker.close()
            raise
        return Remote(worker, value)

    def measure(self, loaded: Loaded, feeds: Mapping[str, Any], rounds: int = 10) -> list[float]:
        """Seconds of each run, as the other process measures them."""
        assert isinstance(loaded, Remote)
        return loaded.measure(feeds, rounds)


def plain_settings(settings: Settings) -> dict[str, Any]:
    """The settings as JSON values; of the target, what back ends ask for."""
    target = settings.target
    return {
        "target": None if target is None else {"name": target.name, "kind": target.kind, "processor": target.processor},
        "symbols": dict(settings.symbols),
        "threads": settings.threads,
        "memory": settings.memory,
        "options": dict(settings.options),
    }


def _placed(files: Sequence[Path], path: Path) -> tuple[Path, ...]:
    """Copy what was made to its place, the main file last."""
    from tcc.ir import saving

    places = tuple(path.with_name(file.name) for file in files)
    for file, place in reversed(list(zip(files, places, strict=True))):
        with saving.replacing(place) as stream, file.open("rb") as made:
            shutil.copyfileobj(made, stream)
    return places
