"""TensorRT: device scripts everywhere; engines where tensorrt-rtx is installed, built ahead of time for another GPU."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

import tcc
from tcc import backends, frontends
from tcc.backends import Settings, _tensorrt_build
from tcc.backends.tensorrt import profile
from tcc.cli import main
from tcc.diagnostics import Exit, TccError
from tcc.targets import parse_target
from tests.bad_input.cases import model, node, write

needs_rtx = pytest.mark.skipif(
    backends.backend("tensorrt-rtx").absence() is not None, reason="tensorrt-rtx (extra: tensorrt) is not installed"
)
TRTEXEC = """#!/bin/sh
for argument in "$@"; do echo "$argument" >> "{log}"; done
"""


def scripts(source: Path, output: Path, *options: str) -> tuple[Path, Path]:
    assert main([str(source), "-o", str(output), "--emit=device-script", "--no-measure", "-q", *options]) == 0
    return output.with_name(f"{output.stem}.build.sh"), output.with_name(f"{output.stem}.build.py")


def executed(script: Path, tmp_path: Path, *arguments: str) -> tuple[int, list[str]]:
    """Run the shell script with a trtexec that writes down what it is called with."""
    log, fake = tmp_path / "called", tmp_path / "trtexec"
    log.unlink(missing_ok=True)
    fake.write_text(TRTEXEC.format(log=log))
    fake.chmod(0o755)
    done = subprocess.run([script, *arguments], env={"TRTEXEC": str(fake), "PATH": "/usr/bin:/bin"}, check=False)
    return done.returncode, log.read_text().splitlines() if log.exists() else []


def test_the_shell_script_calls_trtexec_on_the_file_that_was_written(digits: Path, tmp_path: Path) -> None:
    folder = tmp_path / "with space"
    folder.mkdir()
    shell, _ = scripts(digits / "digits.onnx", folder / "d.onnx", "--target=jetson", "--dim", "batch=16")
    code, arguments = executed(shell, tmp_path, "--verbose")
    assert code == 0
    assert {"--onnx=d.onnx", "--saveEngine=d.engine", "--stronglyTyped", "--skipInference", "--verbose"} <= set(
        arguments
    )
    assert "--timingCacheFile=d.timing.cache" in arguments
    (pool,) = [a for a in arguments if a.startswith("--memPoolSize=workspace:")]
    assert int(pool.rpartition(":")[2]) == 8_000_000_000 // 4 >> 20
    (folder / "d.onnx").write_bytes(b"another")
    assert executed(shell, tmp_path)[0] != 0


def test_older_stacks_get_flags_in_place_of_strong_types(tmp_path: Path) -> None:
    nodes = [node("Cast", "x", "h", to=onnx.TensorProto.FLOAT16), node("Exp", "h", "e"), node("Relu", "e", "r")]
    source = write(tmp_path, model([*nodes, node("Cast", "r", "y", to=onnx.TensorProto.FLOAT)], opset=17))
    shell, _ = scripts(source, tmp_path / "o.onnx", "--target=jetson@jp6.0", "-O0")
    arguments = executed(shell, tmp_path)[1]
    assert "--fp16" in arguments
    assert "--stronglyTyped" not in arguments


def test_the_python_script_is_tcc_s_builder_and_knows_its_file(digits: Path, tmp_path: Path) -> None:
    _, script = scripts(digits / "digits.onnx", tmp_path / "d.onnx", "--target=jetson")
    text = script.read_text()
    compile(text, script, "exec")
    assert Path(_tensorrt_build.__file__).read_text() in text
    line = next(line for line in text.splitlines() if line.startswith("CONFIG = "))
    config = json.loads(json.loads(line.removeprefix("CONFIG = ")))
    assert config["sha256"] == hashlib.sha256((tmp_path / "d.onnx").read_bytes()).hexdigest()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["d.build.py", "d.build.sh", "d.onnx"]
    done = subprocess.run([sys.executable, "-I", script], capture_output=True, text=True, check=False)
    if backends.backend("tensorrt").absence() is not None:
        assert done.returncode != 0
        assert "TensorRT's Python module is missing" in done.stderr


def test_no_script_without_being_asked_and_none_for_a_processor(digits: Path, tmp_path: Path) -> None:
    tcc.compile(digits / "digits.onnx", 2, "jetson", output=tmp_path / "plain.onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["plain.onnx"]
    result = tcc.compile(digits / "digits.onnx", 2, "rpi5", emit="device-script", output=tmp_path / "cpu.onnx")
    assert [file.name for file in result.files] == ["cpu.onnx"]
    assert any(d.code == "W0802" and "E0824" in d.message for d in result.diagnostics)


def test_the_report_has_the_layer_table_and_the_versions(digits: Path) -> None:
    report = tcc.compile(digits / "digits.onnx", 3, "jetson").report
    convolutions = [layer for layer in report["placement"] if layer["operator"] == "Conv"]
    assert len(convolutions) == 4
    assert {layer["where"] for layer in convolutions} == {"tensorrt"}
    assert report["versions"]["max_opset"] == 20
    assert report["versions"]["opset"] <= 20


def test_profiles_come_from_symbols_else_from_what_ran(tmp_path: Path) -> None:
    made = model([node("Relu", "x", "y")])
    for value in (*made.graph.input, *made.graph.output):
        value.type.CopyFrom(helper.make_tensor_type_proto(onnx.TensorProto.FLOAT, ["batch", 3, "width", 7]))
    loaded = frontends.load(write(tmp_path, made))
    shapes, notes = profile(loaded, Settings(options={"shapes": {"x": [2, 3, 5, 7]}}))
    assert shapes == {"x": [[1, 3, 1, 7], [2, 3, 5, 7], [8, 3, 5, 7]]}
    assert "batch" in notes[0].message
    assert "width" in notes[0].message
    shapes, notes = profile(loaded, Settings(symbols={"batch": 32, "width": 224}))
    assert shapes == {"x": [[1, 3, 1, 7], [32, 3, 224, 7], [32, 3, 224, 7]]}
    assert not notes


def test_engines_for_what_has_no_gpu_are_refused() -> None:
    chosen: Any = backends.backend("tensorrt-rtx")
    with pytest.raises(TccError, match="E0821 rpi5 has no NVIDIA GPU") as caught:
        chosen._build_options(Settings(parse_target("rpi5")))
    assert caught.value.exit_code is Exit.UNSUPPORTED


def test_messages_of_the_builder_name_the_node() -> None:
    for message in (
        "IBuilder::build: Error Code 10: no implementation for node [ONNX Layer: /layer/Conv_3] + Relu",
        "Could not find any implementation for node of name '/layer/Conv_3'",
    ):
        assert _tensorrt_build._named(message) == "/layer/Conv_3"


def test_errors_of_the_parser_become_problems() -> None:
    old = SimpleNamespace(desc=lambda: "two\nlines", code=lambda: "ErrorCode.UNSUPPORTED_NODE")
    assert _tensorrt_build._refused(old) == {
        "message": "two lines", "node": "", "operator": "", "kind": "UNSUPPORTED_NODE",
    }  # fmt: skip


@needs_rtx
def test_engines_are_built_ahead_of_time_and_called_unchecked(digits: Path, tmp_path: Path) -> None:
    result = tcc.compile(digits / "digits.onnx", 2, "l4", emit="engine", output=tmp_path / "d.engine")
    assert [file.name for file in result.files] == ["d.engine"]
    artefact = result.report["artefact"]
    assert (artefact["backend"], artefact["capabilities"]) == ("tensorrt-rtx", ["SM89"])
    assert artefact["profile"]["image"][1][1:] == artefact["profile"]["image"][2][1:]
    assert artefact["parity"].startswith("unchecked: there is no NVIDIA GPU") or "equal" in artefact["parity"]


@needs_rtx
def test_all_that_is_refused_is_told_with_its_node_and_falls_back(tmp_path: Path) -> None:
    nodes = [node("BitwiseNot", "x", "a", "first"), node("BitwiseNot", "a", "b", "flip"), node("Neg", "b", "y")]
    source = write(tmp_path, model(nodes, integers=["x", "y"], opset=18))
    result = tcc.compile(source, 0, "l4", emit="engine", output=tmp_path / "m.engine")
    found = [d for d in result.diagnostics if d.code == "W0802" and "tensorrt-rtx" in d.message]
    assert all("E0820" in warning.message and warning.help for warning in found)
    assert [warning.where for warning in found] == [f"{source}:{name} [BitwiseNot]" for name in ("first", "flip")]
    assert [file.name for file in result.files] == ["m.onnx"]


@needs_rtx
def test_quantised_models_build(tmp_path: Path) -> None:
    """Q/DQ around a convolution, as the target's recipe asks: signed, zero points 0, the bias in floating point."""
    draw = np.random.default_rng(0)
    weight = draw.integers(-127, 127, (8, 3, 3, 3), np.int8)
    tensors = {"s": np.float32(0.1), "z": np.int8(0), "w": weight, "ws": np.float32(0.02), "b": np.ones(8, np.float32)}
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"]),
        helper.make_node("DequantizeLinear", ["w", "ws", "z"], ["f"]),
        helper.make_node("Conv", ["d", "f", "b"], ["y"], "conv"),
    ]
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", 1, [1, 3, 16, 16])],
        [helper.make_tensor_value_info("y", 1, [1, 8, 14, 14])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in tensors.items()],
    )  # fmt: skip
    path = tmp_path / "q.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    result = tcc.compile(path, 0, "l4", emit="engine", output=tmp_path / "q.engine")
    assert result.files[0].name == "q.engine"
    (convolution,) = [layer for layer in result.report["placement"] if layer["operator"] == "Conv"]
    assert convolution["dtype"] == "int8"


@needs_rtx
def test_the_python_script_builds_where_there_is_tensorrt(digits: Path, tmp_path: Path) -> None:
    _, script = scripts(digits / "digits.onnx", tmp_path / "d.onnx", "--target=jetson")
    shim = tmp_path / "shim"
    shim.mkdir()
    (shim / "tensorrt.py").write_text("from tensorrt_rtx import *\nfrom tensorrt_rtx import __version__\n")
    command = (
        f"import sys, runpy; sys.path.insert(0, {str(shim)!r}); runpy.run_path({str(script)!r}, run_name='__main__')"
    )
    done = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["layers"] > 10
    assert (tmp_path / "d.engine").stat().st_size > 10_000
