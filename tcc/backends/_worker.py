"""Runs native code that may crash in a fresh interpreter: a segmentation fault becomes an error message."""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tcc.diagnostics import Diagnostic, Exit, TccError, fail

SECONDS = 1800.0
"""How long one call may take where the caller does not say."""
_SERVE = "import sys; from tcc.backends._serve import main; main(*sys.argv[1:])"
_ROOT = Path(__file__).resolve().parent.parent.parent


class Worker:
    """One object in a process of its own: ``module:Class`` is made there, and its methods are called.

    A call's arguments and result are JSON values, and arrays by name or in order (see ``_arrays``). Never a fork: a
    process that has started ONNX Runtime's threads deadlocks in its child. The process ends with ``close``, or
    when this object is collected.

    Args:
        server: what is made in the process, ``module:Class``.
        name: the back end, for messages.
        environment: variables that the process gets besides this one's.
    """

    def __init__(self, server: str, name: str, environment: Mapping[str, str] | None = None) -> None:
        self._name = name
        self._folder = Path(tempfile.mkdtemp(prefix="tcc-worker-"))
        self._complaints = (self._folder / "stderr").open("w+b")
        reading, writing = os.pipe()
        path = os.pathsep.join(filter(None, [str(_ROOT), os.environ.get("PYTHONPATH", "")]))
        self._process = subprocess.Popen(  # noqa: S603 - this interpreter and this package's own module
            # -P: what lies in the working folder must not shadow a library's modules.
            [sys.executable, "-P", "-c", _SERVE, server, str(self._folder), str(writing)],
            stdin=subprocess.PIPE, stdout=self._complaints, stderr=self._complaints, pass_fds=[writing],
            env={**os.environ, "PYTHONPATH": path, **(environment or {})},
        )  # fmt: skip
        os.close(writing)
        self._answers = os.fdopen(reading, "rb", buffering=0)
        self._end = weakref.finalize(self, _end, self._process, self._answers, self._complaints, self._folder)

    def call(
        self, method: str, *, arrays: Mapping[str, Any] | None = None, seconds: float = SECONDS, **arguments: Any
    ) -> tuple[Any, list[Any]]:
        """The method's JSON result and its arrays.

        Raises:
            TccError: what the method raises; E0805 where the process dies, E0806 where it takes longer than
                ``seconds``, E0807 for any other exception in it; exit BACKEND. After the first two the worker is gone.
        """
        if self._process.poll() is not None:
            raise self._died(method)
        if arrays is not None:
            from tcc.backends import _arrays

            _arrays.write(self._folder / "in.npz", arrays)
        request = json.dumps({"method": method, "arrays": arrays is not None, "arguments": arguments})
        try:
            assert self._process.stdin is not None
            self._process.stdin.write(request.encode() + b"\n")
            self._process.stdin.flush()
        except OSError as error:
            raise self._died(method) from error
        return self._result(method, self._answer(method, seconds))

    def close(self) -> None:
        """End the process and remove what it left."""
        self._end()

    def _answer(self, method: str, seconds: float) -> bytes:
        deadline = time.monotonic() + seconds
        answer = b""
        while not answer.endswith(b"\n"):
            ready, _, _ = select.select([self._answers], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                self.close()
                raise fail(Exit.BACKEND, "E0806", f"{self._name} took more than {seconds:g} s to {method}",
                           help="give it a smaller model, or another back end")  # fmt: skip
            part = self._answers.read(65536)
            if not part:
                raise self._died(method)
            answer += part
        return answer

    def _result(self, method: str, answer: bytes) -> tuple[Any, list[Any]]:
        from tcc.backends import _arrays

        found = json.loads(answer)
        if found.get("diagnostics"):
            said = [Diagnostic(**{**d, "notes": tuple(d["notes"])}) for d in found["diagnostics"]]
            raise TccError(Exit(found["exit"]), said)
        if "problem" in found:
            raise fail(Exit.BACKEND, "E0807", f"{self._name} failed to {method}: {found['problem']}")
        arrays = list(_arrays.read(self._folder / "out.npz").values()) if found["arrays"] else []
        return found["value"], arrays

    def _died(self, method: str) -> TccError:
        code = self._process.wait()
        how = f"crashed with {signal.Signals(-code).name}" if code < 0 else f"ended with {code}"
        self._complaints.flush()
        lines = Path(self._complaints.name).read_text(errors="replace").strip().splitlines() if self._end.alive else []
        return fail(Exit.BACKEND, "E0805", f"the native code of {self._name} {how} when asked to {method}",
                    notes=[line.strip()[:300] for line in lines[-1:]],
                    help="tcc itself is unharmed; use another back end")  # fmt: skip


def _end(process: subprocess.Popen[bytes], answers: Any, complaints: Any, folder: Path) -> None:
    if process.stdin is not None:
        # What could not be written to a process that is gone does not matter any more.
        with contextlib.suppress(OSError):
            process.stdin.close()
    process.kill()
    process.wait()
    answers.close()
    complaints.close()
    shutil.rmtree(folder, ignore_errors=True)
