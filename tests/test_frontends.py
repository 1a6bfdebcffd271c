"""Frontends: every kind of source gives the same model, weights byte for byte, and stays as it was."""

from __future__ import annotations

import mmap
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnx_ir
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

import tcc
from tcc.frontends import _protobuf, load
from tcc.ir.model import Model
from tests.bad_input.cases import model as small_model
from tests.bad_input.cases import node, with_external_data

LIGHT = sorted((Path(onnx.__file__).parent / "backend/test/data/light").glob("*.onnx"))
CONVERTED = sorted((Path(onnx.__file__).parent / "backend/test/data").glob("*/*/model.onnx"))
RNG = np.random.default_rng(3)


@pytest.fixture
def proto() -> onnx.ModelProto:
    """A model with symbolic dimensions, a shared weight, a subgraph and a weight large enough to leave the message."""
    weight = numpy_helper.from_array(RNG.standard_normal((32, 32)).astype(np.float32), "w")
    body = helper.make_graph(
        [helper.make_node("MatMul", ["v", "w"], ["next"], name="body/MatMul")], "body",
        [helper.make_tensor_value_info("v", TensorProto.FLOAT, ["n", 32])],
        [helper.make_tensor_value_info("next", TensorProto.FLOAT, ["n", 32])],
    )  # fmt: skip
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["a"], name="first"),
        helper.make_node("MatMul", ["a", "w"], ["b"], name="second"),
        helper.make_node("Scan", ["b", "s"], ["c", "y"], name="scan", num_scan_inputs=1, body=_scan_body(body)),
    ]
    scanned = numpy_helper.from_array(RNG.standard_normal((5, 2)).astype(np.float32), "s")
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 32])],
        [
            helper.make_tensor_value_info("c", TensorProto.FLOAT, ["n", 32]),
            helper.make_tensor_value_info("y", TensorProto.FLOAT, [5, 2]),
        ],
        [weight, scanned],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def _scan_body(body: onnx.GraphProto) -> onnx.GraphProto:
    body.input.append(helper.make_tensor_value_info("row", TensorProto.FLOAT, [2]))
    body.node.append(helper.make_node("Neg", ["row"], ["negated"], name="body/Neg"))
    body.output.append(helper.make_tensor_value_info("negated", TensorProto.FLOAT, [2]))
    return body


def normal(proto: onnx.ModelProto) -> bytes:
    """The model without what says nothing: the order of value infos, empty texts, the types of initialisers."""
    copy = onnx.ModelProto.FromString(proto.SerializeToString())
    _normalise(copy)
    for graph in (copy.graph, *(a.g for n in copy.graph.node for a in n.attribute if a.HasField("g"))):
        known = {t.name for t in graph.initializer}
        infos = sorted((v for v in graph.value_info if v.name not in known), key=lambda v: v.name)
        kept = [onnx.ValueInfoProto.FromString(v.SerializeToString()) for v in infos]
        del graph.value_info[:]
        graph.value_info.extend(kept)
    if not copy.model_version:
        copy.ClearField("model_version")
    data: bytes = copy.SerializeToString(deterministic=True)
    return data


def _normalise(message: onnx.ModelProto | onnx.GraphProto | onnx.NodeProto) -> None:
    for field, value in message.ListFields():
        if field.message_type is not None:
            for item in value if field.is_repeated else [value]:
                _normalise(item)
        elif value == "":
            message.ClearField(field.name)


def graphsurgeon(proto: onnx.ModelProto) -> object:
    import onnx_graphsurgeon

    return onnx_graphsurgeon.import_onnx(proto)


def source_file(proto: onnx.ModelProto, folder: Path, ending: str) -> Path:
    path = folder / f"model.{ending}"
    if ending == "onnxtxt":
        path.write_text(onnx.printer.to_text(proto))
    else:
        onnx.save(proto, path)
    return path


def test_memory_sources_give_the_same_model(proto: onnx.ModelProto) -> None:
    expected, before = normal(proto), proto.SerializeToString(deterministic=True)
    data = proto.SerializeToString()
    for source in (proto, data, bytearray(data), onnx_ir.from_proto(proto), load(proto)):
        assert normal(load(source).to_proto()) == expected, type(source)
    assert proto.SerializeToString(deterministic=True) == before


@pytest.mark.parametrize("ending", ["onnx", "pb", "textproto", "json", "onnxjson"])
def test_files_give_the_same_model_and_stay_as_they_are(proto: onnx.ModelProto, tmp_path: Path, ending: str) -> None:
    path = source_file(proto, tmp_path, ending)
    content = path.read_bytes()
    path.chmod(0o444)
    for source in (path, str(path)):
        model = load(source)
        assert normal(model.to_proto()) == normal(proto)
        assert model.source == str(path)
        assert model.files == (path,)
    assert path.read_bytes() == content
    assert list(tmp_path.iterdir()) == [path]


def test_onnx_text_is_read(tmp_path: Path) -> None:
    path = tmp_path / "model.onnxtxt"
    path.write_text('<ir_version: 8, opset_import: ["" : 17]> g (float[N,4] x) => (float[N,4] y) { y = Relu(x) }')
    model = load(path)
    assert model.operator_counts == {"Relu": 1}
    assert model.signature.inputs == (("x", "float32[N,4]"),)


def test_graphsurgeon_round_trip_keeps_weights_and_signature(proto: onnx.ModelProto) -> None:
    graph = graphsurgeon(proto)
    model = load(graph)
    assert model.signature == load(proto).signature
    again = load(model.to_gs())
    for other in (model, again):
        assert {t.name: t.raw_data for t in other.to_proto().graph.initializer} == {
            t.name: t.raw_data for t in proto.graph.initializer
        }
        assert other.operator_counts == {"MatMul": 3, "Neg": 1, "Scan": 1}


def test_a_model_converts_to_every_kind_and_back(proto: onnx.ModelProto) -> None:
    model = load(proto)
    expected = model.to_bytes()
    for form in (model.to_proto(), model.to_bytes(), model.ir, model):
        assert load(form).to_bytes() == expected


def test_nothing_of_the_source_is_shared_but_tensors(proto: onnx.ModelProto) -> None:
    ir = onnx_ir.from_proto(proto)
    model = load(ir)
    model.graph.node("first").name = "renamed"
    assert ir.graph.node("first").name == "first"
    taken = load(proto)
    initialiser = taken.graph.initializers["w"]
    initialiser.name = "renamed"
    taken.to_bytes()
    assert proto.graph.initializer[0].name == "w"


@pytest.mark.parametrize("path", LIGHT, ids=lambda p: p.stem)
def test_onnx_own_models_round_trip(path: Path) -> None:
    assert normal(load(path).to_proto()) == normal(onnx.load(path))


def test_onnx_converted_models_round_trip() -> None:
    read = [path for path in CONVERTED if onnx.load(path).opset_import[0].version >= 7]
    assert len(read) > 20
    for path in read:
        assert normal(load(path).to_proto()) == normal(onnx.load(path)), path


def test_the_zoo_round_trips(zoo: Path) -> None:
    paths = sorted(zoo.glob("*/model.onnx"))
    assert paths
    for path in paths:
        model = load(path)
        assert normal(model.to_proto()) == normal(onnx.load(path)), path
        assert len(model.to_bytes()) <= path.stat().st_size


@pytest.mark.parametrize("opset", range(7, onnx.defs.onnx_opset_version() + 1))
def test_every_opset_is_read(opset: int) -> None:
    made = small_model([node("Add", "x x", "y", "add")], opset=opset)
    made.ir_version = 3
    model = load(made)
    assert (model.opset, model.ir_version) == (opset, 3)
    assert normal(model.to_proto()) == normal(made)


def test_ir_version_3_lists_its_initialisers_as_inputs_without_a_note() -> None:
    weight = numpy_helper.from_array(np.ones(4, np.float32), "w")
    made = small_model([node("Add", "x w", "y", "add")], weights=[weight])
    made.ir_version = 3
    made.graph.input.append(helper.make_tensor_value_info("w", TensorProto.FLOAT, [4]))
    model = load(made)
    assert model.overridable == ("w",)
    assert model.notes == ()
    assert [name for name, _ in model.signature.inputs] == ["x"]


def test_the_default_domain_has_two_names() -> None:
    made = small_model([node("Relu", "x", "y", "relu", domain="ai.onnx")])
    made.opset_import[0].domain = "ai.onnx"
    for source in (made, onnx_ir.from_proto(made)):
        model = load(source)
        assert model.opset == 17
        assert model.operator_counts == {"Relu": 1}


def test_unsorted_nodes_are_sorted_with_a_note() -> None:
    made = small_model([node("Relu", "a", "y", "second"), node("Neg", "x", "a", "first")])
    model = load(made)
    assert [n.name for n in model.graph] == ["first", "second"]
    assert [note.code for note in model.notes] == ["N0301"]


def test_results_that_are_not_optional_are_named_with_a_note() -> None:
    """ONNX's checker lets a part of a Split go without a name; ONNX Runtime ends with a segmentation fault."""
    split = helper.make_node("Split", ["x"], ["a", ""], name="parts")
    made = small_model([split, node("Concat", "a a", "parts_1", axis=0), node("Relu", "parts_1", "y")])
    model = load(made)
    assert [d.code for d in model.notes] == ["N0306"]
    assert [v.name for v in model.graph[0].outputs] == ["a", "parts_1_1"]


def test_stale_types_of_inner_values_are_dropped_with_a_note() -> None:
    made = small_model([node("Relu", "x", "a", "first"), node("Neg", "a", "y", "second")])
    made.graph.value_info.append(helper.make_tensor_value_info("a", TensorProto.FLOAT, [1, 4]))
    model = load(made)
    assert [note.code for note in model.notes] == ["N0304"]
    assert not model.to_proto().graph.value_info


@pytest.mark.parametrize("declared", [["batch"], None])
def test_an_output_that_is_declared_in_part_may_be_wrong(declared: list[str] | None) -> None:
    made = small_model([node("Relu", "x", "y", "only")])
    made.graph.output[0].CopyFrom(helper.make_tensor_value_info("y", TensorProto.FLOAT, declared))
    model = load(made)
    assert [note.code for note in model.notes] == ["N0305"]
    result = tcc.compile(made, 2, measure=False)
    assert result.model.to_proto().graph.output[0] == made.graph.output[0]


def test_training_information_is_left_out_with_a_note() -> None:
    made = small_model([node("Relu", "x", "y", "relu")])
    made.training_info.add()
    assert [note.code for note in load(made).notes] == ["N0302"]


def test_external_data_is_mapped_and_found_from_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, data = with_external_data(tmp_path)
    monkeypatch.chdir(tmp_path.parent)
    for source in (path, Path(tmp_path.name) / path.name):
        model = load(source)
        tensor = model.graph.initializers["w"].const_value
        assert isinstance(tensor, onnx_ir.ExternalTensor)
        assert isinstance(tensor.numpy().base, mmap.mmap | np.ndarray)
        assert tensor.raw is not None
        assert numpy_helper.to_array(model.to_proto().graph.initializer[0]).tobytes() == data.read_bytes()
        assert model.files == (path, data)


def test_external_data_is_found_through_links_of_a_download_cache(tmp_path: Path) -> None:
    (tmp_path / "blobs").mkdir()
    (tmp_path / "snapshot").mkdir()
    path, data = with_external_data(tmp_path)
    for file in (path, data):
        blob = file.rename(tmp_path / "blobs" / f"sha-{file.stem}")
        (tmp_path / "snapshot" / file.name).symlink_to(blob)
    content = (tmp_path / "blobs" / "sha-weights").read_bytes()
    model = load(tmp_path / "snapshot" / "model.onnx")
    assert model.to_proto().graph.initializer[0].raw_data == content


def test_external_data_of_constant_nodes_is_read(tmp_path: Path) -> None:
    value = numpy_helper.from_array(np.arange(8, dtype=np.float32).reshape(2, 4))
    made = small_model([helper.make_node("Constant", [], ["y"], name="const", value=value)], inputs=())
    path = tmp_path / "model.onnx"
    onnx.save(
        made, path, save_as_external_data=True, location="c.bin", size_threshold=0, convert_attribute=True
    )  # fmt: skip
    model = load(path)
    (tmp_path / "c.bin").unlink()
    attribute = model.to_proto().graph.node[0].attribute[0]
    np.testing.assert_array_equal(numpy_helper.to_array(attribute.t), numpy_helper.to_array(value))


def test_weights_leave_the_message_once_and_aligned(proto: onnx.ModelProto, tmp_path: Path) -> None:
    for shift in range(8):
        proto.producer_name = "x" * shift
        model = load(source_file(proto, tmp_path, "onnx"))
        tensor = model.graph.initializers["w"].const_value
        assert isinstance(tensor, onnx_ir.Tensor)
        assert tensor.numpy().flags.aligned
        assert tensor.numpy() is tensor.numpy()


@given(
    dtype=st.sampled_from(["float32", "float16", "float64", "int8", "uint8", "int64", "bool", "uint16"]),
    shape=st.lists(st.integers(0, 40), max_size=3),
    seed=st.integers(0, 99),
)
def test_the_reader_agrees_with_protobuf(dtype: str, shape: list[int], seed: int) -> None:
    array = np.random.default_rng(seed).integers(0, 2, shape).astype(dtype)
    kind = helper.np_dtype_to_tensor_dtype(array.dtype)
    made = small_model([node("Identity", "w", "y", "id")], inputs=(), weights=[numpy_helper.from_array(array, "w")])
    made.graph.output[0].CopyFrom(helper.make_tensor_value_info("y", kind, array.shape))
    data = made.SerializeToString()
    proto, weights = _protobuf.parse(data, lambda at, kind, count: np.frombuffer(data, kind, count, at).copy())
    assert ("w" in weights) == (array.nbytes >= _protobuf.THRESHOLD)
    assert [t.name for t in proto.graph.initializer] == ["w"]
    assert load(data).to_bytes() == load(made).to_bytes()
    np.testing.assert_array_equal(numpy_helper.to_array(load(data).to_proto().graph.initializer[0]), array)


def test_accepting_imports_no_library() -> None:
    code = """
import sys
import tcc.frontends
for frontend in tcc.frontends.frontends():
    frontend.accepts(3.14)
print(sorted({"onnx", "onnx_ir", "onnx_graphsurgeon", "numpy"} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_loading_a_file_does_not_import_graphsurgeon(proto: onnx.ModelProto, tmp_path: Path) -> None:
    path = source_file(proto, tmp_path, "onnx")
    code = "import sys, tcc.frontends; tcc.frontends.load(sys.argv[1]); print('onnx_graphsurgeon' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_a_loaded_model_is_a_model(proto: onnx.ModelProto) -> None:
    model = load(proto)
    assert isinstance(model, Model)
    assert load(model) is not model
