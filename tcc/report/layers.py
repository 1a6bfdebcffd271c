"""The layer table: what each node of a model costs on the target, and what was decided for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tcc.cost_models.roofline import Roofline
from tcc.ir.fixed_sizes import with_made_up
from tcc.ir.model import Model, is_constant_node, operator_name, tensor_type
from tcc.passes._pricing import Priced, priced

if TYPE_CHECKING:
    import onnx_ir

    from tcc.targets import Target


@dataclass(frozen=True)
class Layer:
    """One node: ``operations`` (two a multiply-accumulate), its part of the predicted latency in ``seconds``.

    A node that runs in another one's kernel takes next to nothing, and so does one that is computed ``at_load``.
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
    at_load: bool = False


def layers(model: Model, target: Target, symbols: Mapping[str, int], sites: Sequence[str] = ()) -> list[Layer]:
    """All nodes of a model whose values have their types (``tcc.ir.inference.annotate``), in graph order.

    Args:
        model: constants are left out.
        target: whose cost model prices the nodes.
        symbols: sizes of symbolic dimensions.
        sites: lossy alternatives taken, each ``technique:name`` with the name of a node or a value.
    """
    roofline = Roofline(target, with_made_up(model, symbols), weights=model.parameter_bytes)
    prices = priced(model, target, symbols)
    taken: dict[str, list[str]] = {}
    for site in sites:
        technique, _, name = site.partition(":")
        taken.setdefault(name, []).append(technique)
    nodes = [node for node in model.nodes() if not is_constant_node(node)]
    return [_layer(node, roofline, prices.get(node), taken) for node in nodes]


def _layer(node: onnx_ir.Node, roofline: Roofline, part: Priced | None, taken: Mapping[str, list[str]]) -> Layer:
    kind = tensor_type(node.outputs[0]) if node.outputs else None
    price = roofline.price_of(node)
    names = [node.name, *(v.name for v in (*node.inputs, *node.outputs) if v is not None)]
    decided = dict.fromkeys(
        technique for name in names for part in _stems(name or "") for technique in taken.get(part, ())
    )
    return Layer(
        name=node.name or "",
        operator=operator_name(node),
        dtype="" if kind is None else kind.dtype,
        parameter_bytes=sum(v.const_value.nbytes for v in node.inputs if v is not None and v.const_value is not None),
        operations=price.operations,
        seconds=price.seconds if part is None else part.seconds,
        decision=", ".join(decided),
        at_load=part is not None and part.at_load,
    )


def _stems(name: str) -> Iterator[str]:
    """A name and what it was derived from: techniques call what they make ``<name>_int8``, ``<name>_scale``."""
    while name:
        yield name
        name = name.rpartition("_")[0]
