"""The collections that benchmarks run over, and inputs for each of their models."""

from __future__ import annotations

import importlib.util
import itertools
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import numpy as np

Feed = dict[str, "np.ndarray"]
Kind = Literal["zoo", "light", "topologies"]

_SHARED = Path(__file__).resolve().parent.parent.parent / "shared"
_SEED = 7
"""Other inputs than those on which tcc verifies itself."""


@dataclass(frozen=True)
class Entry:
    """One model of a collection. Topologies lie packed and without weights; the others are files."""

    kind: Kind
    name: str

    @property
    def text(self) -> str:
        """How tables and patterns call it: ``zoo:minilm_l6_v2_trim``."""
        return f"{self.kind}:{self.name}"


def folder(kind: Kind) -> Path | None:
    """Where a collection lies; None where it is not here.

    The zoo and the topologies: ``TCC_ZOO`` and ``TCC_TOPOLOGIES``, else beside the source tree. The light models
    are part of onnx.
    """
    if kind == "light":
        found = importlib.util.find_spec("onnx")  # imports nothing: the parent stays small
        assert found is not None
        assert found.origin is not None
        place = Path(found.origin).parent / "backend" / "test" / "data" / "light"
    else:
        place = Path(os.environ.get(f"TCC_{kind.upper()}") or _SHARED / kind)
    return place if place.is_dir() else None


def entries(kinds: Sequence[Kind] = ("zoo", "light", "topologies"), patterns: Sequence[str] = ()) -> list[Entry]:
    """The models of these collections whose names match one of the patterns (parts of names, or globs)."""
    every = [Entry(kind, name) for kind in kinds for name in _names(kind)]
    return [e for e in every if not patterns or any(p in e.text or fnmatch(e.text, p) for p in patterns)]


def entry(text: str) -> Entry:
    """The model that ``Entry.text`` names."""
    kind, _, name = text.partition(":")
    return Entry(kind, name)  # type: ignore[arg-type]


def index() -> dict[str, dict[str, Any]]:
    """What is known of each topology: exporter, nodes, parameters, milliseconds of a run."""
    found: dict[str, dict[str, Any]] = json.loads((_existing("topologies") / "index.json").read_text())
    return found


def _names(kind: Kind) -> list[str]:
    place = folder(kind)
    if place is None:
        return []
    if kind == "light":
        return sorted(path.stem for path in place.glob("*.onnx"))
    if kind == "zoo":
        return sorted(path.parent.name for path in place.glob("*/model.onnx"))
    return sorted(index())


def _existing(kind: Kind) -> Path:
    place = folder(kind)
    if place is None:
        message = f"the collection {kind!r} is not here; set TCC_{kind.upper()} to its folder"
        raise FileNotFoundError(message)
    return place


def file(chosen: Entry, workspace: Path) -> Path:
    """The model as a file; a topology is written, with its weights, into ``workspace``."""
    place = _existing(chosen.kind)
    if chosen.kind == "zoo":
        return place / chosen.name / "model.onnx"
    if chosen.kind == "light":
        return place / f"{chosen.name}.onnx"
    path = workspace / f"{chosen.name}.onnx"
    path.write_bytes(_module("topologies").load(chosen.name).SerializeToString())
    return path


def feeds(chosen: Entry, path: Path, count: int = 2) -> list[Feed]:
    """``count`` sets of inputs: evaluation samples of the zoo, the topologies' own ranges, generated for the rest."""
    import onnx

    if chosen.kind == "zoo":
        samples = zoo_case(chosen.name).evaluation()
        return [feed for feed, _ in itertools.islice(samples, count)]
    model = onnx.load(path)
    if chosen.kind == "topologies":
        return [_module("topologies").feeds(model, seed) for seed in range(count)]
    from tcc.ir.feeds import exercise_feeds

    return exercise_feeds(model, seed=_SEED, count=count)


def zoo_case(name: str) -> Any:
    """The zoo's case: its samples, labels and metric."""
    return _module("zoo").load(name)


def labelled(patterns: Sequence[str] = ()) -> list[str]:
    """The zoo's cases that have a metric, as far as they match one of the patterns; none where the zoo is not here."""
    return [found.name for found in entries(("zoo",), patterns) if zoo_case(found.name).metric is not None]


def _module(kind: Kind) -> ModuleType:
    """The collection's own loader, ``<kind>.py`` in its folder."""
    name = f"tcc_collection_{kind}"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, _existing(kind) / f"{kind}.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module  # dataclasses look their module up
        spec.loader.exec_module(module)
    return sys.modules[name]
