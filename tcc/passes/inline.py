"""Puts the bodies of functions and of decided branches where they are called."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from tcc.ir.model import Model
from tcc.passes._branches import take_decided
from tcc.passes.base import Context, Effect, Pass, PassResult


@dataclass(frozen=True)
class Inline(Pass):
    """Inlines model-local functions, and the taken branch of an If whose condition is constant."""

    effect: ClassVar[Effect] = Effect.BITS
    settles: ClassVar[bool] = True

    def run(self, model: Model, context: Context) -> PassResult:
        """Inline until nothing is left to inline."""
        del context
        return self.rewrite(model)

    def rewrite(self, model: Model) -> PassResult:
        """``run``, which nothing around the model takes part in."""
        functions = len(model.ir.functions)
        if functions:
            from onnx_ir.passes.common import InlinePass

            model = Model(InlinePass()(model.ir).model, model.source, files=model.files, notes=model.notes)
        branches = take_decided(model)
        return PassResult(model, bool(functions or branches), {"functions": functions, "branches": branches})
