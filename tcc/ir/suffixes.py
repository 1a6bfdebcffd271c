"""Measures what the outputs answer to switches inside a model, running no more of it than lies behind each switch."""

# A switch changes nothing of what stands before it. So the model is cut where switches stand, a few times, evenly by
# their number; what crosses a cut is computed once, and a switch runs the part behind the cut before it: about half
# of the model on the average.

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import onnx
from onnx import helper

from tcc.ir import structure
from tcc.ir.execution import Runner
from tcc.ir.facts import proto_type
from tcc.ir.loss import Judge
from tcc.ir.model import Model, tensor_type

if TYPE_CHECKING:
    import numpy as np

_PARTS = 8
"""Cuts and one: the average that is run comes within a sixteenth of a model of what lies behind each switch."""
_FEWEST = 4
"""Switches in a part, for which another session pays."""
Feed = Mapping[str, Any]


@dataclass(frozen=True)
class Switches:
    """Switches in a model, each at some of its values; the first values are those that count.

    Args:
        values: of each switch.
        insert: puts the switches of these numbers into a graph, each with inputs of its own.
        off: those inputs, with all of these switches off.
        on: the inputs that put one on.
    """

    values: Sequence[Collection[str]]
    insert: Callable[[onnx.ModelProto, Sequence[int]], None]
    off: Callable[[Sequence[int]], dict[str, np.ndarray]]
    on: Callable[[int], dict[str, np.ndarray]]


def unexplained(
    model: Model, switches: Switches, feeds: Sequence[Feed], varied: Sequence[float] = (), threads: int = 1
) -> list[float]:
    """The unexplained variance of the outputs that each switch causes by itself.

    Args:
        model: the original.
        switches: what to try, one after the other.
        feeds: inputs to measure on.
        varied: ``Judge.varied`` of more data, for feeds that are too few to tell.
        threads: how many runs there are at once.

    Raises:
        TccError: where the model with its switches does not run.
    """
    judges = [Judge() for _ in switches.values]
    cuts = _cuts(model, switches.values)
    crossing = sorted({name for cut in cuts for name in cut.crossing})
    whole = _whole(model, crossing) if crossing else None
    for cut in cuts:
        runner, own = _part(model, cut, switches)
        off = switches.off(cut.switches)
        for feed in feeds:
            before = {**feed, **(whole.run_named(feed) if whole is not None and cut.start else {})}
            given = {name: before[name] for name in runner.inputs if name in before} | off
            runs = runner.run_each((given | more for more in _turns(switches, cut)), threads)
            expected = _outputs(model, own, next(runs), before)
            for i in cut.switches:
                judges[i].add(expected, _outputs(model, own, next(runs), before))
    return [judge.unexplained(varied) for judge in judges]


def _turns(switches: Switches, cut: _Cut) -> Iterator[dict[str, np.ndarray]]:
    """What is switched on in one run after another: first nothing; made when it is needed."""
    yield {}
    for i in cut.switches:
        yield switches.on(i)


@dataclass(frozen=True)
class _Cut:
    """The switches between one cut and the next: the part begins at node ``start``, and reads ``crossing``."""

    start: int
    crossing: tuple[str, ...]
    switches: tuple[int, ...]


def _cuts(model: Model, values: Sequence[Collection[str]]) -> list[_Cut]:
    place = {v.name: number for number, node in enumerate(model.graph) for v in node.outputs if v.name}
    first = [min((place.get(name, 0) for name in each), default=0) for each in values]
    order = sorted(range(len(values)), key=lambda i: (first[i], i))
    size = max(_FEWEST, -(-len(order) // _PARTS))
    found: list[_Cut] = []
    for at in range(0, len(order), size):
        part, start = tuple(order[at : at + size]), first[order[at]]
        crossing = _crossing(model, start)
        if at == 0 or crossing is None:
            # What begins nowhere else begins where the part before it does.
            last = found.pop() if found else _Cut(0, (), ())
            found.append(_Cut(last.start, last.crossing, last.switches + part))
        else:
            found.append(_Cut(start, crossing, part))
    return found


def _crossing(model: Model, start: int) -> tuple[str, ...] | None:
    """What nodes from ``start`` on read of what others compute; None where it is no tensors alone."""
    proto, _ = model.stripped_proto()
    read = {name for node in proto.graph.node[start:] for name in structure.used(node)}
    made = [v for node in list(model.graph)[:start] for v in node.outputs if v.name in read and v.name]
    return None if any(tensor_type(v) is None for v in made) else tuple(v.name or "" for v in made)


def _whole(model: Model, crossing: Sequence[str]) -> Runner:
    """The model with what crosses its cuts among its outputs."""
    proto, weights = model.stripped_proto()
    own = {output.name for output in proto.graph.output}
    proto.graph.output.extend(_info(model, name) for name in crossing if name not in own)
    return Runner(proto, weights=weights, optimise=True)


def _info(model: Model, name: str) -> onnx.ValueInfoProto:
    """A value as an input or output, of its type and rank: sizes are those that come."""
    (v,) = (v for node in model.graph for v in node.outputs if v.name == name)
    kind = tensor_type(v)
    assert kind is not None
    return helper.make_tensor_value_info(
        name, proto_type(kind.dtype), None if kind.rank is None else [None] * kind.rank
    )


def _part(model: Model, cut: _Cut, switches: Switches) -> tuple[Runner, dict[int, int]]:
    """The session of what stands behind a cut, and which of its outputs are which of the model's."""
    proto, weights = model.stripped_proto()
    graph = proto.graph
    own = {i: i for i in range(len(graph.output))}
    if cut.start:
        nodes = list(graph.node)[cut.start :]
        made = {name for node in nodes for name in node.output}
        read = {name for node in nodes for name in structure.used(node)}
        inputs = [i for i in graph.input if i.name in read]
        kept = [i for i in graph.initializer if i.name in read]
        inside = [i for i, output in enumerate(graph.output) if output.name in made]
        outputs = [graph.output[i] for i in inside]
        own = {i: position for position, i in enumerate(inside)}
        inputs += [_info(model, name) for name in cut.crossing]
        for part, held in (("node", nodes), ("input", inputs), ("initializer", kept), ("output", outputs)):
            copies = [type(each).FromString(each.SerializeToString()) for each in held]
            graph.ClearField(part)
            getattr(graph, part).extend(copies)
        graph.ClearField("value_info")
        weights = {i.name: weights[i.name] for i in graph.initializer if i.name in weights}
    switches.insert(proto, cut.switches)
    return Runner(proto, weights=weights, optimise=True), own


def _outputs(model: Model, own: Mapping[int, int], found: Sequence[Any], before: Mapping[str, Any]) -> list[Any]:
    """The model's outputs, those that stand before the cut as they were."""
    names = [v.name or "" for v in model.graph.outputs]
    return [found[own[i]] if i in own else before[name] for i, name in enumerate(names)]
