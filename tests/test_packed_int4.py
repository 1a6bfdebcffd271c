"""8-bit weights of integer kernels that lie in the file in 4 bits: what runs, what is computed back, what it costs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

import tcc
from tcc.diagnostics import Exit, TccError
from tcc.ir.execution import Runner
from tcc.ir.rounding import Compensation
from tcc.passes._sensitivity import Answers
from tcc.rewrites.lossy import Offer, _nibbles, techniques
from tests.quantized_models import optimised

DRAW = np.random.default_rng(0)
IMAGES = (DRAW.normal(size=(64, 8, 24, 24)) * np.exp(DRAW.normal(size=(64, 1, 1, 1)))).astype(np.float32)
IDS = DRAW.integers(0, 300, (16, 1, 64))


def weight(*shape: int) -> np.ndarray:
    draw = np.random.default_rng(shape)
    return np.asarray(draw.normal(size=shape) / np.sqrt(np.prod(shape[1:])), dtype=np.float32)


def graph_of(nodes: list[onnx.NodeProto], x: onnx.ValueInfoProto, y: list[Any], held: dict[str, Any]) -> Any:
    made = helper.make_graph(
        nodes, "small", [x], [helper.make_tensor_value_info("y", TensorProto.FLOAT, y)],
        [numpy_helper.from_array(array, name) for name, array in held.items()],
    )  # fmt: skip
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def convolutions() -> onnx.ModelProto:
    """Three convolutions, one of which has groups, and a classifier whose weight is transposed."""
    held = {"w0": weight(64, 8, 3, 3), "w1": weight(64, 32, 3, 3), "w2": weight(64, 64, 1, 1), "wg": weight(40, 64),
            "b0": weight(64)}  # fmt: skip
    nodes = [
        helper.make_node("Conv", ["x", "w0", "b0"], ["c0"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c0"], ["r0"]),
        helper.make_node("Conv", ["r0", "w1"], ["c1"], group=2),
        helper.make_node("Relu", ["c1"], ["r1"]),
        helper.make_node("Conv", ["r1", "w2"], ["c2"]),
        helper.make_node("GlobalAveragePool", ["c2"], ["g"]),
        helper.make_node("Flatten", ["g"], ["f"]),
        helper.make_node("Gemm", ["f", "wg"], ["y"], transB=1),
    ]
    return graph_of(nodes, helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 8, 24, 24]), ["n", 40], held)  # type: ignore[no-any-return]


def encoder() -> onnx.ModelProto:
    """A lookup and products, whose activations are scaled in every run."""
    held = {"table": weight(300, 128) * 10, "w": weight(128, 256), "v": weight(256, 64)}
    nodes = [
        helper.make_node("Gather", ["table", "ids"], ["e"]),
        helper.make_node("MatMul", ["e", "w"], ["m"]),
        helper.make_node("Erf", ["m"], ["g"]),
        helper.make_node("MatMul", ["g", "v"], ["y"]),
    ]
    return graph_of(nodes, helper.make_tensor_value_info("ids", TensorProto.INT64, [1, 64]), [1, 64, 64], held)  # type: ignore[no-any-return]


def compiled(
    model: onnx.ModelProto, words: str, *, target: str = "x86-64-vnni", slower: bool = True, loss: float = 0.1
) -> Any:
    options = f"objective=size,slower={str(slower).lower()},techniques={words}"
    data = {"x": IMAGES} if model.graph.input[0].name == "x" else [{"ids": row} for row in IDS]
    return tcc.compile(
        model, passes=f"simplify,compress{{{options}}},strip", target=target, calibration=data, max_loss=loss
    )  # fmt: skip


def facts(result: Any) -> dict[str, Any]:
    return dict(next(r for r in result.records if r.name == "compress").facts)


def packed(result: Any) -> list[str]:
    return [site for site in facts(result)["sites"] if site.startswith("packed-int4:")]


def test_the_same_kernels_run_from_fewer_bytes() -> None:
    model = convolutions()
    wide, narrow = (compiled(model, words).to_proto() for words in ("static-int8", "static-int8+packed-int4"))
    assert optimised(narrow) == optimised(wide)
    assert optimised(narrow)["QLinearConv"] == 3
    assert narrow.ByteSize() < 0.7 * wide.ByteSize()
    before, after = Runner(model).run({"x": IMAGES})[0], Runner(narrow).run({"x": IMAGES})[0]
    assert 0 < np.linalg.norm(before - after) < 0.15 * np.linalg.norm(before)


def test_weights_of_groups_and_transposed_ones_are_packed_too() -> None:
    assert len(packed(compiled(convolutions(), "static-int8+packed-int4"))) == 4


def test_so_are_tables_and_weights_of_dynamic_products() -> None:
    model = encoder()
    result = compiled(model, "dynamic-int8+gather-int8+packed-int4")
    assert len(packed(result)) == 3
    proto = result.to_proto()
    assert optimised(proto)["Gather"] == 1  # that of the pairs is gone when the model is loaded
    assert proto.ByteSize() < 0.17 * model.ByteSize()
    before, after = (Runner(m).run({"ids": IDS[0]})[0] for m in (model, proto))
    assert 0 < np.linalg.norm(before - after) < 0.15 * np.linalg.norm(before)


def test_what_is_computed_back_is_what_was_fitted() -> None:
    """The integers that a runtime computes, beside those that the errors are known of."""
    proto = compiled(convolutions(), "static-int8+packed-int4").to_proto()
    made = {node.output[0]: node for node in proto.graph.node}
    names = [n.input[0] for n in proto.graph.node if n.op_type == "DequantizeLinear" and n.input[0] in made]
    names = [name for name in names if made[name].op_type == "Reshape"]
    held = {i.name: numpy_helper.to_array(i) for i in proto.graph.initializer}
    proto.graph.output.extend(helper.make_tensor_value_info(name, TensorProto.INT8, None) for name in names)
    for name, found in zip(names, Runner(proto).run({"x": IMAGES[:1]})[1:], strict=True):
        scaled = made[made[made[made[name].input[0]].input[0]].input[0]]
        gather = next(made[i] for i in scaled.input if i in made and made[i].op_type == "Gather")
        (units,) = (i for i in scaled.input if i not in gather.output)
        wide_units = held[made[units].input[0]] if units in made else held[units]
        bytes_ = held[made[gather.input[1]].input[0]].astype(int)
        pairs = np.stack([bytes_ // 15 - 7, bytes_ % 15 - 7], axis=-1)
        wide = pairs.astype(np.float32) / np.float32(14) * wide_units.astype(np.float32)
        assert np.array_equal(np.rint(wide).astype(np.int8).reshape(found.shape), found)
        assert np.abs(found).max() <= 127
    assert len(names) == 4


@given(st.integers(1, 3000))
def test_blocks_are_even_and_divide_the_rows(inner: int) -> None:
    block = _nibbles.block_of(inner)
    possible = [size for size in range(16, 65, 2) if size <= inner and inner % size == 0]
    assert (block in possible) if possible else block is None


@pytest.mark.parametrize("levels", [127, 63])
def test_fitted_to_the_data_the_outputs_err_less(levels: int) -> None:
    matrix, rows = DRAW.normal(size=(96, 20)), DRAW.normal(size=(400, 10)) @ DRAW.normal(size=(10, 96))
    second = rows.T @ rows / len(rows)
    scale = np.abs(matrix).max(axis=0) / levels
    fitted = _nibbles.fitted(matrix, scale, levels, second, Compensation.of(second))
    plain = _nibbles.nearest(matrix / scale, levels)
    assert fitted is not None
    assert plain is not None
    gaps = []
    for found in (plain, fitted):
        integers = _nibbles._whole(found.values, found.units, found.divisor)
        assert np.abs(integers).max() <= levels
        gaps.append(float(np.square(rows @ (matrix - integers * scale)).sum() / len(rows)))
    assert fitted.error == pytest.approx(gaps[1])
    assert gaps[1] < 0.5 * gaps[0]
    left = matrix / scale - _nibbles._whole(plain.values, plain.units, plain.divisor)
    assert plain.error == pytest.approx(np.square(left).sum() / np.square(matrix / scale).sum())
    assert plain.error < 0.1**2


def test_large_tables_are_rounded_part_by_part(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = DRAW.uniform(-127, 127, size=(64, 50))
    whole = _nibbles.nearest(steps, 127)
    monkeypatch.setattr(_nibbles, "_AT_ONCE", 200)
    parts = _nibbles.nearest(steps, 127)
    assert whole is not None
    assert parts is not None
    assert np.array_equal(parts.values, whole.values)
    assert np.array_equal(parts.units, whole.units)
    assert parts.error == pytest.approx(whole.error)


def test_what_works_on_the_others_comes_last() -> None:
    assert list(techniques())[-1] == "packed-int4"


def test_a_target_that_does_not_compute_them_back_gets_none() -> None:
    made = compiled(convolutions(), "static-int8+packed-int4", target="jetson")
    assert not packed(made)
    assert "jetson is not known" in facts(made)["declined"]["packed-int4"]


def test_what_loses_more_than_predicted_is_told_from_what_it_works_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """4 bits are said to lose nothing: they are priced anew, the 8 bits are not."""
    plain = Answers.losses

    def losses(self: Answers, offer: Offer) -> dict[str, float]:
        return {s: 1e-6 if s.startswith("packed") else 0.05 * loss for s, loss in plain(self, offer).items()}

    monkeypatch.setattr(Answers, "losses", losses)
    result = compiled(convolutions(), "static-int8+packed-int4", loss=0.02)
    first, without, corrected = facts(result)["rounds"]
    assert without["without"] == ["packed-int4"]
    assert without["measured"] < 0.5 * first["measured"] < 0.01
    assert without["predicted"] == pytest.approx(first["predicted"], abs=1e-5)
    # Of what both have in common nothing is priced anew; all that 4 bits lose more is theirs.
    lost = first["measured"] - without["measured"]
    assert corrected["predicted"] - without["predicted"] == pytest.approx(lost, rel=1e-3)
    assert len(facts(result)["sites"]) == 8


def test_a_budget_of_bytes_asks_for_them_where_time_is_minimised(tmp_path: Path) -> None:
    model, output = convolutions(), tmp_path / "small.onnx"
    onnx.save(model, tmp_path / "m.onnx")
    options: dict[str, Any] = {"target": "x86-64-vnni", "calibration": {"x": IMAGES}, "max_loss": 0.2, "jobs": 1}
    free = tcc.compile(tmp_path / "m.onnx", 3, **options)
    assert "int4:" not in " ".join(facts(free)["sites"]), "they make nothing faster"
    limit = 0.85 * free.report["result"]["bytes"]
    kept = tcc.compile(tmp_path / "m.onnx", 3, max_size=limit, output=output, **options)
    assert "int4:" in " ".join(facts(kept)["sites"])
    assert output.stat().st_size <= limit
    with pytest.raises(TccError, match="the budget is 1,000") as caught:
        tcc.compile(tmp_path / "m.onnx", 3, max_size=1000, **options)
    assert caught.value.exit_code is Exit.INFEASIBLE
