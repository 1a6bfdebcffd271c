"""The other end of a worker: makes one object and calls its methods as they are asked for."""

from __future__ import annotations

import importlib
import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tcc.diagnostics import TccError


@dataclass(frozen=True)
class Reply:
    """What a method hands back: a JSON value, and arrays in order."""

    value: Any = None
    arrays: Sequence[Any] = field(default=())


def main(server: str, folder: str, writing: str) -> None:
    """Serve until the requests end."""
    module, _, name = server.partition(":")
    made: Any = None
    # What native libraries print must not mix with the answers: those have a pipe of their own.
    with os.fdopen(int(writing), "w", encoding="utf-8") as answers:
        for line in sys.stdin:
            try:
                made = made or getattr(importlib.import_module(module), name)()
                answer = _answered(made, json.loads(line), Path(folder))
            except TccError as error:
                answer = {"exit": int(error.exit_code), "diagnostics": [asdict(d) for d in error.diagnostics]}
            except Exception as error:  # noqa: BLE001 - whatever goes wrong is the answer
                answer = {"problem": " ".join(f"{type(error).__name__}: {error}".split())[:2000]}
            answers.write(json.dumps(answer) + "\n")
            answers.flush()
    # What native libraries do while they are unloaded is not of interest any more, and some crash there.
    os._exit(0)


def _answered(made: Any, request: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    from tcc.backends import _arrays

    arguments = dict(request["arguments"])
    if request["arrays"]:
        arguments["feeds"] = _arrays.read(folder / "in.npz")
    reply = getattr(made, request["method"])(**arguments)
    assert isinstance(reply, Reply)
    if reply.arrays:
        _arrays.write(folder / "out.npz", _arrays.named(reply.arrays))
    return {"value": reply.value, "arrays": bool(reply.arrays)}
