"""Leaves out of the file what can be inferred again, and what an exporter wrote for its own debugging."""

from __future__ import annotations

from collections.abc import Iterable, MutableMapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from tcc.ir.model import Model
from tcc.passes.base import Context, Effect, Pass, PassResult

if TYPE_CHECKING:
    import onnx_ir

_INFERABLE = frozenset({"", "ai.onnx.ml"})
_TRACES = ("pkg.torch.", "pkg.onnxscript.")
"""What keys of metadata begin with that PyTorch's exporter and its optimiser write: stack traces with the paths of the
exporting machine, names of traced nodes, the exported program's signature."""
_BESIDE_TRACES = "namespace"
"""A key that the exporter writes beside them; alone it is somebody else's."""


@dataclass(frozen=True)
class Strip(Pass):
    """Drops the types of intermediate values, which ONNX's inference finds again, and exporters' stack traces.

    The types of what custom operators compute stay: nothing could infer them. So does all metadata but what
    PyTorch's exporter writes about the program that it traced.
    """

    effect: ClassVar[Effect] = Effect.BITS
    settles: ClassVar[bool] = True

    def run(self, model: Model, context: Context) -> PassResult:
        """Strip the graph and the bodies inside it, in place."""
        del context
        types = _strip_types(model)
        traces = sum(_strip_traces(metadata) for metadata in _metadata(model.ir))
        return PassResult(model, bool(types or traces), {"types": types, "traces": traces})


def _strip_types(model: Model) -> int:
    stripped = 0
    outputs = set(model.graph.outputs) | {v for g in model.graph.subgraphs() for v in g.outputs}
    for node in model.graph.all_nodes():
        if node.domain not in _INFERABLE:
            continue
        for v in node.outputs:
            if v not in outputs and v.type is not None:
                v.type, v.shape = None, None
                stripped += 1
    return stripped


def _metadata(model: onnx_ir.Model) -> Iterable[MutableMapping[str, str]]:
    yield model.metadata_props
    for function in model.functions.values():
        yield function.metadata_props
        yield from _of_nodes(function)
    for graph in (model.graph, *model.graph.subgraphs()):
        yield graph.metadata_props
        yield from (v.metadata_props for v in (*graph.inputs, *graph.initializers.values()))
        yield from _of_nodes(graph)


def _of_nodes(nodes: Iterable[onnx_ir.Node]) -> Iterable[MutableMapping[str, str]]:
    for node in nodes:
        yield node.metadata_props
        yield from (v.metadata_props for v in node.outputs)


def _strip_traces(metadata: MutableMapping[str, str]) -> int:
    traces = [key for key in metadata if key.startswith(_TRACES)]
    for key in traces:
        del metadata[key]
    if traces:
        metadata.pop(_BESIDE_TRACES, None)
    return len(traces)
