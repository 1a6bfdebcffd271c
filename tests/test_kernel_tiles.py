"""Kernels in tiles: alternatives of the e-graph, chosen by extraction, obeyed by the back end that compiles them."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper

import tcc
from tcc import backends, frontends
from tcc.cost_models._tiles import MOST, REGION, TILE, WIDE, Kernel, Plan, of_target
from tcc.targets import Target, parse_target
from tests.quantized_models import Builder
from tests.test_backend_tvm import needs_tvm, normal, saved


def tiled(name: str) -> Target:
    """The target as the back end that compiles kernels asks for it."""
    target = parse_target(name)
    return replace(target, backends=("tvm", *target.backends))


def simplified(model: onnx.ModelProto, target: Target) -> onnx.ModelProto:
    """What -O2 makes of a model; equality is verified on the way."""
    manager = tcc.PassManager(["canonicalize,fold,simplify"], target=target)
    return manager.run(model).model.to_proto()


def said(model: onnx.ModelProto) -> dict[str, dict[str, str]]:
    """What nodes say of themselves, by the name of their output."""
    entries = ((n.output[0], {e.key: e.value for e in n.metadata_props}) for n in model.graph.node)
    return {name: props for name, props in entries if TILE in props}


def product(rows: int, columns: int, depth: int, behind: tuple[str, ...] = ()) -> onnx.ModelProto:
    b = Builder()
    y = b.op("MatMul", b.input(rows, depth), b.constant(normal(depth, columns)))
    for name in behind:
        y = b.op(name, y)
    return b.model(y)


def test_the_caches_of_the_target_decide() -> None:
    chosen = {}
    for name in ("x86-64-vnni", "x86-64-amx", "rpi4", "rpi5"):
        (props,) = said(simplified(product(1, 64, 3072), tiled(name))).values()
        what, _, chosen[name] = props[TILE].rpartition(" in ")
        assert what == "matmul 1 x 64 x 3072"
    assert chosen["x86-64-vnni"] == "1x32 flat" != chosen["x86-64-amx"]
    assert chosen["rpi4"] != chosen["rpi5"]
    small = replace(tiled("x86-64-vnni"), caches=parse_target("x86-64-amx").caches)
    assert said(simplified(product(1, 64, 3072), small)).popitem()[1][TILE].endswith(chosen["x86-64-amx"])


def test_other_back_ends_see_no_tiles() -> None:
    for name in ("x86-64-vnni", "jetson"):
        assert not said(simplified(product(8, 64, 64, ("Relu",)), parse_target(name)))
    # A target that does not state its registers leaves the choice to the back end.
    assert not said(simplified(product(8, 64, 64), replace(tiled("rpi5"), vectors=None)))


def test_what_is_done_to_a_result_belongs_to_its_region() -> None:
    model = simplified(product(64, 96, 32, ("Relu", "Sqrt")), tiled("x86-64-vnni"))
    (props,) = said(model).values()
    assert props[REGION] == "MatMul+Relu+Sqrt"


def test_an_inner_result_that_others_need_stands_outside() -> None:
    b = Builder()
    h = b.op("MatMul", b.input(64, 256), b.constant(normal(256, 96)))
    model = simplified(b.model(b.op("Relu", h), b.op("Transpose", h, perm=[1, 0])), tiled("x86-64-vnni"))
    (props,) = said(model).values()
    assert props[REGION] == "MatMul"
    assert sorted(n.op_type for n in model.graph.node) == ["MatMul", "Relu", "Transpose"]


@pytest.mark.parametrize("seed", range(12))
def test_programs_with_regions_compute_the_same(seed: int) -> None:
    """Small kernels may be computed twice where their results are read twice; what is written must say so."""
    random = np.random.default_rng(seed)
    b = Builder()
    values = [b.input(4, 8), b.input(4, 8)]
    for _ in range(9):
        x, y = (values[i] for i in random.integers(0, len(values), 2))
        operator = random.choice(["MatMul", "Gemm", "Add", "Mul", "Relu", "Sub", "Sigmoid"])
        if operator == "MatMul":
            values.append(b.op("MatMul", x, b.constant(normal(8, 8))))
        elif operator == "Gemm":
            values.append(b.op("Gemm", x, b.constant(normal(8, 8)), b.constant(normal(8))))
        else:
            values.append(b.op(operator, x, y) if operator in {"Add", "Mul", "Sub"} else b.op(operator, x))
    target = tiled("x86-64-vnni")
    slow = replace(target, launch_overhead=1e-3 if seed % 2 else target.launch_overhead)
    given = b.model(values[-1], values[-2], values[-3])
    made = simplified(given, slow)
    onnx.checker.check_model(made)
    feeds = {v.name: random.normal(size=(4, 8)).astype(np.float32) for v in given.graph.input}
    expected, found = (
        onnxruntime.InferenceSession(m.SerializeToString()).run(
            None, {v.name: feeds[v.name] for v in m.graph.input}
        ) for m in (given, made)
    )  # fmt: skip
    for e, f in zip(expected, found, strict=True):
        assert np.abs(e - f).max() <= 1e-5 * max(1.0, np.abs(e).max())
    anchors = [n for n in made.graph.node if n.op_type in {"MatMul", "Gemm"}]
    assert len(said(made)) == len(anchors)


def test_integer_products_are_told_by_what_their_factors_come_from() -> None:
    b = Builder()
    x = b.both(b.input(1, 16, 14, 14))
    y = b.quantize(b.op("Relu", b.op("Conv", x, b.weight(32, 16, 3, 3), b.bias(32), pads=[1] * 4)))
    model = b.model(b.dequantize(y))
    (props,) = said(simplified(model, tiled("x86-64-vnni"))).values()
    assert props[TILE].startswith("convolution int8 3x3 1x14x14 x 32 x 16 in ")
    assert props[REGION] == "Conv+Relu+QuantizeLinear"
    (props,) = said(simplified(model, tiled("rpi4"))).values()  # adds up no products of bytes
    assert props[TILE].startswith("convolution 3x3 1x14x14 x 32 x 16 in ")


def test_factors_that_are_transposed_back_and_forth_are_looked_through_once() -> None:
    b = Builder()
    x = b.input(1, 3, 16, 16)

    def turned(value: str) -> str:
        return b.op("Transpose", value, perm=[0, 1, 3, 2])

    y = b.op("MatMul", turned(b.op("Add", turned(turned(x)), x)), turned(x))
    model = b.model(b.op("MatMul", b.op("Relu", turned(turned(b.op("Relu", y)))), x), turned(x))
    assert len(said(simplified(model, tiled("x86-64-vnni")))) == 2


def test_few_tiles_of_a_kernel_become_alternatives() -> None:
    for name in ("x86-64-vnni", "x86-64-avx2", "rpi5"):
        chip = of_target(parse_target(name))
        assert chip is not None
        for shape in ((1, 1000, 512), (197, 768, 192), (3136, 64, 64)):
            kernel = Kernel("matmul", shape[:1], *shape[1:])
            found, every = kernel.shortlist(chip, 3.0), kernel.plans(chip, 3.0)
            assert found == every[: len(found)]
            assert 1 <= len(found) <= MOST < len(every)


def test_much_work_behind_a_product_wants_whole_columns() -> None:
    kernel = Kernel("matmul", (128,), 176, 1024)
    plain, busy = (kernel.plans(WIDE, work)[0][1].tile.columns for work in (0.0, 28.0))
    assert 176 % plain
    assert not 176 % busy


@pytest.mark.parametrize("text", ["8x48", "8x48 flat", "0x16", "8 x 48", "8x48 nested", "", "99999x1"])
def test_tiles_are_read_as_they_are_written(text: str) -> None:
    plan = Plan.parse(text)
    assert (plan.text if plan else "") == (text if text.startswith("8x48") and "nested" not in text else "")


# ---------------------------------------------------------------------------------------------- TVM
def marked(path: Path, tile: str) -> Path:
    """A product of a hundred rows whose node says its tile."""
    nodes = [helper.make_node("MatMul", ["x", "w"], ["h"], "m"), helper.make_node("Relu", ["h"], ["y"])]
    made = onnx.load(saved(path, nodes, [100, 64], {"w": normal(64, 96)}))
    entry = made.graph.node[0].metadata_props.add()
    entry.key, entry.value = TILE, tile
    onnx.save(made, path)
    return path


WRONG = {"a poor tile": "2x16 flat", "another poor one": "1x96 flat"}


@needs_tvm
@pytest.mark.parametrize("name", WRONG)
def test_the_back_end_obeys(name: str, tmp_path: Path) -> None:
    import tvm

    from tcc.backends import _tvm_build, _tvm_schedules

    tile = WRONG[name]
    source = marked(tmp_path / "m.onnx", f"matmul 100 x 96 x 64 in {tile}")
    texts: list[str] = []
    scheduled = _tvm_schedules.scheduled

    def seen(module: Any, *rest: Any) -> Any:
        made = scheduled(module, *rest)
        texts.append(made.script())
        return made

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_tvm_schedules, "scheduled", seen)
        built = _tvm_build.build(onnx.load(source), "")
    assert built.tiles["tiles"] == {"by_extraction": 1, "by_back_end": [], "unused": []}
    assert built.tiles["own_schedules"] == [f"matmul 100 x 96 x 64 in {tile}"]
    rows, columns = map(int, tile.removesuffix(" flat").split("x"))
    # Loops over tiles across and down, then one iteration for each row of a tile, one for each of its vectors.
    text = re.sub(r"T\.int64\((\d+)\)", r"\1", texts[0])
    assert f"in T.grid({96 // columns}, {100 // rows})" in text
    assert ("T.unroll(2)" in text) == (rows == 2)
    machine = tvm.relax.VirtualMachine(built.library, tvm.cpu())
    x = normal(100, 64)
    found = machine["main"](tvm.runtime.tensor(x)).numpy()
    assert np.abs(found - onnxruntime.InferenceSession(source).run(None, {"x": x})[0]).max() < 1e-5


@needs_tvm
@pytest.mark.parametrize("tile", ["matmul 100 x 96 x 64 in 99x16 flat", "matmul 1 x 2 x 3 in 8x48 flat", "nonsense"])
def test_what_fits_no_kernel_is_left_and_said(tile: str, tmp_path: Path) -> None:
    source = marked(tmp_path / "m.onnx", tile)
    made = backends.backend("tvm").lower(frontends.load(source), tmp_path / "m.so")
    told = made.facts["tiles"]
    assert (told["by_extraction"], told["by_back_end"]) == (0, ["matmul 100 x 96 x 64"])
    assert bool(told["unused"]) == ("1 x 2" in tile)


@needs_tvm
def test_every_kernel_of_a_network_has_the_tile_that_extraction_chose(digits: Path, tmp_path: Path) -> None:
    result = tcc.compile(digits / "digits.onnx", 2, emit="tvm", output=tmp_path / "d.so")
    told = result.report["artefact"]["tiles"]
    assert told["by_extraction"] > 1
    assert not told["by_back_end"]
    assert not told["unused"]
