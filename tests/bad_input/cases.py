"""The corpus of bad inputs: one function a case, which writes the bad file and is decorated with what must be said."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

Build = Callable[[Path], Path]


@dataclass(frozen=True)
class Case:
    """A bad input: ``build`` writes it into a folder and gives its path."""

    name: str
    build: Build
    code: str
    says: tuple[str, ...]

    @property
    def exit_code(self) -> int:
        """The first two digits of the code are the exit code."""
        return int(self.code[1:3])


CASES: list[Case] = []


def case(code: str, *says: str) -> Callable[[Build], Build]:
    """Add a case: the code of the first diagnostic and texts that must be in the message, node names among them."""

    def add(build: Build) -> Build:
        CASES.append(Case(build.__name__, build, code, says))
        return build

    return add


def model(
    nodes: Sequence[NodeProto],
    *,
    inputs: Sequence[str] = ("x",),
    outputs: Sequence[str] = ("y",),
    weights: Sequence[TensorProto] = (),
    opset: int = 17,
    integers: Sequence[str] = (),
) -> onnx.ModelProto:
    """A model over float32[2,4] values; those in ``integers`` are int64."""

    def info(name: str) -> onnx.ValueInfoProto:
        kind = TensorProto.INT64 if name in integers else TensorProto.FLOAT
        return helper.make_tensor_value_info(name, kind, [2, 4])

    graph = helper.make_graph(nodes, "g", [info(n) for n in inputs], [info(n) for n in outputs], list(weights))
    # Not helper.make_model's own choice, which rejects versions that it does not know.
    made = onnx.ModelProto(ir_version=8, graph=graph)
    made.opset_import.add(domain="", version=opset)
    return made


def node(operator: str, inputs: str, outputs: str, name: str = "", **attributes: Any) -> NodeProto:
    """A node from space-separated names."""
    return helper.make_node(operator, inputs.split(), outputs.split(), name=name, **attributes)


def write(folder: Path, content: onnx.ModelProto | bytes, name: str = "model.onnx") -> Path:
    """Write the file of a case."""
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.SerializeToString())
    return path


def large_weight() -> TensorProto:
    """64 kB of weights, named w."""
    return numpy_helper.from_array(np.ones((4, 4096), np.float32), "w")


def with_external_data(folder: Path) -> tuple[Path, Path]:
    """A sound model whose weight lies in a file beside it; both paths."""
    made = model([node("MatMul", "x w", "y", "/head/MatMul")], weights=[large_weight()])
    del made.graph.output[0].type.tensor_type.shape.dim[:]
    made.graph.output[0].type.tensor_type.shape.dim.add(dim_value=2)
    made.graph.output[0].type.tensor_type.shape.dim.add(dim_value=4096)
    path = folder / "model.onnx"
    onnx.save(made, path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    return path, folder / "weights.bin"


@case("E0301", "text file")
def text_file(folder: Path) -> Path:
    return write(folder, b"This is my model.\nIt is very good.\n")


@case("E0301", "web page")
def web_page(folder: Path) -> Path:
    return write(folder, b"\n<!DOCTYPE html>\n<html><body>Sign in to download</body></html>")


@case("E0301", "Git LFS", "git lfs pull")
def git_lfs_pointer(folder: Path) -> Path:
    return write(folder, b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n")


@case("E0301", "pickle", "torch.onnx.export")
def pickle_file(folder: Path) -> Path:
    return write(folder, pickle.dumps({"weight": [1.0, 2.0]}, protocol=2))


@case("E0301", "PyTorch archive", "torch.onnx.export")
def pytorch_archive(folder: Path) -> Path:
    path = folder / "model.onnx"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("model/data.pkl", b"\x80\x02}q\x00.")
    return path


@case("E0301", "zip archive")
def zip_archive(folder: Path) -> Path:
    path = folder / "model.onnx"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("model.onnx", b"\x08\x08")
    return path


@case("E0301", "JSON file")
def json_in_a_binary_file(folder: Path) -> Path:
    return write(folder, b'{"irVersion": "8"}')


@case("E0301", "no ONNX protobuf")
def random_bytes(folder: Path) -> Path:
    return write(folder, np.random.default_rng(1).bytes(4000))


@case("E0301", "no ONNX protobuf")
def another_protobuf(folder: Path) -> Path:
    return write(folder, numpy_helper.from_array(np.ones(3, np.float32), "w").SerializeToString())


@case("E0302", "onnxtxt")
def damaged_onnx_text(folder: Path) -> Path:
    return write(folder, b"<ir_version: 8> g (float x) => (float y) { y = Relu(x", "model.onnxtxt")


@case("E0302", "json")
def damaged_onnx_json(folder: Path) -> Path:
    return write(folder, b'{"irVersion": "8", "graph": [', "model.onnxjson")


@case("E0302", "truncated")
def truncated_model(folder: Path) -> Path:
    whole = model([node("MatMul", "x w", "y", "mm")], weights=[large_weight()]).SerializeToString()
    return write(folder, whole[: len(whole) // 2])


@case("E0302", "not UTF-8")
def names_that_are_no_text(folder: Path) -> Path:
    sound = model([node("Relu", "x", "y", "relu-name")]).SerializeToString()
    return write(folder, sound.replace(b"relu-name", b"relu-nam\xff"))


@case("E0303", "empty")
def empty_file(folder: Path) -> Path:
    return write(folder, b"")


@case("E0304", "directory", "other.onnx")
def directory(folder: Path) -> Path:
    (folder / "models").mkdir()
    write(folder / "models", model([node("Relu", "x", "y")]), "other.onnx")
    return folder / "models"


@case("E0304", "SavedModel", "tf2onnx")
def tensorflow_saved_model(folder: Path) -> Path:
    (folder / "saved").mkdir()
    write(folder / "saved", b"\x08\x01", "saved_model.pb")
    return folder / "saved"


@case("E0221", "no such file", "model.onnx")
def missing_path(folder: Path) -> Path:
    write(folder, model([node("Relu", "x", "y")]))
    return folder / "modle.onnx"


@case("E0310", "empty")
def empty_graph(folder: Path) -> Path:
    return write(folder, model([], inputs=(), outputs=()))


@case("E0311", "/block/Add", "/block/Relu", "->")
def cyclic_graph(folder: Path) -> Path:
    cycle = [node("Add", "x b", "a", "/block/Add"), node("Relu", "a", "b", "/block/Relu"), node("Neg", "b", "y", "out")]
    return write(folder, model(cycle))


@case("E0311", "/self/Add")
def node_that_feeds_itself(folder: Path) -> Path:
    return write(folder, model([node("Add", "x y", "y", "/self/Add")]))


@case("E0312", "/stem/Conv", "'lost'", "/head/Add", "'gone'")
def inputs_nobody_produces(folder: Path) -> Path:
    nodes = [node("Relu", "lost", "a", "/stem/Conv"), node("Add", "a gone", "y", "/head/Add")]
    return write(folder, model(nodes))


@case("E0312", "/if/inner", "'lost'")
def subgraph_input_nobody_produces(folder: Path) -> Path:
    branches = [
        helper.make_graph(
            [node("Relu", name, "r", f"/if/{label}")], label, [], [helper.make_tensor_value_info("r", 1, [2, 4])]
        )
        for name, label in (("x", "fine"), ("lost", "inner"))
    ]
    choose = node("If", "c", "y", "/if", then_branch=branches[0], else_branch=branches[1])
    condition = numpy_helper.from_array(np.array(True), "c")
    return write(folder, model([choose], weights=[condition]))


@case("E0313", "'nowhere'")
def output_nobody_produces(folder: Path) -> Path:
    return write(folder, model([node("Relu", "x", "y", "relu")], outputs=("y", "nowhere")))


@case("E0314", "/a/Relu", "/b/Neg", "'y'")
def duplicate_value_names(folder: Path) -> Path:
    return write(folder, model([node("Relu", "x", "y", "/a/Relu"), node("Neg", "x", "y", "/b/Neg")]))


@case("E0314", "'w'")
def duplicate_initialisers(folder: Path) -> Path:
    one = numpy_helper.from_array(np.ones(4, np.float32), "w")
    return write(folder, model([node("Add", "x w", "y", "add")], weights=[one, one]))


@case("E0315", "/head/FusedGelu", "'FusedGelu'", "com.microsoft")
def unknown_operator(folder: Path) -> Path:
    return write(folder, model([node("FusedGelu", "x", "y", "/head/FusedGelu")]))


@case("E0316", "/norm/LayerNormalization", "17", "13")
def operator_newer_than_the_opset(folder: Path) -> Path:
    nodes = [node("LayerNormalization", "x w", "y", "/norm/LayerNormalization")]
    weight = numpy_helper.from_array(np.ones(4, np.float32), "w")
    return write(folder, model(nodes, weights=[weight], opset=13))


@case("E0317", "/up/Upsample", "removed")
def operator_that_was_removed(folder: Path) -> Path:
    scales = numpy_helper.from_array(np.ones(2, np.float32), "s")
    return write(folder, model([node("Upsample", "x s", "y", "/up/Upsample")], weights=[scales]))


@case("E0318", "/cast/Cast", "to")
def missing_attribute(folder: Path) -> Path:
    return write(folder, model([node("Cast", "x", "y", "/cast/Cast")]))


@case("E0318", "/act/Relu", "slope")
def unknown_attribute(folder: Path) -> Path:
    return write(folder, model([node("Relu", "x", "y", "/act/Relu", slope=0.1)]))


@case("E0319", "/sum/Add", "int64", "/other/Mul")
def wrong_types(folder: Path) -> Path:
    nodes = [
        node("Add", "x i", "y", "/sum/Add"),
        node("Neg", "x", "n", "/fine/Neg"),
        node("Mul", "x i", "z", "/other/Mul"),
    ]
    return write(folder, model(nodes, inputs=("x", "i"), outputs=("y", "z", "n"), integers=("i",)))


@case("E0319", "/mm/MatMul")
def wrong_shapes(folder: Path) -> Path:
    return write(folder, model([node("MatMul", "x x", "y", "/mm/MatMul")]))


@case("E0319", "/relu/Relu", "int64")
def wrong_declared_output_type(folder: Path) -> Path:
    return write(folder, model([node("Relu", "x", "y", "/relu/Relu")], integers=("y",)))


@case("E0319", "/relu/Relu", "(2) vs (3)")
def wrong_declared_output_shape(folder: Path) -> Path:
    made = model([node("Relu", "x", "y", "/relu/Relu")])
    made.graph.output[0].type.tensor_type.shape.dim[0].dim_value = 3
    return write(folder, made)


@case("E0319", "/split/Add")
def too_few_inputs(folder: Path) -> Path:
    return write(folder, model([node("Add", "x", "y", "/split/Add")]))


@case("E0320", "weights.bin", "'w'")
def missing_external_file(folder: Path) -> Path:
    path, data = with_external_data(folder)
    data.unlink()
    return path


@case("E0321", "weights.bin", "truncated")
def truncated_external_file(folder: Path) -> Path:
    path, data = with_external_data(folder)
    data.write_bytes(data.read_bytes()[:1000])
    return path


@case("E0322", "outside", "../weights.bin")
def external_file_outside_the_folder(folder: Path) -> Path:
    path, _ = with_external_data(folder)
    made = onnx.load(path, load_external_data=False)
    made.graph.initializer[0].external_data[0].value = "../weights.bin"
    return write(folder, made)


@case("E0323", "'my.company'", "/custom/Magic")
def domain_that_is_not_imported(folder: Path) -> Path:
    return write(folder, model([node("Magic", "x", "y", "/custom/Magic", domain="my.company")]))


@case("E0403", "opset 1 ", "convert")
def old_opset(folder: Path) -> Path:
    return write(folder, model([node("Relu", "x", "y", "relu")], opset=1))


@case("E0403", "IR version 2")
def old_ir_version(folder: Path) -> Path:
    made = model([node("Relu", "x", "y", "relu")])
    made.ir_version = 2
    return write(folder, made)


@case("E0404", "opset 999")
def opset_of_the_future(folder: Path) -> Path:
    return write(folder, model([node("Relu", "x", "y", "relu")], opset=999))


@case("E0404", "IR version 999")
def ir_version_of_the_future(folder: Path) -> Path:
    made = model([node("Relu", "x", "y", "relu")])
    made.ir_version = 999
    return write(folder, made)


@case("E0405", "sparse", "'w'")
def sparse_initialiser(folder: Path) -> Path:
    made = model([node("Add", "x w", "y", "add")])
    values = helper.make_tensor("w", TensorProto.FLOAT, [1], [2.0])
    indices = helper.make_tensor("i", TensorProto.INT64, [1], [3])
    made.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [4]))
    return write(folder, made)


@case("E0405", "map", "zipmap")
def map_output(folder: Path) -> Path:
    made = model([node("Relu", "x", "y", "relu")])
    made.graph.output[0].type.map_type.key_type = TensorProto.INT64
    return write(folder, made)
