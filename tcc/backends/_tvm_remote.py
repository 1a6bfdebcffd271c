"""Other machines' processors through TVM's RPC: a tracker hands out the boards that have announced themselves there."""

from __future__ import annotations

import contextlib
import os
import socket
from pathlib import Path
from typing import Any

from tcc.diagnostics import Exit, fail

# An extra: whoever calls has checked that it is there.
with contextlib.suppress(ModuleNotFoundError):
    from tvm import rpc

TRACKER = "TVM_TRACKER_HOST"
"""The variable of TVM's own tools that names the tracker; beside it TVM_TRACKER_PORT and TVM_TRACKER_KEY."""
_PORT, _ANSWERING, _WAITING = 9190, 5.0, 60
"""TVM's own default; seconds within which a tracker answers, and for which a session may keep a board."""


def is_asked_for() -> bool:
    """Whether libraries are to run on a tracker's board."""
    return bool(os.environ.get(TRACKER))


def loaded(path: str) -> tuple[Any, Any]:
    """A library on a board that the tracker gives for TVM_TRACKER_KEY, and the board's device.

    Raises:
        TccError: E0835 where the tracker is not there or has no such board.
    """
    host, key = os.environ[TRACKER], os.environ.get("TVM_TRACKER_KEY", "")
    port = os.environ.get("TVM_TRACKER_PORT", str(_PORT))
    try:
        with socket.create_connection((host, int(port)), _ANSWERING):
            pass  # TVM itself would try for a minute
        tracker = rpc.connect_tracker(host, int(port))
        if not tracker.summary()["queue_info"].get(key):
            raise LookupError("no board has announced itself under this key")  # noqa: TRY301 - one message for all
        board = tracker.request(key, session_timeout=_WAITING)
        board.upload(path)
        return board.load_module(Path(path).name), board.cpu(0)
    except Exception as error:
        reason = " ".join(str(error).split())[-200:]
        raise fail(
            Exit.BACKEND, "E0835", f"no board {key!r} from the tracker {host}:{port}: {reason}",
            help=f"start tvm.exec.rpc_server there, or unset {TRACKER} to run on this machine",
        ) from error  # fmt: skip
