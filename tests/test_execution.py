"""Running models: what goes in and out, weights used in place, failures, memory."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper, parser

from tcc.diagnostics import Exit, TccError
from tcc.ir import execution_weights
from tcc.ir.execution import Runner, fold
from tcc.ir.execution_errors import shortened

NARROW = ["BFLOAT16", "FLOAT8E4M3FN", "FLOAT8E4M3FNUZ", "FLOAT8E5M2", "FLOAT8E5M2FNUZ", "INT4", "UINT4"]


def parsed(text: str) -> ModelProto:
    model: ModelProto = parser.parse_model(f'<ir_version: 10, opset_import: ["" : 21, "custom" : 1]> g {text}')
    return model


def matrix_model(rows: int = 64, columns: int = 48) -> tuple[ModelProto, np.ndarray]:
    model = parsed(f"(float[1,{rows}] x) => (float[1,{columns}] y) {{ y = MatMul(x, w) }}")
    weight = np.random.default_rng(0).standard_normal((rows, columns), dtype=np.float32)
    model.graph.initializer.append(numpy_helper.from_array(weight, "w"))
    return model, weight


def test_runs_a_proto_bytes_and_a_path_alike(tmp_path: Path) -> None:
    model, weight = matrix_model()
    onnx.save(model, tmp_path / "m.onnx")
    x = np.ones((1, 64), np.float32)
    results = [Runner(m).run({"x": x})[0] for m in (model, model.SerializeToString(), tmp_path / "m.onnx")]
    np.testing.assert_allclose(results[0], x @ weight, rtol=1e-5, atol=1e-5)
    assert results[0].tobytes() == results[1].tobytes() == results[2].tobytes()


@pytest.mark.parametrize("optimise", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn, ml_dtypes.int4])
def test_given_weights_replace_stubs(dtype: type, *, optimise: bool) -> None:
    weight: np.ndarray = (np.arange(64 * 96).reshape(64, 96) % 7).astype(dtype)
    model = parsed("(float[1,64] x) => (float[1,96] y) { v = Cast<to = 1>(w) y = MatMul(x, v) }")
    data_type = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    model.graph.initializer.append(TensorProto(name="w", data_type=data_type, dims=weight.shape))
    runner = Runner(model, weights={"w": weight}, optimise=optimise)
    (y,) = runner.run({"x": np.ones((1, 64), np.float32)})
    np.testing.assert_array_equal(y, weight.astype(np.float32).sum(0, keepdims=True))
    assert not model.graph.initializer[0].raw_data, "the caller's proto must stay as it was"


def test_weights_that_the_proto_does_not_list_are_added() -> None:
    model, weight = matrix_model()
    del model.graph.initializer[:]
    (y,) = Runner(model, weights={"w": weight}).run({"x": np.eye(1, 64, dtype=np.float32)})
    np.testing.assert_array_equal(y, weight[:1])


def test_weights_of_subgraphs_are_filled_in() -> None:
    model = parsed("""(bool c) => (float[2] y) {
        y = If (c) <then_branch = t () => (float[2] a) { a = Neg(w) },
                    else_branch = e () => (float[2] b) { b = Identity(w) }>
    }""")
    for attribute in model.graph.node[0].attribute:
        attribute.g.initializer.append(TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[2]))
    runner = Runner(model, weights={"w": np.array([1, 2], np.float32)})
    assert runner.run({"c": np.array(True)})[0].tolist() == [-1, -2]
    assert runner.run({"c": np.array(False)})[0].tolist() == [1, 2]


def test_unaligned_and_strided_weights_are_used_correctly() -> None:
    model, weight = matrix_model()
    unaligned = np.frombuffer(b"x" + weight.tobytes(), np.uint8)[1:].view(np.float32).reshape(weight.shape)
    assert not unaligned.flags.aligned
    x = np.ones((1, 64), np.float32)
    expected = Runner(model).run({"x": x})[0]
    for given in (unaligned, np.asfortranarray(weight)):
        assert Runner(model, weights={"w": given}).run({"x": x})[0].tobytes() == expected.tobytes()


def test_splitting_changes_no_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    model, _ = matrix_model(300, 200)
    feed = {"x": np.random.default_rng(1).standard_normal((1, 300), dtype=np.float32)}
    whole = Runner(model).run(feed)[0]
    monkeypatch.setattr("tcc.ir.execution.SHARE_FROM", 0)
    runner = Runner(model)
    assert runner.run(feed)[0].tobytes() == whole.tobytes()
    stub, arrays = execution_weights.split(model, {})
    assert list(arrays) == ["w"]
    assert stub.ByteSize() < 1000


@pytest.mark.parametrize("name", NARROW)
def test_types_that_numpy_lacks_go_in_and_out(name: str) -> None:
    data_type = TensorProto.DataType.Value(name)
    nodes = [
        helper.make_node("Cast", ["x"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("Cast", ["f"], ["y"], to=data_type),
    ]
    ports = [helper.make_tensor_value_info(n, t, [5]) for n, t in [("x", data_type), ("y", data_type), ("f", 1)]]
    graph = helper.make_graph(nodes, "g", ports[:1], ports[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    x = np.array([0, 1, 2, 3, 1]).astype(helper.tensor_dtype_to_np_dtype(data_type))
    y, f = Runner(model).run({"x": x})
    assert y.dtype == x.dtype
    np.testing.assert_array_equal(y.astype(np.float32), x.astype(np.float32))
    np.testing.assert_array_equal(f, x.astype(np.float32))


def test_sequences_and_strings_stay_python_values() -> None:
    model = parsed("(float[2] a, float[2] b) => (seq(float[2]) s) { s = SequenceConstruct(a, b) }")
    (s,) = Runner(model).run({"a": np.zeros(2, np.float32), "b": np.ones(2, np.float32)})
    assert isinstance(s, list)
    assert [element.tolist() for element in s] == [[0, 0], [1, 1]]
    words = np.array(["ä", "b"], object)
    assert Runner(parsed("(string[2] x) => (string[2] y) { y = Identity(x) }")).run({"x": words})[0].tolist() == [
        "ä",
        "b",
    ]


def test_random_operators_repeat() -> None:
    model = parsed("() => (float[8] y) { y = RandomNormal<shape = [8]>() }")
    assert fold(model)["y"].tobytes() == fold(model)["y"].tobytes()


def test_folds_a_graph_without_inputs() -> None:
    model = parsed("() => (float[3] p, int64[1] n) { p = Add(a, a) n = Shape(a) }")
    folded = fold(model, weights={"a": np.arange(3, dtype=np.float32)})
    assert list(folded) == ["p", "n"]
    assert folded["p"].tolist() == [0, 2, 4]
    assert folded["n"].tolist() == [3]


def test_initialisers_that_are_inputs_may_be_overridden() -> None:
    model, weight = matrix_model()
    model.graph.input.append(helper.make_tensor_value_info("w", TensorProto.FLOAT, weight.shape))
    runner = Runner(model)
    x = np.ones((1, 64), np.float32)
    assert list(runner.inputs) == ["x"]
    np.testing.assert_array_equal(runner.run({"x": x, "w": np.zeros_like(weight)})[0], np.zeros((1, 48)))


def foreign(operator: str, name: str, given: str, made: str) -> NodeProto:
    return helper.make_node(operator, [given], [made], name=name, domain="custom")


def test_all_unknown_operators_are_named() -> None:
    model = parsed("(float[1] x) => (float[1] z) { z = Identity(x) }")
    nodes = [foreign("Foo", "n1", "x", "a"), foreign("Foo", "n2", "a", "b"), foreign("Bar", "n3", "b", "z")]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    with pytest.raises(TccError) as caught:
        Runner(model)
    assert caught.value.exit_code is Exit.UNSUPPORTED
    assert [d.text() for d in caught.value.diagnostics] == [
        "g:n1 [Foo]: error: E0401 onnxruntime does not know the operator custom::Foo (2 in the model)",
        "g:n3 [Bar]: error: E0401 onnxruntime does not know the operator custom::Bar (1 in the model)",
    ]


@pytest.mark.parametrize(
    ("text", "code", "where"),
    [
        ("(uint64[1] x) => (uint64[1] y) { [r] y = Relu(x) }", "E0406", "g:r [Relu]"),
        ("(uint16[2] x) => (uint16[2] y) { [m] y = Max(x, x) }", "E0402", "g:m [Max]"),
    ],
)
def test_what_cannot_be_loaded_is_unsupported(text: str, code: str, where: str) -> None:
    with pytest.raises(TccError) as caught:
        Runner(parsed(text))
    assert caught.value.exit_code is Exit.UNSUPPORTED
    assert (caught.value.diagnostics[0].code, caught.value.diagnostics[0].where) == (code, where)


def test_a_missing_file_and_a_newer_opset() -> None:
    with pytest.raises(TccError, match="E0801"):
        Runner("missing.onnx")
    newer = parsed("(float[1] x) => (float[1] y) { y = Relu(x) }")
    newer.opset_import[0].version = 99
    with pytest.raises(TccError, match=r"E0406.*Opset 99"):
        Runner(newer)


def test_a_failing_node_is_named() -> None:
    model = parsed("(float[n] x, int64[1] s) => (float[m] y) { [shape_it] y = Reshape(x, s) }")
    with pytest.raises(TccError) as caught:
        Runner(model).run({"x": np.ones(5, np.float32), "s": np.array([4])})
    (diagnostic,) = caught.value.diagnostics
    assert (diagnostic.code, diagnostic.where) == ("E0802", "g:shape_it [Reshape]")
    assert diagnostic.message.endswith("Input shape:{5}, requested shape:{4}")
    assert "onnxruntime_src" not in diagnostic.message


def test_wrong_data_is_the_users() -> None:
    model, _ = matrix_model()
    runner = Runner(model)
    with pytest.raises(TccError) as caught:
        runner.run({"z": np.ones(1)})
    assert caught.value.exit_code is Exit.DATA
    assert caught.value.diagnostics[0].notes == ("input 'x' is not given", "'z' is not an input")
    for wrong in (np.ones((1, 64)), np.ones((2, 64), np.float32)):
        with pytest.raises(TccError, match="E0602"):
            runner.run({"x": wrong})


def test_messages_lose_what_only_runtime_developers_read() -> None:
    long = (
        "[ONNXRuntimeError] : 1 : FAIL : Non-zero status code returned while running X node. Name:'n' Status Message: "
        "/src/a/helper.h:91 onnxruntime::Helper::Helper(const onnxruntime::Shape&, bool) size == 3 was false. Too big\n"
    )
    assert shortened(long) == "Too big"
    assert shortened("/src/b/pool.cc:110 Compute output must match (really)") == "output must match (really)"
    assert shortened("a" * 400) == "a" * 300 + "…"


_MEMORY = """
import resource
import numpy as np
from onnx import parser
from tcc.ir.execution import Runner
model = parser.parse_model('<ir_version: 10, opset_import: ["" : 21]> g (float[1,4000] x) => (float[1,4000] y)'
                           '{ a = MatMul(x, u) y = MatMul(a, v) }')
weights = {name: np.full((4000, 4000), 0.5, np.float32) for name in "uv"}
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
y, = Runner(model, weights=weights).run({"x": np.ones((1, 4000), np.float32)})
assert y[0, 0] == 4e6
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is counted in other units elsewhere")
def test_running_copies_no_weights() -> None:
    done = subprocess.run([sys.executable, "-c", _MEMORY], capture_output=True, text=True, check=True)
    # The two weights are 122 MiB; the session, its threads and the libraries that load late take about 30.
    assert float(done.stdout) < 61
