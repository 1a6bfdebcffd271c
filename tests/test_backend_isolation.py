"""Native code that crashes, hangs or complains in its own process is an error message, and falls back loudly."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import ml_dtypes
import numpy as np
import onnx
import pytest

import tcc
from tcc import backends
from tcc.backends import _arrays
from tcc.backends._isolated import Isolated
from tcc.backends._worker import Worker
from tcc.compiler import running
from tcc.diagnostics import Exit, TccError
from tests.bad_input.cases import model, node, write


@pytest.fixture(name="worker")
def obedient() -> Iterator[Worker]:
    made = Worker("tests.backend_support.servers:Obedient", "mock")
    yield made
    made.close()


@pytest.fixture
def relu(tmp_path: Path) -> Path:
    return write(tmp_path, model([node("Relu", "x", "h", "first"), node("Neg", "h", "y", "last")]), "relu.onnx")


def failure(worker: Worker, method: str, **arguments: Any) -> TccError:
    with pytest.raises(TccError) as caught:
        worker.call(method, **arguments)
    return caught.value


def test_values_come_back_as_they_went(worker: Worker) -> None:
    given: dict[str, Any] = {
        "x": np.arange(6, dtype=np.float32).reshape(2, 3).T,
        "scalar": np.array(-3, np.int64),
        "empty": np.zeros((0, 4), np.float16),
        "brain": np.array([1.5, -2], ml_dtypes.bfloat16),
        "list": [np.array([True, False]), np.array([[7]], np.uint8)],
    }
    names, values = worker.call("echo", arrays=given)
    assert names == list(given)
    for name, value in zip(names, values, strict=True):
        for a, b in zip(given[name], value, strict=True) if name == "list" else [(given[name], value)]:
            assert (a.dtype, a.shape) == (b.dtype, b.shape)
            assert a.tobytes() == b.tobytes()


def test_what_no_array_holds_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TccError, match="E0808") as caught:
        _arrays.write(tmp_path / "a.npz", {"x": np.array(["text"], object)})
    assert caught.value.exit_code is Exit.BACKEND


def test_a_segmentation_fault_is_an_error_message(worker: Worker) -> None:
    error = failure(worker, "segfault")
    (said,) = error.diagnostics
    assert (error.exit_code, said.code) == (Exit.BACKEND, "E0805")
    assert "SIGSEGV" in said.message
    assert said.notes == ("about to read address 0",)
    assert failure(worker, "echo", arrays={}).diagnostics[0].code == "E0805"  # and it stays dead


def test_a_process_that_leaves_is_an_error_message(worker: Worker) -> None:
    assert "ended with 3" in failure(worker, "leave", code=3).diagnostics[0].message


def test_errors_of_the_other_process_arrive_whole(worker: Worker) -> None:
    error = failure(worker, "complain")
    assert error.exit_code is Exit.UNSUPPORTED
    assert error.diagnostics[0].text().splitlines() == [
        "m.onnx:n [Op]: error: E0412 no such operator", "  note: a note", "  help: help",
    ]  # fmt: skip
    other = failure(worker, "fail").diagnostics[0]
    assert (other.code, other.message) == ("E0807", "mock failed to fail: ValueError: two lines")
    assert worker.call("chatter")[0] == "the answer"  # it lives on


def test_what_takes_too_long_is_ended(worker: Worker) -> None:
    assert failure(worker, "sleep", seconds=0.5).diagnostics[0].code == "E0806"
    with pytest.raises(ProcessLookupError):
        os.kill(worker._process.pid, 0)


def test_the_process_is_fresh(worker: Worker) -> None:
    loaded = set(worker.call("modules")[0])
    assert "tests.backend_support.servers" in loaded
    assert not loaded & {"onnxruntime", "egglog", "pytest"}


def test_closing_leaves_no_file(worker: Worker) -> None:
    worker.call("echo", arrays={"x": np.zeros(3)})
    assert worker._folder.is_dir()
    worker.close()
    assert not worker._folder.exists()


@dataclass(frozen=True)
class Mock(Isolated):
    """A back end in another process, which does what its server does."""

    server: ClassVar[str] = "tests.backend_support.servers:Crashing"
    name: ClassVar[str] = "mock"
    domains: ClassVar[frozenset[str]] = frozenset({""})
    dtypes: ClassVar[frozenset[str]] = frozenset({"float32", "int64"})
    opset: ClassVar[int] = 30
    ir_version: ClassVar[int] = 30
    emits: ClassVar[str] = "mock"
    suffix: ClassVar[str] = ".mock"
    fallback: ClassVar[str | None] = "onnxruntime"


@dataclass(frozen=True)
class WrongMock(Mock):
    """Computes zeros."""

    server: ClassVar[str] = "tests.backend_support.servers:Wrong"


@dataclass(frozen=True)
class AbsentMock(Mock):
    """Needs what nobody has."""

    modules: ClassVar[tuple[str, ...]] = ("no_such_module",)
    extra: ClassVar[str] = "mock"


def plugged(monkeypatch: pytest.MonkeyPatch, chosen: Isolated) -> None:
    """Make the back end one of those that are found."""
    known, names = backends.backend, backends.names()
    monkeypatch.setattr(backends, "backend", lambda name: chosen if name == "mock" else known(name))
    monkeypatch.setattr(backends, "names", lambda: [*names, "mock"])


@pytest.mark.parametrize(("chosen", "reason"), [(Mock(), "SIGSEGV"), (WrongMock(), "E0812")], ids=["crash", "wrong"])
def test_emitting_falls_back_loudly(
    chosen: Isolated, reason: str, relu: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    plugged(monkeypatch, chosen)
    result = tcc.compile(relu, 2, emit="mock", output=tmp_path / "out.mock")
    assert [file.name for file in result.files] == ["out.onnx"]
    assert onnx.load(result.files[0]).graph.node
    (warning,) = [d for d in result.diagnostics if d.code == "W0802"]
    assert reason in warning.message
    assert result.report["artefact"]["backend"] == "onnxruntime"
    with pytest.raises(TccError) as caught:
        tcc.compile(relu, 2, emit="mock", output=tmp_path / "two.mock", warnings_as_errors=["fallback"])
    assert caught.value.exit_code is Exit.BACKEND
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.onnx", "relu.onnx"]


def test_an_absent_back_end_is_one_line_that_names_the_extra(
    relu: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    plugged(monkeypatch, AbsentMock())
    with pytest.raises(TccError) as caught:
        tcc.compile(relu, 2, emit="mock", output=tmp_path / "out.mock")
    (said,) = caught.value.diagnostics
    assert (caught.value.exit_code, said.code) == (Exit.BACKEND, "E0804")
    assert said.text().splitlines() == [
        "tcc: error: E0804 back end mock needs no_such_module, which is not installed",
        "  help: pip install 'tensorcompress[mock]'",
    ]
    assert [path.name for path in tmp_path.iterdir()] == ["relu.onnx"]


def test_an_artefact_that_crashes_when_it_is_loaded_is_an_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    plugged(monkeypatch, Mock())
    artefact, data = tmp_path / "m.mock", tmp_path / "x.npz"
    artefact.write_bytes(b"")
    np.savez(data, x=np.zeros(3, np.float32))
    with pytest.raises(TccError, match=r"E0805.*SIGSEGV") as caught:
        running.run(artefact, data)
    assert caught.value.exit_code is Exit.BACKEND
