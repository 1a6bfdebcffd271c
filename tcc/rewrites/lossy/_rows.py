"""Rows of the nodes around and inside integer kernels."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, count

import numpy as np
import onnx_ir

from tcc.ir import attributes, facts
from tcc.ir.language import OPERATORS
from tcc.ir.model import tensor_type
from tcc.ir.tables import ABSENT
from tcc.ir.types import TensorType
from tcc.rewrites.lossy import Offer
from tcc.rewrites.lossy._schemes import Scheme


def constant(made: Offer, array: np.ndarray, name: str) -> int:
    """The number of a constant, one for equal content."""
    array = np.asarray(array)  # arithmetic on arrays without axes gives scalars
    key = ("constant", array.dtype.str, array.shape, array.tobytes())
    if key not in made.memo:
        made.memo[key] = made.imported.constant(made.tables, array, _unused(made, name))
    return int(made.memo[key])


def _unused(made: Offer, name: str) -> str:
    """A name that no other new constant has, nor a value of the graph."""
    graph = made.imported.graph
    if "names" not in made.memo:
        made.memo["names"] = {v.name for node in graph for v in node.outputs} | set(graph.initializers)
    taken: set[str | None] = made.memo["names"]
    found = next(text for text in chain([name], (f"{name}_{i}" for i in count(1))) if text not in taken)
    taken.add(found)
    return found


def parameters(made: Offer, scheme: Scheme, v: onnx_ir.Value) -> tuple[int, int]:
    """The numbers of a scheme's scale and zero point."""
    return (
        constant(made, np.array(scheme.scale, dtype=np.float32), f"{v.name}_scale"),
        constant(made, np.array(scheme.zero, dtype=scheme.dtype), f"zero_{scheme.zero}"),
    )


def typed(made: Offer, number: int, dtype: str, v: onnx_ir.Value) -> int:
    """State that a number has the shape of a value."""
    kind = tensor_type(v)
    made.tables.add("type", number, facts.kind_text(TensorType(dtype, kind.shape if kind else None)))
    return number


def quantized(made: Offer, v: onnx_ir.Value, scheme: Scheme) -> int:
    """The number of a value as integers; by itself a pass over memory, which a kernel before it may save."""
    number = made.imported.numbers[v]
    key = ("quantized", number)
    if key not in made.memo:
        made.memo[key] = typed(made, made.imported.fresh(f"{v.name}_q"), scheme.dtype, v)
        made.tables.add("QuantizeLinear", made.memo[key], number, *parameters(made, scheme, v), attributes.key_of({}))
        made.imported.operators |= {"QuantizeLinear", "DequantizeLinear"}
    return int(made.memo[key])


def dequantized(made: Offer, integers: int, v: onnx_ir.Value, scheme: Scheme) -> int:
    """The number of integers as floats again."""
    key = ("dequantized", integers)
    if key not in made.memo:
        made.memo[key] = typed(made, made.imported.fresh(f"{v.name}_dq"), "float32", v)
        made.tables.add(
            "DequantizeLinear", made.memo[key], integers, *parameters(made, scheme, v), attributes.key_of({})
        )
    return int(made.memo[key])


def rounded(made: Offer, number: int, v: onnx_ir.Value, scheme: Scheme, into: int | None = None) -> int:
    """The number of a kernel's result as integers; ``into`` states that it is equal to one there already."""
    result = typed(made, made.imported.fresh(f"{v.name}_q"), scheme.dtype, v) if into is None else into
    made.tables.add("QuantizeLinear", result, number, *parameters(made, scheme, v), attributes.key_of({}))
    return result


def constant_as_float(
    made: Offer, values: np.ndarray, scale: np.ndarray, *, zero: np.ndarray | None, axis: int | None, name: str
) -> int:
    """The number of an integer constant that a kernel reads as floats."""
    stored, scales = constant(made, values, f"{name}_{values.dtype}"), constant(made, scale, f"{name}_scale")
    offset = ABSENT if zero is None else constant(made, zero, f"{name}_zero")
    key = ("constant as float", stored, scales, offset, axis)
    if key not in made.memo:
        made.memo[key] = made.imported.fresh(f"{name}_dq")
        kind = TensorType("float32", values.shape)
        made.tables.add("type", made.memo[key], facts.kind_text(kind))
        plain = {} if axis is None or axis == 1 else {"axis": axis}
        made.tables.add("DequantizeLinear", made.memo[key], stored, scales, offset, attributes.key_of(plain))
    return int(made.memo[key])


def operator(made: Offer, node: onnx_ir.Node, inputs: Sequence[int]) -> list[int]:
    """The numbers of the outputs of a node on other inputs; those without a name are left out."""
    tables, imported = made.tables, made.imported
    named = [v for v in node.outputs if v.name]
    results = [typed(made, imported.fresh(f"{v.name}_f"), "float32", v) for v in named]
    places = [i for i, v in enumerate(node.outputs) if v.name]
    if (key := imported.opaque_keys.get(node)) is not None:
        whole = imported.fresh()
        tables.add("opaque", whole, key, tables.list_of(tuple(inputs)))
        _project(made, results, places, whole)
        return results
    known = OPERATORS[node.op_type]
    plain = attributes.plain(node)
    assert plain is not None
    cells = [tables.list_of(tuple(inputs))] if known.variadic else [*inputs, *[ABSENT] * (known.inputs - len(inputs))]
    if known.several:
        whole = imported.fresh()
        text = attributes.key_of({**plain, facts.OUTPUTS_MARK: len(node.outputs)})
        tables.add(node.op_type, whole, *cells, text)
        _project(made, results, places, whole)
    else:
        tables.add(node.op_type, results[0], *cells, attributes.key_of(plain))
    return results


def divided(made: Offer, v: onnx_ir.Value, factor: np.ndarray) -> int:
    """The number of a value whose last axis is divided by ``factor``, by its producer where that scales it anyway."""
    number = made.imported.numbers[v]
    inverse = (1 / factor).astype(np.float32)
    key = ("divided", number, inverse.tobytes())
    if key not in made.memo:
        made.memo[key] = typed(made, made.imported.fresh(f"{v.name}_smooth"), "float32", v)
        by = constant(made, inverse, f"{v.name}_inverse")
        made.tables.add("Mul", made.memo[key], number, by, attributes.key_of({}))
        made.imported.operators.add("Mul")
        _into_producer(made, v, inverse, made.memo[key])
    return int(made.memo[key])


def _into_producer(made: Offer, v: onnx_ir.Value, inverse: np.ndarray, number: int) -> None:
    """State that the producer with other constants gives a divided value as well: exact, and no further node."""
    node = v.producer()
    scaled = {"LayerNormalization": (1, 2), "Mul": (0, 1)}.get(node.op_type if node is not None else "", ())
    if node is None or node.domain or sum(bool(out.name) for out in node.outputs) != 1:
        return
    arrays = {i: node.inputs[i] for i in scaled if i < len(node.inputs)}
    held = {i: x.const_value.numpy() for i, x in arrays.items() if x is not None and x.const_value is not None}
    # A factor may be any of the two; a normalisation has all of its constants scaled.
    wanted = len(held) == 1 if node.op_type == "Mul" else bool(held) and len(held) == len(arrays)
    if not wanted or any(a.dtype != np.float32 or a.size not in {1, inverse.size} for a in held.values()):
        return
    if any(a.ndim and a.shape[-1] != a.size for a in held.values()) or node in made.imported.opaque_keys:
        return
    inputs = [ABSENT if x is None else made.imported.numbers[x] for x in node.inputs]
    for i, a in held.items():
        inputs[i] = constant(made, (a * inverse).astype(np.float32), f"{v.name}_folded{i}")
    known, plain = OPERATORS[node.op_type], attributes.plain(node)
    if plain is None or known.several:
        return
    cells = [*inputs, *[ABSENT] * (known.inputs - len(inputs))]
    made.tables.add(node.op_type, number, *cells, attributes.key_of(plain))


def _project(made: Offer, results: Sequence[int], places: Sequence[int], whole: int) -> None:
    for result, place in zip(results, places, strict=True):
        made.tables.add("project", result, whole, place)
