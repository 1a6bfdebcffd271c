"""A model in a newer opset of the default domain, by ONNX's own version converter."""

from __future__ import annotations

from collections.abc import Iterable

import onnx
import onnx_ir
from onnx import helper, version_converter

from tcc.ir import storage
from tcc.ir.importing import has_bodies
from tcc.ir.model import Model

_SMALL = 1024
"""Bytes up to which a constant is shown to the converter, whose adapters read shapes and axes."""


class ConversionError(Exception):
    """Why a model cannot be had in another opset."""


def newest_opset() -> int:
    """The newest opset that the installed ONNX knows."""
    return onnx.defs.onnx_opset_version()


def lowest_ir_version(opset: int) -> int:
    """The file format version that came with an opset."""
    return helper.find_min_ir_version_for([helper.make_opsetid("", opset)])


def converted(model: Model, opset: int) -> Model:
    """The model in a newer opset; large weights are shared with the given one, which is left as it is.

    The converter sees large weights as inputs of the graph, so that it does not copy them.

    Raises:
        ConversionError: the converter cannot do it, or what it makes is not valid.
    """
    if model.ir.functions:
        raise ConversionError("the model has functions")
    if any(has_bodies(node) for node in model.graph):
        raise ConversionError("the converter leaves the bodies of control flow as they are")
    proto, weights = model.stripped_proto(_SMALL)
    _weights_as_inputs(proto, weights.keys())
    try:
        made = version_converter.convert_version(proto, opset)
    except (RuntimeError, ValueError) as error:
        raise ConversionError(f"the converter fails: {str(error).splitlines()[0]}") from error
    made.ir_version = max(proto.ir_version, lowest_ir_version(opset))
    try:
        onnx.checker.check_model(made, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ConversionError(f"what the converter makes is not valid: {str(error).splitlines()[0]}") from error
    result = Model(onnx_ir.from_proto(made), model.source, files=model.files, notes=model.notes)
    _restore(result, model, weights.keys())
    if result.signature != model.signature:
        raise ConversionError("the converter changes the signature")
    return result


def _weights_as_inputs(proto: onnx.ModelProto, names: Iterable[str]) -> None:
    wanted = set(names)
    graph = proto.graph
    proto.ir_version = max(proto.ir_version, _OWN_INITIALIZERS)
    listed = {v.name for v in graph.input}
    for tensor in [t for t in graph.initializer if t.name in wanted]:
        if tensor.name not in listed:
            graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims)))
        graph.initializer.remove(tensor)


_OWN_INITIALIZERS = 4
"""The first IR version whose initialisers need not be inputs."""


def _restore(result: Model, model: Model, weights: Iterable[str]) -> None:
    """Give the converted model back its weights, and its nodes and values what the converter drops."""
    graph, own = result.graph, model.graph
    wanted = set(weights)
    inputs = {v.name: v for v in graph.inputs}
    graph.inputs[:] = [v for v in graph.inputs if v.name not in wanted or v.name in {w.name for w in own.inputs}]
    for name in own.initializers:
        if name in wanted:
            inputs[name].const_value = own.initializers[name].const_value
            graph.register_initializer(inputs[name])
    before = {v.name: node for node in own for v in node.outputs if v.name}
    for node in graph:
        old = next((before[v.name] for v in node.outputs if v.name in before), None)
        if old is not None:
            node.metadata_props.update(old.metadata_props)
            node.name, node.doc_string = old.name, old.doc_string
    for new, stated in ((graph.inputs, own.inputs), (graph.outputs, own.outputs)):
        for v, w in zip(new, stated, strict=False):
            # The converter's inference refines what is declared; the signature stays as it was.
            v.type, v.shape, v.doc_string = w.type, w.shape, w.doc_string
            v.metadata_props.update(w.metadata_props)
    result.ir.metadata_props.update(model.ir.metadata_props)
    graph.metadata_props.update(own.metadata_props)
    storage.spell_default_domain(result.ir)
