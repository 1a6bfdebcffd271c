"""Leaves out of the file what can be inferred again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from tcc.ir.model import Model
from tcc.passes.base import Context, Effect, Pass, PassResult

_INFERABLE = frozenset({"", "ai.onnx.ml"})


@dataclass(frozen=True)
class Strip(Pass):
    """Drops the types of intermediate values, which ONNX's inference finds again.

    The types of what custom operators compute stay: nothing could infer them.
    """

    effect: ClassVar[Effect] = Effect.BITS
    settles: ClassVar[bool] = True

    def run(self, model: Model, context: Context) -> PassResult:
        """Strip the graph and the bodies inside it, in place."""
        del context
        stripped = 0
        outputs = set(model.graph.outputs) | {v for g in model.graph.subgraphs() for v in g.outputs}
        for node in model.graph.all_nodes():
            if node.domain not in _INFERABLE:
                continue
            for v in node.outputs:
                if v not in outputs and v.type is not None:
                    v.type, v.shape = None, None
                    stripped += 1
        return PassResult(model, bool(stripped), {"types": stripped})
