"""Control flow: what goes into a body and what comes out of it are one value under two names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np

from tcc.ir.channels.links import Frozen, Link, Map, MismatchError
from tcc.ir.channels.rule import Rule
from tcc.ir.channels.site import Site

if TYPE_CHECKING:
    import onnx_ir

_DIFFERS = "has other sizes, or none that were seen, in a body"
_ITERATIONS = "has an index for each iteration"


def _body(site: Site, name: str) -> onnx_ir.Graph:
    found = site.node.attributes.get(name)
    if found is None or found.is_ref():
        raise MismatchError("has no body")
    return found.as_graph()


def _joined(
    site: Site, first: onnx_ir.Value | None, second: onnx_ir.Value | None, axes: Mapping[int, int] | None = None
) -> Iterator[Link]:
    """Two values go together, axis by axis, or as ``axes`` of the first say; what has no partner stays."""
    if first is None or second is None or not first.name or not second.name:
        return
    one, other = (site.sizes.shapes.get(v) for v in (first, second))
    pairs = dict(enumerate(range(len(one or ())))) if axes is None else axes
    fits = one is not None and other is not None and len(one) + (axes is not None) == len(other)
    apart = not fits or any((one or ())[i] != (other or ())[j] for i, j in pairs.items())
    if apart:
        for value, shape in ((first, one), (second, other)):
            yield from (Frozen(site.node, (value, axis), _DIFFERS) for axis in range(len(shape or ())))
        return
    for i, j in pairs.items():
        yield Map(site.node, (first, i), (second, j), np.arange((one or ())[i]))
    for axis in set(range(len(other or ()))) - set(pairs.values()):
        yield Frozen(site.node, (second, axis), _ITERATIONS)


def _made_elsewhere(site: Site, body: onnx_ir.Graph) -> Iterator[Link]:
    """Outputs of a body that no node of it computes stay: constants that a body hands out."""
    for value in body.outputs:
        producer = value.producer()
        if producer is None and value in body.inputs:
            continue
        if producer is None or producer.graph is not body or producer.op_type == "Constant":
            for axis in range(len(site.sizes.shapes.get(value, ()))):
                yield Frozen(site.node, (value, axis), "is a constant that a body hands out")


def _if(site: Site) -> list[Link]:
    """Both branches' outputs are the node's; what was never computed lets nothing go."""
    found: list[Link] = []
    for name in ("then_branch", "else_branch"):
        body = _body(site, name)
        found += _made_elsewhere(site, body)
        for inner, outer in zip(body.outputs, site.node.outputs, strict=False):
            found += _joined(site, inner, outer)
    return found


def _loop(site: Site) -> list[Link]:
    """A state is what goes in, what an iteration reads, what it leaves, and what comes out."""
    body = _body(site, "body")
    states = len(site.node.inputs) - 2
    found = list(_made_elsewhere(site, body))
    for k in range(states):
        forms = [site.input(k + 2), body.inputs[k + 2], body.outputs[k + 1], site.output(k)]
        found += _state(site, forms)
    for inner, outer in zip(body.outputs[states + 1 :], site.node.outputs[states:], strict=False):
        found += _stacked(site, inner, outer, 0)
    return found


def _state(site: Site, forms: list[onnx_ir.Value | None]) -> list[Link]:
    read = forms[1]
    return [link for form in forms if form is not read for link in _joined(site, read, form)]


def _stacked(site: Site, inner: onnx_ir.Value, outer: onnx_ir.Value, axis: int) -> list[Link]:
    """A value of one iteration is a slice of the whole, ``axis`` being that of the iterations."""
    rank = len(site.sizes.shapes.get(inner, ()))
    at = axis % (rank + 1)
    return list(_joined(site, inner, outer, {i: i + (i >= at) for i in range(rank)}))


def _scan(site: Site) -> list[Link]:
    """States as a loop's; the scanned inputs are read and the outputs written slice by slice."""
    if site.opset < 9:
        raise MismatchError("is of the form with a batch")
    body = _body(site, "body")
    scanned = int(site.attribute("num_scan_inputs", 0))
    states = len(site.node.inputs) - scanned
    found = list(_made_elsewhere(site, body))
    for k in range(states):
        found += _state(site, [site.input(k), body.inputs[k], body.outputs[k], site.output(k)])
    axes = site.attribute("scan_input_axes") or [0] * scanned
    for inner, outer, axis in zip(body.inputs[states:], site.node.inputs[states:], axes, strict=True):
        if outer is not None:
            found += _stacked(site, inner, outer, axis)
    after = site.attribute("scan_output_axes") or [0] * (len(body.outputs) - states)
    for inner, outer, axis in zip(body.outputs[states:], site.node.outputs[states:], after, strict=False):
        found += _stacked(site, inner, outer, axis)
    return found


RULES = {"If": Rule(_if), "Loop": Rule(_loop), "Scan": Rule(_scan)}
