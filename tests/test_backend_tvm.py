"""TVM: tiles and fixed sizes everywhere; libraries against ONNX Runtime where TVM is installed."""

from __future__ import annotations

import importlib.util
import json
import os
import platform
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper

import tcc
from tcc import backends, frontends
from tcc.backends import Settings
from tcc.compiler import fixing
from tcc.compiler.running import run
from tcc.cost_models._tiles import ARM, NARROW, WIDE, Plan, Processor, Tile, candidates, plan, price, processor
from tcc.diagnostics import Exit, TccError
from tcc.targets import parse_target

needs_tvm = pytest.mark.skipif(
    backends.backend("tvm").absence() is not None or shutil.which("g++") is None,
    reason="apache-tvm (extra: tvm) or g++ is not installed",
)


def saved(path: Path, nodes: list[onnx.NodeProto], shape: list[Any], weights: dict[str, np.ndarray]) -> Path:
    """A model of one input and one output, both float32."""
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", 1, shape)], [helper.make_tensor_value_info("y", 1, None)],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )  # fmt: skip
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(onnx.shape_inference.infer_shapes(made), path)
    return path


def normal(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).normal(size=shape).astype(np.float32) / np.float32(np.sqrt(shape[-1]))


@pytest.mark.parametrize("chip", [WIDE, NARROW, ARM])
def test_tiles_that_do_not_fit_the_registers_are_offered_but_never_chosen(chip: Processor) -> None:
    def registers(tile: Tile) -> int:
        vectors = tile.columns // chip.lanes
        return tile.rows * vectors + vectors + 1

    every = list(candidates(1000, chip))
    assert all(tile.columns % chip.lanes == 0 for tile in every)
    assert len({registers(tile) > chip.registers for tile in every}) == 2
    for rows in (1, 7, 16, 49, 197, 784):
        for columns in (16, 96, 1000):
            for depth in (64, 512):
                assert registers(plan((rows,), columns, depth, chip).tile) <= chip.registers


def test_what_is_padded_is_paid_for() -> None:
    assert price(Tile(8, 48), 8, 48, 512, WIDE) < price(Tile(8, 48), 9, 48, 512, WIDE)
    assert price(Tile(8, 48), 8, 48, 512, WIDE) < price(Tile(8, 48), 8, 49, 512, WIDE)
    assert plan((197,), 768, 192, WIDE).tile.rows >= 4
    assert plan((1,), 1000, 512, WIDE).tile.rows == 1
    assert plan((196,), 256, 1024, WIDE).tile.rows <= WIDE.ways  # rows a page apart evict each other


@pytest.mark.parametrize("outer", [(1, 56, 56), (2, 7, 7), (1, 25, 5), (3, 197), (1, 13, 17)])
def test_tiles_over_several_axes_do_not_lie_across_the_ends_of_rows(outer: tuple[int, ...]) -> None:
    found = plan(outer, 64, 64, WIDE)
    rows = found.tile.rows
    if found.flat:
        assert outer[-1] % rows == 0 or (rows % outer[-1] == 0 and outer[-2] % (rows // outer[-1]) == 0)


def test_the_processor_is_known_by_its_features() -> None:
    assert processor("znver4", "", {"avx512f", "avx2"}) is WIDE
    assert processor("haswell", "", {"avx2"}) is NARROW
    assert processor("cortex-a76", "aarch64-linux-gnu", {"neon"}) is ARM


def test_open_dimensions_are_fixed_and_what_then_is_constant_is_folded(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Shape", ["x"], ["s"]), helper.make_node("Gather", ["s", "zero"], ["n"]),
        helper.make_node("Concat", ["n", "rest"], ["to"], axis=0), helper.make_node("Reshape", ["x", "to"], ["r"]),
        helper.make_node("Relu", ["r"], ["y"]),
    ]  # fmt: skip
    weights = {"zero": np.array([0]), "rest": np.array([-1])}
    loaded = frontends.load(saved(tmp_path / "m.onnx", nodes, ["batch", 3, "width"], weights))
    seen = [{"x": normal(2, 3, 5)}]
    made, feeds, said = fixing.fixed(loaded, Settings(), seen)
    assert [str(kind) for _, kind in made.signature.inputs] == ["float32[1,3,5]"]
    assert feeds[0]["x"].shape == (1, 3, 5)
    assert set(made.operator_counts) <= {"Reshape", "Flatten", "Relu"}
    assert "batch = 1, width = 5" in said[0].message
    made, feeds, said = fixing.fixed(loaded, Settings(symbols={"batch": 4, "width": 6}), seen)
    assert [str(kind) for _, kind in made.signature.inputs] == ["float32[4,3,6]"]
    assert [str(kind) for _, kind in made.signature.outputs] == ["float32[4,18]"]
    assert not said


def test_a_gpu_without_a_known_host_is_refused() -> None:
    chosen: Any = backends.backend("tvm")
    with pytest.raises(TccError, match="E0834 a100 has no processor") as caught:
        chosen.unrunnable(Settings(parse_target("a100")))
    assert caught.value.exit_code is Exit.UNSUPPORTED
    assert bool(chosen.unrunnable(Settings(parse_target("jetson")))) == (platform.machine() != "aarch64")


def conv(name: str, data: str, weight: str, to: str, **attributes: Any) -> onnx.NodeProto:
    return helper.make_node("Conv", [data, weight, f"{weight}b"], [to], name, **attributes)


CASES: dict[str, tuple[list[onnx.NodeProto], list[int], dict[str, np.ndarray]]] = {
    "ragged product": (
        [helper.make_node("MatMul", ["x", "w"], ["m"]), helper.make_node("Add", ["m", "b"], ["a"]),
         helper.make_node("Relu", ["a"], ["y"])],
        [1, 37, 50], {"w": normal(50, 70), "b": normal(70)},
    ),
    "two axes of rows": (
        [helper.make_node("MatMul", ["x", "w"], ["y"])], [3, 11, 13], {"w": normal(13, 16)},
    ),
    "attention": (
        [helper.make_node("Transpose", ["x"], ["t"], perm=[0, 1, 3, 2]), helper.make_node("MatMul", ["x", "t"], ["m"]),
         helper.make_node("Softmax", ["m"], ["p"], axis=-1), helper.make_node("MatMul", ["p", "x"], ["y"])],
        [1, 3, 19, 32], {},
    ),
    "padded convolution with stride": (
        [conv("c", "x", "w", "h", pads=[0, 1, 1, 2], strides=[2, 2]), helper.make_node("Relu", ["h"], ["y"])],
        [2, 5, 15, 18], {"w": normal(40, 5, 3, 3), "wb": normal(40)},
    ),
    "dilated": (
        [conv("c", "x", "w", "y", pads=[2, 2, 2, 2], dilations=[2, 2])],
        [1, 16, 12, 12], {"w": normal(16, 16, 3, 3), "wb": normal(16)},
    ),
    "separable with a shortcut": (
        [conv("d", "x", "d", "h", pads=[1, 1, 1, 1], group=32), helper.make_node("Relu", ["h"], ["r"]),
         conv("p", "r", "p", "q"), helper.make_node("Add", ["q", "x"], ["y"])],
        [1, 32, 9, 7], {"d": normal(32, 1, 3, 3), "db": normal(32), "p": normal(32, 32, 1, 1), "pb": normal(32)},
    ),
    "grouped and pooled": (
        [conv("g", "x", "w", "h", group=2), helper.make_node("MaxPool", ["h"], ["m"], kernel_shape=[2, 2]),
         helper.make_node("GlobalAveragePool", ["m"], ["a"]), helper.make_node("Flatten", ["a"], ["y"])],
        [1, 8, 10, 10], {"w": normal(16, 4, 3, 3), "wb": normal(16)},
    ),
}  # fmt: skip


@needs_tvm
@pytest.mark.parametrize("name", CASES)
def test_libraries_compute_what_onnxruntime_does(name: str, tmp_path: Path) -> None:
    nodes, shape, weights = CASES[name]
    source = saved(tmp_path / "m.onnx", nodes, shape, weights)
    chosen = backends.backend("tvm")
    made = chosen.lower(frontends.load(source), tmp_path / "m.so")
    assert not made.facts["default_schedules"], name
    loaded = chosen.load(made.files[0])
    session = onnxruntime.InferenceSession(source)
    outputs = []
    for turn in range(2):
        x = np.random.default_rng(turn).normal(size=shape).astype(np.float32)
        (found,), (expected,) = loaded.run({"x": x}), session.run(None, {"x": x})
        assert found.shape == expected.shape
        assert np.abs(found - expected).max() <= 1e-5 * np.abs(expected).max()
        outputs.append(expected)
    assert np.abs(outputs[0] - outputs[1]).max() > 1e-2 * np.abs(outputs[0]).max()


LARGE: dict[str, tuple[list[onnx.NodeProto], list[int], dict[str, np.ndarray]]] = {
    "convolutions": (
        [conv("c", "x", "w", "h", pads=[1, 1, 1, 1]), helper.make_node("Relu", ["h"], ["r"]),
         conv("d", "r", "d", "q", pads=[1, 1, 1, 1], group=32), conv("p", "q", "p", "m"),
         helper.make_node("Add", ["m", "r"], ["a"]), helper.make_node("Sigmoid", ["a"], ["y"])],
        [1, 8, 33, 29], {"w": normal(32, 8, 3, 3), "wb": normal(32), "d": normal(32, 1, 3, 3), "db": normal(32),
                         "p": normal(32, 32, 1, 1), "pb": normal(32)},
    ),
    "products": (
        [helper.make_node("MatMul", ["x", "w"], ["h"]), helper.make_node("Add", ["h", "b"], ["a"]),
         helper.make_node("Transpose", ["a"], ["t"], perm=[0, 2, 1]), helper.make_node("MatMul", ["a", "t"], ["y"])],
        [2, 131, 64], {"w": normal(64, 160), "b": normal(160)},
    ),
}  # fmt: skip


@needs_tvm
@pytest.mark.parametrize("name", LARGE)
def test_several_threads_compute_the_same(name: str, tmp_path: Path) -> None:
    nodes, shape, weights = LARGE[name]
    source = saved(tmp_path / "m.onnx", nodes, shape, weights)
    chosen = backends.backend("tvm")
    made = [chosen.lower(frontends.load(source), tmp_path / f"m{n}.so", Settings(threads=n)) for n in (1, 3)]
    assert [one.facts["threads"] for one in made] == [1, 3]
    assert not made[1].facts["default_schedules"]
    assert [b"__TVMBackendParallelLaunch" in one.files[0].read_bytes() for one in made] == [False, True]
    x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    (alone,), (spread,) = (chosen.load(o.files[0], threads=n).run({"x": x}) for n, o in zip((1, 3), made, strict=True))
    assert (alone == spread).all()
    expected = onnxruntime.InferenceSession(source).run(None, {"x": x})[0]
    assert np.abs(spread - expected).max() <= 1e-5 * np.abs(expected).max()


@needs_tvm
def test_the_library_says_what_it_takes(digits: Path, tmp_path: Path) -> None:
    result = tcc.compile(digits / "digits.onnx", 2, emit="tvm", output=tmp_path / "d.so")
    assert [file.name for file in result.files] == ["d.so", "d.so.json"]
    artefact = result.report["artefact"]
    assert artefact["parity"].startswith("equal (tolerance: 0.0001")
    assert artefact["mcpu"]
    assert artefact["own_schedules"]
    ports = json.loads((tmp_path / "d.so.json").read_text())
    assert ports["inputs"][0]["shape"][0] == 1
    assert ports["outputs"][0]["shape"] == [1, 10]
    np.savez(tmp_path / "two.npz", image=np.load(digits / "digits_calib.npz")["image"][:2])
    with pytest.raises(TccError, match=r"E0602[^\0]*should be float32\[1, ") as caught:
        run(tmp_path / "d.so", tmp_path / "two.npz")
    assert caught.value.exit_code is Exit.DATA
    (tmp_path / "d.so.json").unlink()
    with pytest.raises(TccError, match="E0831"):
        run(tmp_path / "d.so", tmp_path / "two.npz")


@needs_tvm
@pytest.mark.skipif(shutil.which("aarch64-linux-gnu-g++") is None, reason="there is no compiler for aarch64 here")
def test_libraries_for_another_machine_are_built_and_not_run(digits: Path, tmp_path: Path) -> None:
    result = tcc.compile(digits / "digits.onnx", 2, "rpi5", emit="tvm", output=tmp_path / "d.so")
    assert [file.name for file in result.files] == ["d.so", "d.so.json"]
    assert (tmp_path / "d.so").read_bytes()[18:20] == b"\xb7\x00"  # ELF: EM_AARCH64
    assert "W0813" in [d.code for d in result.diagnostics]


@needs_tvm
def test_what_the_importer_lacks_falls_back_and_says_so(tmp_path: Path) -> None:
    source = saved(tmp_path / "m.onnx", [helper.make_node("Det", ["x"], ["y"])], [2, 3, 3], {})
    result = tcc.compile(source, 2, emit="tvm", output=tmp_path / "out.so")
    assert [file.name for file in result.files] == ["out.onnx"]
    assert any("E0832" in d.message for d in result.diagnostics if d.code == "W0802")


def linked(compiler: str, libraries: list[Path], to: Path) -> Path:
    """The C++ example, built against the headers of the installed TVM and the given libraries."""
    import tvm_ffi  # of the extra

    headers = Path(tvm_ffi.__file__).parent / "include"
    source = Path(__file__).parent.parent / "examples" / "cpp" / "run.cc"
    found = [flag for folder in libraries for flag in (f"-L{folder}", f"-Wl,-rpath,{folder}")]
    subprocess.run(
        [compiler, "-std=c++17", source, f"-I{headers}", *found, "-Wl,--no-as-needed", "-ltvm_runtime", "-ltvm_ffi",
         "-Wl,--allow-shlib-undefined", "-o", to], check=True,
    )  # fmt: skip
    return to


def differs(command: list[Any], digits: Path, library: Path, tmp_path: Path, *, scrambled: bool = False) -> float:
    """How far what a program computes on an image is from ONNX Runtime; ``scrambled`` gives the program another one."""
    images = np.load(digits / "digits_calib.npz")["image"]
    images[int(scrambled)].tofile(tmp_path / "x.bin")
    subprocess.run([*command, library, tmp_path / "y.bin", f"{tmp_path / 'x.bin'}:float32:1,1,8,8"], check=True)
    found = np.fromfile(tmp_path / "y.bin", np.float32)
    (expected,) = onnxruntime.InferenceSession(digits / "digits.onnx").run(None, {"image": images[:1]})
    return float(np.abs(found - expected.ravel()).max() / np.abs(expected).max())


@needs_tvm
def test_a_library_runs_from_c_plus_plus_without_python(digits: Path, tmp_path: Path) -> None:
    tcc.compile(digits / "digits.onnx", 2, emit="tvm", output=tmp_path / "d.so")
    found = importlib.util.find_spec("tvm"), importlib.util.find_spec("tvm_ffi")
    folders = [Path(spec.origin).parent / "lib" for spec in found if spec is not None and spec.origin is not None]
    program = linked("g++", folders, tmp_path / "run")
    assert differs([program], digits, tmp_path / "d.so", tmp_path) < 1e-5
    assert differs([program], digits, tmp_path / "d.so", tmp_path, scrambled=True) > 1e-2


@needs_tvm
@pytest.mark.skipif(
    not os.environ.get("TCC_TVM_AARCH64") or shutil.which("qemu-aarch64") is None,
    reason="qemu-aarch64, or TVM's runtime for aarch64 (TCC_TVM_AARCH64: the unpacked wheels), is not here",
)
def test_a_library_for_arm_computes_the_same_under_qemu(digits: Path, tmp_path: Path) -> None:
    tcc.compile(digits / "digits.onnx", 2, "rpi5", emit="tvm", output=tmp_path / "d.so")
    wheels = Path(os.environ["TCC_TVM_AARCH64"])
    program = linked("aarch64-linux-gnu-g++", [wheels / "tvm/lib", wheels / "tvm_ffi/lib"], tmp_path / "run")
    command = ["qemu-aarch64", "-cpu", "max", "-L", "/usr/aarch64-linux-gnu", program]
    assert differs(command, digits, tmp_path / "d.so", tmp_path) < 1e-5
    assert differs(command, digits, tmp_path / "d.so", tmp_path, scrambled=True) > 1e-2


def test_a_plan_says_whether_rows_run_over_all_axes() -> None:
    assert plan((1, 1, 64), 32, 32, WIDE).flat
    assert isinstance(plan((3, 197), 64, 64, WIDE), Plan)
