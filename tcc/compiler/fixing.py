"""Fixes the sizes of a model for back ends that must know them all, and folds what then is constant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import onnx_ir

from tcc.backends import Settings
from tcc.diagnostics import Diagnostic, TccError
from tcc.ir.execution import Runner
from tcc.ir.feeds import exercise_feeds
from tcc.ir.inference import annotate
from tcc.ir.model import Model

Feed = Mapping[str, Any]


def shapes(feed: Feed) -> dict[str, list[int]]:
    """The shapes of the arrays of one set of inputs."""
    return {name: list(value.shape) for name, value in feed.items() if hasattr(value, "shape")}


def fixed(model: Model, settings: Settings, feeds: Sequence[Feed]) -> tuple[Model, Sequence[Feed], list[Diagnostic]]:
    """The model with sizes in place of its open dimensions, inputs of these sizes, and what was assumed.

    A dimension takes its size from ``settings.symbols``; else the first axis is 1 and the others are those at
    which the model was seen to run. Where that does not run, all are as seen.

    Raises:
        TccError: what the passes raise.
    """
    seen = shapes(feeds[0]) if feeds else {}
    open_ = _open(model)
    if not open_:
        return _folded(model, settings), feeds, []
    for first in (1, None):
        made = model.clone()
        assumed = _fix(made, settings.symbols, seen, first)
        try:
            runner = Runner(made.to_proto())
            fitting = [feed for feed in feeds if shapes(feed) == _stated(made)]
            inputs = fitting or exercise_feeds(made.to_proto(), runner)
            for value, result in zip(made.graph.outputs, runner.run(inputs[0]), strict=True):
                value.shape = onnx_ir.Shape(getattr(result, "shape", ()))
        except TccError:
            if first is None:
                raise
            continue
        text = ", ".join(f"{name} = {size}" for name, size in assumed.items())
        message = f"compiled for {text} only" if assumed else ""
        said = (
            [Diagnostic("W0821", message, model.source, help="say otherwise with --dim NAME=SIZE")] if assumed else []
        )
        return _folded(made, settings), inputs, said
    raise AssertionError("the second turn returns or raises")


def _open(model: Model) -> list[str]:
    inputs = [value for value in model.graph.inputs if value.name not in model.graph.initializers]
    return [v.name or "" for v in inputs if v.shape is None or not all(isinstance(d, int) for d in v.shape.dims)]


def _fix(
    model: Model, symbols: Mapping[str, int], seen: Mapping[str, Sequence[int]], first: int | None
) -> dict[str, int]:
    """Put sizes into the inputs' types; those that were assumed, by their symbols' names."""
    assumed: dict[str, int] = {}
    for value in model.graph.inputs:
        known = seen.get(value.name or "", ())
        if value.shape is None or value.name in model.graph.initializers:
            continue
        sizes: list[int] = []
        for axis, size in enumerate(value.shape.dims):
            name = size if isinstance(size, int) else size.value or f"{value.name}:{axis}"
            if isinstance(name, str) and name not in symbols:
                guess = known[axis] if axis < len(known) else 1
                assumed.setdefault(name, first if axis == 0 and first is not None else guess)
            sizes.append(name if isinstance(name, int) else symbols.get(name, assumed.get(name, 1)))
        value.shape = onnx_ir.Shape(sizes)
    outputs = set(model.graph.outputs)
    for node in model.nodes():
        for value in node.outputs:
            value.shape = onnx_ir.Shape([None] * value.shape.rank()) if value in outputs and value.shape else None
    return assumed


def _stated(model: Model) -> dict[str, list[int]]:
    inputs = [value for value in model.graph.inputs if value.name not in model.graph.initializers]
    return {v.name or "": [d for d in v.shape.dims if isinstance(d, int)] for v in inputs if v.shape is not None}


def _folded(model: Model, settings: Settings) -> Model:
    """What became constant, folded; inner values' and outputs' types inferred anew."""
    from tcc.compiler import PassManager, levels

    made = PassManager([levels.pipeline_text(2)], target=settings.target or "native").run(model.to_proto()).model
    made.source = model.source
    annotate(made)
    return made
