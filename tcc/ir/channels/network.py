"""All links of a graph, by the axes that they touch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import onnx_ir

from tcc.ir.channels.links import Axis, Frozen, Link, Map, MismatchError, Tie
from tcc.ir.channels.rule import Rule, table
from tcc.ir.channels.site import Site, Sizes
from tcc.ir.model import Model, is_constant_node, operator_name


@dataclass
class Network:
    """The links of a model's graph and of the bodies in it.

    ``by_axis`` lists the ties and maps that touch an axis, ``frozen`` what cannot be removed of it, ``sites`` every
    node with its rule (None: unknown to the table). ``declined`` says of nodes why they are frozen.
    """

    model: Model
    sizes: Sizes
    by_axis: dict[Axis, list[Tie | Map]] = field(default_factory=dict)
    frozen: dict[Axis, list[Frozen]] = field(default_factory=dict)
    sites: list[tuple[Site, Rule | None]] = field(default_factory=list)
    links: dict[onnx_ir.Node, list[Tie | Map]] = field(default_factory=dict)
    declined: dict[onnx_ir.Node, str] = field(default_factory=dict)

    @classmethod
    def of(cls, model: Model, sizes: Sizes) -> Network:
        """Ask every node's rule for its links."""
        network = cls(model, sizes)
        rules = table()
        opset = model.opset
        for node in model.graph.all_nodes():
            if is_constant_node(node):
                continue
            site = Site(node, sizes, opset)
            rule = rules.get((node.domain, node.op_type))
            network.sites.append((site, rule))
            network._add(site, rule)
        for value in [*model.graph.inputs, *model.graph.outputs]:
            what = "an input of the model" if value.is_graph_input() else "an output of the model"
            network._freeze(None, value, what)
        return network

    def _add(self, site: Site, rule: Rule | None) -> None:
        node = site.node
        if rule is None:
            has_body = any(a.type in _GRAPHS for a in node.attributes.values())
            return self._decline(node, "has a body" if has_body else "is unknown")
        if node.graph is not self.model.graph and not self._seen(node):
            return self._decline(node, "is in a body, and was not computed or had different sizes")
        try:
            found = list(rule.links(site))
        except MismatchError as reason:
            return self._decline(node, str(reason))
        for link in found:
            self._link(node, link)
        return None

    def _seen(self, node: onnx_ir.Node) -> bool:
        """Whether the sizes of all that a node reads and writes are known."""
        values = [v for v in (*node.inputs, *node.outputs) if v is not None and v.name]
        return all(v in self.sizes.shapes for v in values)

    def _link(self, node: onnx_ir.Node, link: Link) -> None:
        if isinstance(link, Frozen):
            self.frozen.setdefault(link.key, []).append(link)
            return
        self.links.setdefault(node, []).append(link)
        for key in dict.fromkeys(axes_of(link)):
            self.by_axis.setdefault(key, []).append(link)

    def _decline(self, node: onnx_ir.Node, reason: str) -> None:
        self.declined[node] = reason
        text = f"{_title(node)} {reason}"
        for value in touched(node):
            self._freeze(node, value, text)

    def _freeze(self, node: onnx_ir.Node | None, value: onnx_ir.Value, reason: str) -> None:
        for axis in range(len(self.sizes.shapes.get(value, ()))):
            self.frozen.setdefault((value, axis), []).append(Frozen(node, (value, axis), reason))


_GRAPHS = {onnx_ir.AttributeType.GRAPH, onnx_ir.AttributeType.GRAPHS}


def _title(node: onnx_ir.Node) -> str:
    return f"{operator_name(node)} {node.name or node.outputs[0].name}"


def axes_of(link: Tie | Map) -> Iterator[Axis]:
    """The axes that a link touches."""
    if isinstance(link, Map):
        yield link.source
        yield link.target
    else:
        yield from (end.key for end in link.ends)


def touched(node: onnx_ir.Node) -> list[onnx_ir.Value]:
    """The values that a node and its bodies read and the node writes."""
    return list(dict.fromkeys([*reads(node), *(v for v in node.outputs if v.name)]))


def reads(node: onnx_ir.Node) -> list[onnx_ir.Value]:
    """All that a node and its bodies read, in an order that is the same in every copy of it."""
    found = [v for v in node.inputs if v is not None]
    for attribute in node.attributes.values():
        if attribute.type == onnx_ir.AttributeType.GRAPH:
            bodies = [attribute.as_graph()]
        elif attribute.type == onnx_ir.AttributeType.GRAPHS:
            bodies = list(attribute.as_graphs())
        else:
            continue
        for body in bodies:
            found += [v for inner in body.all_nodes() for v in inner.inputs if v is not None]
            found += list(body.outputs)
    return found
