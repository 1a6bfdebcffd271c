"""Keeps what is needed to see a pass fail again: the model without its weights, and the command."""

from __future__ import annotations

import shlex
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import onnx

from tcc.diagnostics import Exit, TccError, fail

if TYPE_CHECKING:
    from tcc.passes._snapshot import Snapshot

_ZEROS = "weights.zeros"


@contextmanager
def kept(snapshots: Sequence[Snapshot], text: str, target: str) -> Iterator[None]:
    """Write a reproducer where the block raises an error of the compiler, and say in the error where it lies.

    Args:
        snapshots: the last one is the model that goes in.
        text: the pass that runs.
        target: the target's spelling.
    """
    try:
        yield
    except TccError as error:
        if error.exit_code != Exit.VERIFICATION:
            raise
        first, *others = error.diagnostics
        noted = replace(first, notes=(*first.notes, _note(snapshots[-1], text, target)))
        raise TccError(error.exit_code, [noted, *others]) from error
    except MemoryError as error:
        raise fail(
            Exit.LIMIT, "E0901", f"out of memory in pass {text}", help="use a machine with more memory"
        ) from error
    except Exception as error:
        error.add_note(f"in pass {text}")
        error.add_note(_note(snapshots[-1], text, target))
        raise


def _note(model: Snapshot, text: str, target: str) -> str:
    try:
        command = write(model, text, target)
    except OSError as error:
        return f"what reproduces this could not be written: {error}"
    return f"to reproduce it (all large weights are zeros): {command}"


def write(model: Snapshot, text: str, target: str, folder: Path | None = None) -> str:
    """Write the model without weights, and a script that runs the pass on it.

    The large weights are external data that all share one sparse file of zeros, so that the model loads and is small.

    Args:
        model: the input of the pass.
        text: the pass.
        target: the target's spelling.
        folder: where to; a new one among the temporary files where not given.

    Returns:
        The command that replays it.
    """
    folder = folder or Path(tempfile.mkdtemp(prefix="tcc-crash-"))
    proto = onnx.ModelProto()
    proto.CopyFrom(model.proto)
    for tensor in proto.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = _ZEROS
    with (folder / _ZEROS).open("wb") as zeros:
        zeros.truncate(max((array.nbytes for array in model.weights.values()), default=0))
    path = folder / "model.onnx"
    path.write_bytes(proto.SerializeToString(deterministic=True))
    (folder / "pipeline.txt").write_text(f"{text}\n", encoding="utf-8")
    command = shlex.join(["tcc", str(path), f"--passes={text}", f"--target={target}", "--dry-run", "-vv"])
    (folder / "replay.sh").write_text(f"{command}\n", encoding="utf-8")
    return command
