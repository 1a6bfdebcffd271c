"""Node attributes as one canonical text key, and back."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import cache, lru_cache
from typing import Any

import numpy as np
import onnx
import onnx_ir

from tcc.ir import facts

CARRIED = frozenset({"GRU", "LSTM", "RNN"})
"""Operators that rules name although no constructor has them: they are told by the keys of carried nodes."""
Plain = int | float | str | list[int] | list[float] | list[str]

_PLAIN = {
    onnx_ir.AttributeType.INT: "int",
    onnx_ir.AttributeType.FLOAT: "float",
    onnx_ir.AttributeType.STRING: "string",
    onnx_ir.AttributeType.INTS: "ints",
    onnx_ir.AttributeType.FLOATS: "floats",
    onnx_ir.AttributeType.STRINGS: "strings",
}


def key_of(attributes: Mapping[str, Plain]) -> str:
    """The canonical key: JSON with sorted names, so that equal attributes give equal keys."""
    return json.dumps(attributes, sort_keys=True, separators=(",", ":")) if attributes else "{}"


@lru_cache(maxsize=4096)
def parse(key: str) -> dict[str, Any]:
    """The attributes of a key; callers must not change the result."""
    parsed: dict[str, Any] = json.loads(key)
    return parsed


def plain(node: onnx_ir.Node) -> dict[str, Plain] | None:
    """A node's attributes without those at their defaults; None where one is a graph, a type or a reference.

    A tensor is written as ``TENSOR`` and its content: the value of a small one, the digest of a large one.
    """
    result: dict[str, Plain] = {}
    for name, attribute in node.attributes.items():
        if attribute.type == onnx_ir.AttributeType.TENSOR and not attribute.is_ref():
            result[name] = _tensor_key(attribute.as_tensor())
            continue
        if attribute.is_ref() or attribute.type not in _PLAIN:
            return None
        value = attribute.value
        result[name] = list(value) if isinstance(value, list | tuple) else value
    if not result:
        return result
    defaults = _defaults(node.op_type, node.domain, node.version or 0)
    kept = {name: value for name, value in result.items() if name not in defaults or defaults[name] != value}
    return _without_neutral(kept) if node.op_type in _WINDOWED and node.domain == "" else kept


_WINDOWED = frozenset({"AveragePool", "Conv", "ConvInteger", "ConvTranspose", "LpPool", "MaxPool"})
_NEUTRAL = {"dilations": 1, "output_padding": 0, "pads": 0, "strides": 1}


def _without_neutral(attributes: dict[str, Plain]) -> dict[str, Plain]:
    """Without what the specification assumes along each axis; the schema cannot say it, as it knows no rank."""
    return {
        name: value
        for name, value in attributes.items()
        if name not in _NEUTRAL or not isinstance(value, list) or any(v != _NEUTRAL[name] for v in value)
    }


def _tensor_key(tensor: onnx_ir.TensorProtocol) -> str:
    array = tensor.numpy()
    if (text := facts.known_text(array)) and tensor.dtype.name.lower() not in _NOT_NUMPY:
        return TENSOR + text
    digest = hashlib.sha256(
        np.ascontiguousarray(array).tobytes() if array.dtype.kind != "O" else repr(array.tolist()).encode()
    )
    return f"{TENSOR}{tensor.dtype.name}{list(tensor.shape)}{digest.hexdigest()}"


TENSOR = "#tensor:"
_NOT_NUMPY = frozenset({"bfloat16", "int4", "uint4", "int2", "uint2", "string"})


def tensor_of(text: str) -> onnx_ir.TensorProtocol | None:
    """The tensor that an attribute's key spells out; None where it only names a digest."""
    known = facts.parse_known(text[len(TENSOR) :]) if text.startswith(f"{TENSOR}[") else None
    return None if known is None else onnx_ir.tensor(known.array())


@cache
def _defaults(operator: str, domain: str, opset: int) -> dict[str, Any]:
    try:
        schema = onnx.defs.get_schema(operator, opset, domain) if opset else onnx.defs.get_schema(operator, domain)
    except onnx.defs.SchemaError:
        return {}
    found = {name: a.default_value for name, a in schema.attributes.items() if a.default_value.ByteSize()}
    return {name: _plain(onnx.helper.get_attribute_value(value)) for name, value in found.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode()
    return [_plain(item) for item in value] if isinstance(value, list) else value


def to_ir(attributes: Mapping[str, Plain], operator: str, opset: int) -> list[onnx_ir.Attr]:
    """Attributes for a new node of the default domain, typed as the operator's schema says."""
    schema = onnx.defs.get_schema(operator, opset, "")
    return [
        _to_ir(name, onnx_ir.AttributeType(facts.attribute_type(schema, name)), v) for name, v in attributes.items()
    ]


def _to_ir(name: str, kind: onnx_ir.AttributeType, value: Plain) -> onnx_ir.Attr:
    if kind == onnx_ir.AttributeType.TENSOR:
        tensor = tensor_of(str(value))
        assert tensor is not None
        return onnx_ir.AttrTensor(name, tensor)
    return onnx_ir.Attr(name, kind, value)
