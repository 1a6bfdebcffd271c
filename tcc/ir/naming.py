"""Names of values and nodes that nothing else in a model has, the same from run to run."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx_ir

    from tcc.ir.model import Model


def fresh(base: str, taken: Container[str]) -> str:
    """``base``, with a number behind it where that is taken."""
    name, turn = base, 0
    while name in taken:
        turn += 1
        name = f"{base}_{turn}"
    return name


@dataclass
class Names:
    """The names that are taken, which fresh ones are added to."""

    taken: set[str]

    def fresh(self, base: str) -> str:
        """A name that nothing has, taken from now on."""
        name = fresh(base, self.taken)
        self.taken.add(name)
        return name


def names_of_values(graph: onnx_ir.Graph) -> set[str]:
    """All names of values in a graph and the bodies inside it."""
    found: set[str] = set()
    for own in (graph, *graph.subgraphs()):
        found |= {v.name or "" for v in own.inputs} | set(own.initializers)
        found |= {v.name or "" for node in own for v in node.outputs}
    return found


def names_of_model(model: Model) -> set[str]:
    """All names of values and nodes in a model's graph and the bodies inside it."""
    return names_of_values(model.graph) | {node.name or "" for node in model.graph.all_nodes()}
