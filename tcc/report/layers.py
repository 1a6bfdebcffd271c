"""The layer table: what each node of a model costs on the target, and what was decided for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tcc.cost_models.roofline import Roofline
from tcc.ir import attributes
from tcc.ir.model import Model, is_constant_node, tensor_type

if TYPE_CHECKING:
    import onnx_ir

    from tcc.targets import Target


@dataclass(frozen=True)
class Layer:
    """One node: ``operations`` (two a multiply-accumulate), predicted ``seconds`` of its own kernel.

    ``dtype`` is its first output's type, ``parameter_bytes`` those of the constants that it reads; ``decision``
    names the lossy sites that were taken on it.
    """

    name: str
    operator: str
    dtype: str
    parameter_bytes: int
    operations: float
    seconds: float
    decision: str = ""


def layers(model: Model, target: Target, symbols: Mapping[str, int], sites: Sequence[str] = ()) -> list[Layer]:
    """All nodes of a model whose values have their types (``tcc.ir.inference.annotate``), in graph order.

    Args:
        model: constants are left out.
        target: whose cost model prices the nodes.
        symbols: sizes of symbolic dimensions.
        sites: lossy alternatives taken, each ``technique:name`` with the name of a node or a value.
    """
    roofline = Roofline(target, symbols)
    taken: dict[str, list[str]] = {}
    for site in sites:
        technique, _, name = site.partition(":")
        taken.setdefault(name, []).append(technique)
    return [_layer(node, roofline, taken) for node in model.nodes() if not is_constant_node(node)]


def _layer(node: onnx_ir.Node, roofline: Roofline, taken: Mapping[str, list[str]]) -> Layer:
    constants = [v is not None and v.const_value is not None for v in node.inputs]
    outputs = [tensor_type(v) for v in node.outputs]
    price = roofline.price(
        node.op_type, attributes.plain(node) or {}, [None if v is None else tensor_type(v) for v in node.inputs],
        outputs, constants,
    )  # fmt: skip
    names = [node.name, *(v.name for v in (*node.inputs, *node.outputs) if v is not None)]
    decided = dict.fromkeys(
        technique for name in names for part in _stems(name or "") for technique in taken.get(part, ())
    )
    return Layer(
        name=node.name or "",
        operator=f"{node.domain}::{node.op_type}" if node.domain else node.op_type,
        dtype="" if not outputs or outputs[0] is None else outputs[0].dtype,
        parameter_bytes=sum(v.const_value.nbytes for v in node.inputs if v is not None and v.const_value is not None),
        operations=price.operations,
        seconds=price.seconds,
        decision=", ".join(decided),
    )


def _stems(name: str) -> Iterator[str]:
    """A name and what it was derived from: techniques call what they make ``<name>_int8``, ``<name>_scale``."""
    while name:
        yield name
        name = name.rpartition("_")[0]
