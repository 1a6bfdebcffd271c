"""What is known of an e-class: the type of its tensor and, where small and fixed, its value."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from urllib.parse import quote

import numpy as np
import onnx
from onnx import AttributeProto, TensorProto, TypeProto, helper, numpy_helper

from tcc.ir.types import Dimension, TensorType

INVENTED = "unk__"
"""What the symbols begin with that ONNX's inference makes up for sizes it cannot tell."""
OUTPUTS_MARK = "#outputs"
"""The name under which an attribute key of an operator with several outputs counts them."""
LARGEST_KNOWN = 64
"""Elements of the largest integer constant whose value is a fact; larger ones are only known to be constant."""
LARGEST_KNOWN_FLOAT = 8
"""The same for floating-point constants: shapes and indices are long, scales that rules look at are not."""

_PROTO_NAMES = {"float32": "FLOAT", "float64": "DOUBLE"}
_JSON_TYPES = frozenset(
    {
        *("float64", "float32", "float16", "int64", "int32", "int16", "int8"),
        *("uint64", "uint32", "uint16", "uint8", "bool"),
    }
)


@lru_cache(maxsize=65536)
def parse_kind(text: str) -> TensorType | None:
    """The type that a ``kind`` fact writes; None for the empty text of an absent or untyped value."""
    if not text:
        return None
    dtype, _, inside = text[:-1].partition("[")
    if inside == "...":
        return TensorType(dtype, None)
    return TensorType(dtype, tuple(_dimension(d) for d in inside.split(",")) if inside else ())


def _dimension(text: str) -> Dimension:
    if text == "?":
        return None
    return int(text) if text.lstrip("-").isdigit() else text


def kind_text(kind: TensorType | None, given: frozenset[str] | None = None) -> str:
    """A type that a model states, as facts write it: its symbols as ``symbol`` writes them.

    Args:
        kind: the type; None for a value without one.
        given: names of symbols that stand for sizes of inputs, None for any. Others are marked: they are no more
            than what inference or an exporter calls a size, so that another text for it tells more.
    """
    if kind is None:
        return ""
    if kind.shape is None or kind.is_static:
        return str(kind)
    return str(TensorType(kind.dtype, tuple(symbol(d, given) if isinstance(d, str) else d for d in kind.shape)))


@lru_cache(maxsize=4096)
def symbol(name: str, given: frozenset[str] | None = None) -> str:
    """A symbolic dimension's name without separators, white space or signs of arithmetic, and never a number."""
    quoted = quote(name, safe="()/-_.")
    if given is not None and name not in given and not name.startswith(INVENTED):
        return f"{INVENTED}:{quoted}"
    if given is not None and name in given:
        # An exporter's inference has named an input's size: it is given all the same, and tells more than others do.
        quoted = quoted.replace(INVENTED, INVENTED.replace("_", "%5F", 1))
    return f"_{quoted}" if quoted.lstrip("-").isdigit() or not quoted else quoted


@dataclass(frozen=True)
class Known:
    """A small value: elements in row-major order, a symbolic dimension as its name."""

    dtype: str
    shape: tuple[int, ...]
    values: tuple[int | float | bool | str, ...]

    @property
    def is_fixed(self) -> bool:
        """Whether no element is symbolic."""
        return not any(isinstance(v, str) for v in self.values)

    def array(self) -> np.ndarray:
        """The value as an array; only where it ``is_fixed``."""
        return np.array(self.values, dtype=self.dtype).reshape(self.shape)

    def text(self) -> str:
        """The fact's canonical text, also what ``literal`` is written with."""
        values = [_encode(v) for v in self.values]
        return json.dumps([self.dtype, list(self.shape), values], separators=(",", ":"))


def _encode(value: float | str) -> float | str:
    # JSON has no word for these; the sign of zero and every finite float survive json's repr.
    if isinstance(value, float) and not math.isfinite(value):
        return f"#{value}"
    return value


@lru_cache(maxsize=16384)
def parse_known(text: str) -> Known | None:
    """The value that a ``known`` fact or a ``literal`` writes; None for the empty text."""
    if not text:
        return None
    dtype, shape, values = json.loads(text)
    decoded = (float(v[1:]) if isinstance(v, str) and v.startswith("#") else v for v in values)
    return Known(dtype, tuple(shape), tuple(decoded))


def known_of(array: np.ndarray) -> Known | None:
    """The fact of an array; None where it is too large or JSON cannot write its type."""
    largest = LARGEST_KNOWN_FLOAT if array.dtype.kind == "f" else LARGEST_KNOWN
    if array.size > largest or array.dtype.name not in _JSON_TYPES:
        return None
    return Known(array.dtype.name, array.shape, tuple(array.reshape(-1).tolist()))


def known_text(array: np.ndarray) -> str:
    """``known_of`` as text; empty where it is None."""
    known = known_of(array)
    return known.text() if known else ""


def integers(values: Sequence[int], dtype: str = "int64") -> str:
    """The text of a one-dimensional integer constant, as shapes, axes and the like are."""
    return Known(dtype, (len(values),), tuple(values)).text()


def sizes_text(sizes: Sequence[int | str], given: frozenset[str]) -> str:
    """The text of a shape whose symbols are named as the model names them; ``given`` as for ``kind_text``."""
    values = tuple(symbol(d, given) if isinstance(d, str) else d for d in sizes)
    return Known("int64", (len(values),), values).text()


def proto_type(dtype: str) -> int:
    """The number ONNX gives an element type."""
    return int(TensorProto.DataType.Value(_PROTO_NAMES.get(dtype, dtype.upper())))


def dtype_of(number: int) -> str:
    """The name of ONNX's element type number."""
    name: str = TensorProto.DataType.Name(number).lower()
    return {"float": "float32", "double": "float64"}.get(name, name)


def infer(operator: str, opset: int, attributes: str, kinds: str, knowns: str) -> tuple[str, ...]:
    """The types of a node's outputs, by ONNX's own inference; empty where it cannot tell.

    Args:
        operator: of the default domain.
        opset: the model's version of that domain.
        attributes: the node's attribute key.
        kinds: types of the inputs, joined by ``|``; empty for an absent one.
        knowns: known values of the inputs, joined by ``|``; empty where there is none.
    """
    # An operator means the same in every opset up to the next that changes it.
    return _infer(operator, _schema(operator, opset).since_version, attributes, kinds, knowns)


@lru_cache(maxsize=4096)
def _schema(operator: str, opset: int) -> onnx.defs.OpSchema:
    return onnx.defs.get_schema(operator, opset, "")


@lru_cache(maxsize=65536)
def _infer(operator: str, opset: int, attributes: str, kinds: str, knowns: str) -> tuple[str, ...]:
    schema = _schema(operator, opset)
    types = [parse_kind(text) for text in kinds.split("|")] if kinds else []
    while types and types[-1] is None:
        types.pop()
    names = [f"i{i}" if kind else "" for i, kind in enumerate(types)]
    options = json.loads(attributes)
    outputs = int(options.pop(OUTPUTS_MARK, max(1, schema.min_output)))
    node = helper.make_node(operator, names, [f"o{i}" for i in range(outputs)])
    for name, value in options.items():
        node.attribute.append(helper.make_attribute(name, value, attr_type=attribute_type(schema, name)))
    data = {
        f"i{i}": numpy_helper.from_array(known.array(), f"i{i}")
        for i, text in enumerate(knowns.split("|"))
        if (known := parse_known(text)) and known.is_fixed
    }
    try:
        found = onnx.shape_inference.infer_node_outputs(
            schema,
            node,
            {f"i{i}": _type_proto(kind) for i, kind in enumerate(types) if kind},
            data,
            opset_imports=[helper.make_opsetid("", opset)],
        )
    except (onnx.shape_inference.InferenceError, onnx.checker.ValidationError, RuntimeError):
        # Runtimes run some operators on more types than the specification lists.
        return ()
    return tuple(_from_proto(found[name]) for name in node.output if name in found)


def attribute_type(schema: onnx.defs.OpSchema, name: str) -> int:
    """The number of an attribute's type, which onnx's stubs do not let one read off its enumeration."""
    kind: Any = schema.attributes[name].type
    return int(kind)


@lru_cache(maxsize=4096)
@lru_cache(maxsize=1024)
def has_plain_attributes(operator: str, opset: int) -> bool:
    """Whether ONNX knows an operator, and all its attributes are numbers and texts, or lists of them."""
    if not onnx.defs.has(operator, opset, ""):
        return False
    schema = onnx.defs.get_schema(operator, opset, "")
    return all(attribute_type(schema, name) in _PLAIN for name in schema.attributes)


_PLAIN = frozenset(
    {AttributeProto.FLOAT, AttributeProto.INT, AttributeProto.STRING}
    | {AttributeProto.FLOATS, AttributeProto.INTS, AttributeProto.STRINGS}
)


def _type_proto(kind: TensorType) -> TypeProto:
    return helper.make_tensor_type_proto(proto_type(kind.dtype), kind.shape)


def _from_proto(proto: TypeProto) -> str:
    # The symbols are those of the inputs, written as facts write them.
    found = type_of_proto(proto)
    return "" if found is None else str(found)


def type_of_proto(proto: TypeProto) -> TensorType | None:
    """The tensor type of a protobuf type; None for sequences and the like."""
    tensor = proto.tensor_type
    if not proto.HasField("tensor_type") or not tensor.elem_type:
        return None
    if not tensor.HasField("shape"):
        return TensorType(dtype_of(tensor.elem_type), None)
    dims = tuple(d.dim_value if d.HasField("dim_value") else (d.dim_param or None) for d in tensor.shape.dim)
    return TensorType(dtype_of(tensor.elem_type), dims)


def permutation(attributes: str, kind: str) -> tuple[int, ...] | None:
    """The ``perm`` of a Transpose of a tensor of this type; None where the rank is not known."""
    perm = json.loads(attributes).get("perm")
    if perm is not None:
        return tuple(perm)
    before = parse_kind(kind)
    return None if before is None or before.rank is None else tuple(reversed(range(before.rank)))
