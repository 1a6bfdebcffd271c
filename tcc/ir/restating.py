"""States a model in an older opset where that says the same, word by word."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import onnx
import onnx_ir
from onnx.defs import OpSchema

from tcc.ir.model import Model, dtype_name, tensor_type

_SETTLED = 13
"""The opset from which on a version that takes the same inputs and attributes and is worded the same means the same."""
_REWORDED = frozenset({"Add", "Div", "Dropout", "Mul", "PRelu", "Squeeze", "Sub", "Transpose", "Unsqueeze"})
"""Operators whose later versions say in other words what they are, and take more types, and nothing else."""


def restated(model: Model, opset: int, ir_version: int) -> bool:
    """Write a model's version of the default domain as an older one, in place, where each node means the same in both.

    The version is all that changes. Whether it is all that has to follows from the schemas of each node's operator in
    both versions: the same inputs, outputs and attributes, and no word about another meaning; and the older one takes
    the types that are given. Whoever doubts converts the model anew.

    Args:
        model: is changed only if the answer is yes.
        opset: the older version.
        ir_version: the file format's version to go with it.
    """
    if opset < _SETTLED or model.ir.functions:
        return False
    if not all(_says_the_same(node, model.opset, opset) for node in model.nodes()):
        return False
    model.graph.opset_imports[""] = opset
    model.ir.ir_version = ir_version
    for node in model.nodes():
        if node.version is not None and not node.domain:
            node.version = opset
    return True


def _says_the_same(node: onnx_ir.Node, newer: int, older: int) -> bool:
    if node.domain:
        return True
    if (schema := _common(node.op_type, newer, older)) is None:
        return False
    given = [*zip(_formals(schema.inputs, len(node.inputs)), node.inputs, strict=True)]
    given += zip(_formals(schema.outputs, len(node.outputs)), node.outputs, strict=True)
    return all(formal is not None and _takes(formal, v) for formal, v in given)


def _formals(formals: Sequence[OpSchema.FormalParameter], count: int) -> list[OpSchema.FormalParameter | None]:
    """The formal parameter of each actual one; the last one may stand for many."""
    variadic = bool(formals) and formals[-1].option == OpSchema.FormalParameterOption.Variadic
    padding = [formals[-1] if variadic else None] * (count - len(formals))
    return [*formals[:count], *padding]


def _takes(formal: OpSchema.FormalParameter, value: onnx_ir.Value | None) -> bool:
    if value is None or (not value.name and not value.uses()):
        return True
    kind = tensor_type(value)
    return kind is not None and kind.dtype in _dtypes(tuple(sorted(formal.types)))


@cache
def _dtypes(types: tuple[str, ...]) -> frozenset[str]:
    tensors = [text.removeprefix("tensor(").removesuffix(")") for text in types if text.startswith("tensor(")]
    return frozenset(dtype_name(onnx_ir.DataType[name.upper()]) for name in tensors if name.upper() in _KINDS)


_KINDS = frozenset(kind.name for kind in onnx_ir.DataType)


@cache
def _common(operator: str, newer: int, older: int) -> OpSchema | None:
    """The older schema of an operator, where the newer one means the same; None where it does not, or there is none."""
    try:
        new, old = (onnx.defs.get_schema(operator, version) for version in (newer, older))
    except onnx.defs.SchemaError:
        return None
    if new.since_version == old.since_version:
        return old
    same = _form(new) == _form(old) and (operator in _REWORDED or _words(new) == _words(old))
    return old if same else None


def _form(schema: OpSchema) -> tuple[object, ...]:
    attributes = [
        (name, str(a.type), a.required, a.default_value.SerializeToString(deterministic=True))
        for name, a in sorted(schema.attributes.items())
    ]
    values = [(p.name, str(p.option), p.is_homogeneous, p.min_arity) for p in (*schema.inputs, *schema.outputs)]
    return tuple(attributes), len(schema.inputs), tuple(values)


def _words(schema: OpSchema) -> tuple[str, ...]:
    attributes = [a.description for _, a in sorted(schema.attributes.items())]
    return (schema.doc or "", *(p.description for p in (*schema.inputs, *schema.outputs)), *attributes)
