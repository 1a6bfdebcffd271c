"""What passes have made, kept by content: a compilation that was stopped goes on where it was."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import onnx_ir

from tcc.ir import digests
from tcc.ir.model import Model
from tcc.passes.base import Context, Pass, PassResult, Stop

if TYPE_CHECKING:
    from tcc.passes._snapshot import Snapshot

_VERSIONS = ("tensorcompress", "onnx", "onnxruntime", "onnx-ir", "egglog", "highspy", "numpy")
"""Libraries that results depend on."""
_MODEL, _RECORD = "model.onnx", "record.json"


@dataclass
class Stages:
    """A folder with one subfolder for each stage, named by the digest of everything that its result depends on.

    A stage is written beside its place and renamed: what a killed process leaves is never taken for a result.
    """

    folder: Path

    def key(self, before: Snapshot, text: str, context: Context) -> str:
        """The digest of a pass, its input and its context."""
        digest = hashlib.sha256()
        _feed_snapshot(digest, before)
        parts = [
            text, repr(context.target), sorted(context.symbols.items()), context.max_loss, context.max_bytes,
            context.seconds, "" if context.judge is None else context.judge.key,
            [(name, _version(name)) for name in _VERSIONS],
        ]  # fmt: skip
        digest.update(repr(parts).encode())
        for feeds in (context.calibration, context.feeds):
            digest.update(b"none" if feeds is None else b"feeds")
            digests.add_arrays(digest, feeds or ())
        return digest.hexdigest()

    def find(self, key: str, source: str, files: tuple[Path, ...]) -> PassResult | None:
        """The result of a stage, None where there is none; ``source`` and ``files`` are the model's it came from."""
        folder = self.folder / key
        try:
            record = json.loads((folder / _RECORD).read_text())
        except (OSError, ValueError):
            return None
        model = Model(onnx_ir.load(folder / _MODEL), source, files=files)
        return PassResult(model, record["changed"], record["facts"], frozenset(map(Stop, record.get("stops", ()))))

    def keep(self, key: str, result: PassResult, step: Pass) -> None:
        """Write a stage; a full disk only costs the time that it would have saved."""
        made = self.folder / f".{key}.{os.getpid()}"
        try:
            made.mkdir(parents=True, exist_ok=True)
            result.model.clone().save(made / _MODEL)
            stops = sorted(stop.value for stop in result.stops)
            record = {"pass": step.name, "changed": result.changed, "facts": result.facts, "stops": stops}
            (made / _RECORD).write_text(json.dumps(record, default=_jsonable))
            made.rename(self.folder / key)
        except OSError:
            shutil.rmtree(made, ignore_errors=True)

    def clear(self) -> None:
        """Remove all stages."""
        shutil.rmtree(self.folder, ignore_errors=True)


def _feed_snapshot(digest: hashlib._Hash, before: Snapshot) -> None:
    digest.update(before.proto.SerializeToString(deterministic=True))
    digests.add_arrays(digest, [before.weights])


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


def _jsonable(value: Any) -> Any:
    """Scalars of numpy as Python's; anything else has no place in facts."""
    if hasattr(value, "item"):
        return value.item()
    message = f"a fact is a {type(value).__name__}"
    raise TypeError(message)
