"""TVM's RPC: libraries run and are measured on the board that a tracker on the loopback hands out."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from tcc import backends, frontends
from tcc.backends import Loaded, Settings
from tcc.compiler import fixing
from tcc.diagnostics import Exit, TccError

pytestmark = pytest.mark.skipif(
    backends.backend("tvm").absence() is not None or shutil.which("g++") is None,
    reason="apache-tvm (extra: tvm) or g++ is not installed",
)
_SECONDS = 60


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def serving(module: str, *arguments: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", f"tvm.exec.{module}", *arguments]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)


def wait_for(port: int) -> None:
    """Until somebody listens."""
    until = time.monotonic() + _SECONDS
    while time.monotonic() < until:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return
        time.sleep(0.2)


def loaded_by_then(made: Path) -> Loaded:
    """What the back end loads once the board has announced itself."""
    until = time.monotonic() + _SECONDS
    while True:
        try:
            return backends.backend("tvm").load(made)
        except TccError as error:
            if time.monotonic() > until or "no board has announced itself" not in str(error):
                raise
            time.sleep(0.5)


def ended(process: subprocess.Popen[bytes]) -> None:
    import psutil

    for each in [*psutil.Process(process.pid).children(recursive=True), process]:
        each.kill()
    process.wait()


@pytest.fixture
def tracker(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A tracker with one board, ``board``, which runs here."""
    port, board = free_port(), free_port()
    started = [serving("rpc_tracker", "--host", "127.0.0.1", "--port", str(port), "--port-end", str(port + 1))]
    try:
        wait_for(port)
        started.append(serving(
            "rpc_server", "--host", "127.0.0.1", "--port", str(board), "--port-end", str(board + 1),
            "--tracker", f"127.0.0.1:{port}", "--key", "board",
        ))  # fmt: skip
        monkeypatch.setenv("TVM_TRACKER_HOST", "127.0.0.1")
        monkeypatch.setenv("TVM_TRACKER_PORT", str(port))
        monkeypatch.setenv("TVM_TRACKER_KEY", "board")
        yield port
    finally:
        for process in reversed(started):
            ended(process)


def test_libraries_run_on_a_trackers_board(
    tracker: int, digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    del tracker
    chosen, source = backends.backend("tvm"), digits / "digits.onnx"
    made = tmp_path / "d.so"
    monkeypatch.delenv("TVM_TRACKER_HOST")
    fixed = frontends.load(source)
    image = np.load(digits / "digits_calib.npz")["image"][:1]
    model, feeds, _ = fixing.fixed(fixed, Settings(), [{"image": image}])
    chosen.lower(model, made)
    monkeypatch.setenv("TVM_TRACKER_HOST", "127.0.0.1")
    loaded = loaded_by_then(made)
    (found,) = loaded.run(feeds[0])
    (expected,) = onnxruntime.InferenceSession(source).run(None, {"image": image})
    assert np.abs(found - expected).max() <= 1e-5 * np.abs(expected).max()
    seconds = chosen.measure(loaded, feeds[0], 4)
    assert len(seconds) == 4
    assert all(0 < taken < 1 for taken in seconds)
    monkeypatch.setenv("TVM_TRACKER_KEY", "another")
    with pytest.raises(TccError, match="E0835 no board 'another'") as caught:
        chosen.load(made)
    assert caught.value.exit_code is Exit.BACKEND


def test_a_tracker_that_is_not_there_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "m.so").write_bytes(b"")
    (tmp_path / "m.so.json").write_text('{"inputs": [], "outputs": []}')
    monkeypatch.setenv("TVM_TRACKER_HOST", "127.0.0.1")
    monkeypatch.setenv("TVM_TRACKER_PORT", str(free_port()))
    with pytest.raises(TccError, match="E0835"):
        backends.backend("tvm").load(tmp_path / "m.so")
