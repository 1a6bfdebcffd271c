"""The Model: what it tells about a model, what it shares, and how it is written."""

from __future__ import annotations

import errno
import io
from pathlib import Path

import numpy as np
import onnx
import onnx_ir
import pytest
from onnx import TensorProto, helper, numpy_helper

from tcc.diagnostics import Exit, TccError
from tcc.frontends import load
from tcc.ir import saving, storage
from tcc.ir.checks import check, verify_signature
from tcc.ir.model import Model, Signature
from tcc.ir.structure import sort

RNG = np.random.default_rng(7)


def info(name: str, kind: int, shape: list[int | str | None] | None) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


def branch(label: str, operator: str) -> onnx.GraphProto:
    offset = numpy_helper.from_array(np.ones(4, np.float32), f"{label}_offset")
    nodes = [
        helper.make_node(operator, ["h"], [f"{label}_a"], name=f"{label}/{operator}"),
        helper.make_node("Add", [f"{label}_a", f"{label}_offset"], [f"{label}_out"], name=f"{label}/Add"),
    ]
    return helper.make_graph(nodes, label, [], [info(f"{label}_out", TensorProto.FLOAT, ["batch", 4])], [offset])


@pytest.fixture
def proto() -> onnx.ModelProto:
    """Control flow, a function, a custom domain, a Constant node, symbolic dimensions, int4 and bfloat16 weights."""
    weights = [
        numpy_helper.from_array(RNG.standard_normal((64, 4)).astype(np.float32), "w"),
        helper.make_tensor("half", TensorProto.BFLOAT16, [600], RNG.standard_normal(600).tolist()),
        helper.make_tensor("packed", TensorProto.INT4, [3001], RNG.integers(-8, 8, 3001).tolist()),
        helper.make_tensor("typed", TensorProto.FLOAT, [400], RNG.standard_normal(400).tolist()),
        helper.make_tensor("scale", TensorProto.FLOAT, [4], [1.0, 2.0, 3.0, 4.0]),
        TensorProto(name="words", data_type=TensorProto.STRING, dims=[2], string_data=[b"yes", b"no"]),
    ]
    nodes = [
        helper.make_node("Constant", [], ["two"], name="two", value=numpy_helper.from_array(np.full(4, 2, np.float32))),
        helper.make_node("MatMul", ["x", "w"], ["g"], name="fc", doc_string="the head"),
        helper.make_node("twice", ["g", "two"], ["h"], name="twice", domain="my.company"),
        helper.make_node(
            "If", ["flag"], ["y"], name="if", then_branch=branch("t", "Neg"), else_branch=branch("e", "Abs")
        ),
        helper.make_node("Cast", ["half"], ["hf"], name="cast_half", to=TensorProto.FLOAT),
        helper.make_node("Cast", ["packed"], ["pf"], name="cast_packed", to=TensorProto.FLOAT),
        helper.make_node("ReduceSum", ["typed"], ["tf"], name="sum", keepdims=0),
        helper.make_node("Magic", ["words", "scale"], ["z"], name="magic", domain="com.elsewhere"),
    ]
    outputs = [
        info("y", TensorProto.FLOAT, ["batch", 4]), info("hf", TensorProto.FLOAT, [600]),
        info("pf", TensorProto.FLOAT, [3001]), info("tf", TensorProto.FLOAT, []), info("z", TensorProto.FLOAT, [None]),
    ]  # fmt: skip
    inputs = [
        info("x", TensorProto.FLOAT, ["batch", 64]), info("flag", TensorProto.BOOL, []),
        info("scale", TensorProto.FLOAT, [4]),
    ]  # fmt: skip
    graph = helper.make_graph(nodes, "main", inputs, outputs, weights)
    body = [helper.make_node("Mul", ["p", "q"], ["r"], name="body/Mul")]
    default = [helper.make_opsetid("", 21)]
    imports = [*default, helper.make_opsetid("my.company", 1), helper.make_opsetid("com.elsewhere", 2)]
    made = helper.make_model(
        graph, functions=[helper.make_function("my.company", "twice", ["p", "q"], ["r"], body, default)],
        opset_imports=imports, ir_version=10, producer_name="tests",
    )  # fmt: skip
    helper.set_model_props(made, {"author": "someone"})
    return made


@pytest.fixture
def model(proto: onnx.ModelProto) -> Model:
    return load(proto)


def weights_of(proto: onnx.ModelProto) -> dict[str, bytes]:
    return {t.name: content(t) for t in proto.graph.initializer}


def content(tensor: TensorProto) -> bytes:
    return b",".join(tensor.string_data) or numpy_helper.to_array(tensor).tobytes()


def test_signature_leaves_out_initialisers_that_are_inputs(model: Model) -> None:
    assert model.signature == Signature(
        (("x", "float32[batch,64]"), ("flag", "bool[]")),
        (
            ("y", "float32[batch,4]"), ("hf", "float32[600]"), ("pf", "float32[3001]"), ("tf", "float32[]"),
            ("z", "float32[?]"),
        ),
    )  # fmt: skip
    assert model.overridable == ("scale",)
    assert [note.code for note in model.notes] == ["N0303"]


def test_freezing_overridable_initialisers_keeps_their_values(model: Model, proto: onnx.ModelProto) -> None:
    before = model.signature
    model.freeze_overridable()
    assert model.overridable == ()
    assert model.signature == before
    frozen = model.to_proto()
    assert [value.name for value in frozen.graph.input] == ["x", "flag"]
    assert weights_of(frozen) == weights_of(proto)
    check(model)


def test_signatures_of_sequences_and_unknown_ranks() -> None:
    sequence = helper.make_tensor_sequence_value_info("s", TensorProto.FLOAT, None)
    optional = helper.make_value_info("o", helper.make_optional_type_proto(sequence.type))
    graph = helper.make_graph([helper.make_node("Identity", ["s"], ["t"])], "g", [sequence, optional], [
        helper.make_tensor_sequence_value_info("t", TensorProto.FLOAT, ["n", 2]),
    ])  # fmt: skip
    model = load(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8))
    assert model.signature.inputs == (("s", "seq(float32[...])"), ("o", "optional(seq(float32[...]))"))
    assert model.signature.outputs == (("t", "seq(float32[n,2])"),)


def test_counts_reach_into_subgraphs_and_functions(model: Model) -> None:
    assert model.operator_counts == {
        "Add": 2, "Cast": 2, "Abs": 1, "If": 1, "MatMul": 1, "Mul": 1, "Neg": 1, "ReduceSum": 1,
        "com.elsewhere::Magic": 1, "my.company::twice": 1,
    }  # fmt: skip
    assert model.node_count == 12
    assert model.constant_node_count == 1
    elements = {"w": 256, "half": 600, "packed": 3001, "typed": 400, "scale": 4, "words": 2, "offsets": 8, "two": 4}
    assert model.parameter_count == sum(elements.values())
    assert (model.opset, model.ir_version) == (21, 10)
    assert model.opset_imports == {"": 21, "my.company": 1, "com.elsewhere": 2}


def test_parameter_bytes_pack_small_types() -> None:
    weight = helper.make_tensor("w", TensorProto.INT4, [3], [1, 2, 3])
    node = helper.make_node("Cast", ["w"], ["y"], to=TensorProto.FLOAT)
    graph = helper.make_graph([node], "g", [], [info("y", TensorProto.FLOAT, [3])], [weight])
    model = load(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10))
    assert model.parameter_bytes == 2


def test_a_clone_is_edited_alone_and_shares_the_weights(model: Model) -> None:
    clone = model.clone()
    before = model.to_bytes()
    assert clone.to_bytes() == before
    assert clone.graph.initializers["w"].const_value is model.graph.initializers["w"].const_value
    clone.graph.node("fc").name = "renamed"
    clone.graph.initializers["w"].const_value = onnx_ir.tensor(np.zeros((64, 4), np.float32))
    assert model.to_bytes() == before
    assert clone.to_bytes() != before


def test_weights_cannot_be_written_into(model: Model) -> None:
    tensor = model.graph.initializers["w"].const_value
    assert tensor is not None
    with pytest.raises(ValueError, match="read-only"):
        tensor.numpy()[0, 0] = 1


def test_serialisation_is_what_protobuf_writes_and_always_the_same(model: Model) -> None:
    expected = model.to_proto().SerializeToString(deterministic=True)
    assert model.to_bytes() == expected
    assert load(expected).to_bytes() == expected
    assert load(model.clone()).to_bytes() == expected


def test_stripping_hands_out_the_large_native_weights(model: Model, proto: onnx.ModelProto) -> None:
    before = model.to_bytes()
    stripped, weights = model.stripped_proto(threshold_bytes=1024)
    assert list(weights) == ["w", "typed"]
    own = model.graph.initializers["w"].const_value
    assert own is not None
    assert np.shares_memory(weights["w"], own.numpy())
    by_name = {tensor.name: tensor for tensor in stripped.graph.initializer}
    assert by_name["w"].data_location == TensorProto.EXTERNAL
    assert by_name["w"].external_data[0].value == storage.IN_MEMORY
    assert not by_name["w"].raw_data
    inside = [tensor.name for tensor in stripped.graph.initializer if tensor.name not in weights]
    assert {n: weights_of(proto)[n] for n in inside} == {n: content(by_name[n]) for n in inside}
    assert model.to_bytes() == before
    assert list(model.stripped_proto(threshold_bytes=1)[1]) == ["w", "typed", "scale"]


def test_a_stripped_model_runs_with_its_weights() -> None:
    from tcc.ir.execution import Runner

    weight = RNG.standard_normal((64, 32)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])], "g", [info("x", TensorProto.FLOAT, ["n", 64])],
        [info("y", TensorProto.FLOAT, ["n", 32])], [numpy_helper.from_array(weight, "w")],
    )  # fmt: skip
    model = load(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8))
    stripped, weights = model.stripped_proto()
    x = RNG.standard_normal((3, 64)).astype(np.float32)
    (y,) = Runner(stripped, weights=weights).run({"x": x})
    np.testing.assert_allclose(y, x @ weight, rtol=1e-4, atol=1e-4)


def test_saving_writes_the_bytes_and_nothing_else(model: Model, tmp_path: Path) -> None:
    path = tmp_path / "out.onnx"
    assert model.save(path) == (path,)
    assert path.read_bytes() == model.to_bytes()
    assert list(tmp_path.iterdir()) == [path]


def test_saving_external_data_puts_large_weights_beside(model: Model, proto: onnx.ModelProto, tmp_path: Path) -> None:
    path, data = tmp_path / "out.onnx", tmp_path / "out.onnx.data"
    assert model.save(path, external_data=True) == (path, data)
    assert sorted(tmp_path.iterdir()) == [path, data]
    assert weights_of(onnx.load(path)) == weights_of(proto)
    external = [t for t in onnx.load(path, load_external_data=False).graph.initializer if t.external_data]
    assert [t.name for t in external] == ["w", "half", "packed", "typed"]
    assert all(int(entry.value) % 4096 == 0 for t in external for entry in t.external_data if entry.key == "offset")
    again = load(path)
    assert weights_of(again.to_proto()) == weights_of(proto)
    assert again.files == (path, data)
    again.save(tmp_path / "single.onnx", external_data=False)
    assert weights_of(onnx.load(tmp_path / "single.onnx")) == weights_of(proto)


def test_a_model_too_large_for_one_file_is_split(model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(saving, "PROTOBUF_LIMIT", 4000)
    monkeypatch.setattr(saving, "_HEADROOM", 1000)
    assert len(model.save(tmp_path / "out.onnx")) == 2
    with pytest.raises(TccError, match="E0225"):
        model.save(tmp_path / "single.onnx", external_data=False)
    with pytest.raises(TccError, match="E0225"):
        model.to_bytes()
    assert not (tmp_path / "single.onnx").exists()


@pytest.mark.parametrize("external_data", [False, True])
def test_a_failed_write_leaves_what_was_there(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, external_data: bool
) -> None:
    path = tmp_path / "out.onnx"
    path.write_bytes(b"precious")

    def full_disk(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full_disk)
    with pytest.raises(TccError, match="No space left") as caught:
        model.save(path, external_data=external_data)
    assert caught.value.exit_code == Exit.USAGE
    assert path.read_bytes() == b"precious"
    assert list(tmp_path.iterdir()) == [path]


def test_an_interrupted_write_leaves_nothing(tmp_path: Path) -> None:
    def interrupted() -> None:
        with saving.replacing(tmp_path / "out.onnx") as stream:
            stream.write(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("output", ["model.onnx", "model.onnx.data", "link.onnx"])
def test_the_input_is_never_overwritten(model: Model, tmp_path: Path, output: str) -> None:
    model.save(tmp_path / "model.onnx", external_data=True)
    (tmp_path / "link.onnx").symlink_to(tmp_path / "model.onnx")
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    again = load(tmp_path / "model.onnx")
    with pytest.raises(TccError, match="E0224") as caught:
        again.save(tmp_path / output)
    assert caught.value.exit_code == Exit.USAGE
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


def test_files_keep_their_mode_and_links_stay_links(model: Model, tmp_path: Path) -> None:
    (tmp_path / "real.onnx").write_bytes(b"")
    (tmp_path / "real.onnx").chmod(0o640)
    (tmp_path / "link.onnx").symlink_to("real.onnx")
    model.save(tmp_path / "link.onnx")
    assert (tmp_path / "link.onnx").is_symlink()
    assert (tmp_path / "real.onnx").read_bytes() == model.to_bytes()
    assert (tmp_path / "real.onnx").stat().st_mode & 0o777 == 0o640


def test_graphsurgeon_takes_the_model(model: Model) -> None:
    graph = model.to_gs()
    assert {node.op for node in graph.nodes} >= {"MatMul", "twice", "If", "Magic"}
    assert [t.name for t in graph.outputs] == ["y", "hf", "pf", "tf", "z"]


BEFORE = Signature((("a", "float32[2]"), ("b", "int64[]")), (("y", "float32[2]"), ("z", "float32[3]")))


@pytest.mark.parametrize(
    ("after", "problems"),
    [
        (BEFORE, []),
        (Signature(BEFORE.inputs[:1], BEFORE.outputs), ["input 'b' is gone"]),
        (Signature((*BEFORE.inputs, ("c", "bool[]")), BEFORE.outputs), ["input 'c' is new"]),
        (Signature(BEFORE.inputs, BEFORE.outputs[::-1]), ["outputs are in the order z, y, should be y, z"]),
        (
            Signature(BEFORE.inputs, (("y", "float16[2]"), ("z", "float32[3]"))),
            ["output 'y' is float16[2], should be float32[2]"],
        ),
        (Signature(BEFORE.inputs, (("q", "float32[2]"),)), [
            "output 'y' is gone", "output 'z' is gone", "output 'q' is new",
        ]),
    ],
)  # fmt: skip
def test_signatures_are_compared(after: Signature, problems: list[str]) -> None:
    assert verify_signature(BEFORE, after) == problems


def test_checking_finds_what_a_pass_has_broken(model: Model) -> None:
    check(model)
    model.graph.node("fc").replace_input_with(0, onnx_ir.Value(name="lost"))
    with pytest.raises(TccError, match="'lost' is produced by nothing") as caught:
        check(model)
    assert "fc [MatMul]" in str(caught.value)


def test_checking_finds_external_data_that_has_gone(model: Model, tmp_path: Path) -> None:
    model.save(tmp_path / "m.onnx", external_data=True)
    again = load(tmp_path / "m.onnx")
    (tmp_path / "m.onnx.data").unlink()
    with pytest.raises(TccError, match="E0320"):
        check(again)


def test_nodes_are_sorted_no_more_than_needed() -> None:
    names = ["c", "a", "free", "b"]
    nodes = [
        helper.make_node("Relu", ["vb"], ["y"], name="c"), helper.make_node("Relu", ["x"], ["va"], name="a"),
        helper.make_node("Neg", ["x"], ["n"], name="free"), helper.make_node("Relu", ["va"], ["vb"], name="b"),
    ]  # fmt: skip
    graph = helper.make_graph(nodes, "g", [], [])
    proto = helper.make_model(graph)
    assert [node.name for node in proto.graph.node] == names
    assert sort(proto)
    assert [node.name for node in proto.graph.node] == ["a", "free", "b", "c"]
    assert not sort(proto)


def test_the_streamed_file_equals_the_bytes_for_every_length_of_weight() -> None:
    for elements in (255, 256, 257, 4000, 70000):
        weight = numpy_helper.from_array(np.arange(elements, dtype=np.float32), "w")
        weight.doc_string = "after the data"
        graph = helper.make_graph(
            [helper.make_node("Neg", ["w"], ["y"])], "g", [], [info("y", TensorProto.FLOAT, [elements])], [weight]
        )
        model = load(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8))
        written = io.BytesIO(model.to_bytes()).getvalue()
        assert written == model.to_proto().SerializeToString(deterministic=True)
