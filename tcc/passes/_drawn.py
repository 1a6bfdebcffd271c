"""Models that draw random numbers: which outputs depend on them, and whether two models draw alike."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx

from tcc.ir import structure
from tcc.ir.importing import RANDOM

if TYPE_CHECKING:
    from tcc.ir.execution import Runner

DRAWS = 32
"""Runs of each model on each set of inputs."""
_SIGMAS = 6.0
"""Standard errors that two means may differ by: a single pair of alike ones does so less than once in a million."""
_RESOLUTION = 1e-3
"""Part of the values' magnitude that is no difference, where hardly anything is drawn."""


def drawing(proto: onnx.ModelProto) -> dict[int, list[str]]:
    """The outputs that depend on a draw, by index, with the operators that draw for them."""
    known = {tensor.name for tensor in proto.graph.initializer if not _is_true(tensor)}
    bodies = {(f.domain, f.name): f.node for f in proto.functions}

    def operators(nodes: Iterable[onnx.NodeProto]) -> set[str]:
        found = set[str]()
        for node in nodes:
            inner = [n for body in structure.subgraphs(node) for n in body.node]
            found |= operators([*inner, *bodies.get((node.domain, node.op_type), ())])
            if _draws(node, known):
                found.add(node.op_type)
        return found

    drawn: dict[str, set[str]] = {}
    for node in proto.graph.node:
        found = operators([node]).union(*(drawn.get(name, ()) for name in structure.used(node)))
        if found:
            drawn |= dict.fromkeys((name for name in node.output if name), found)
    outputs = enumerate(proto.graph.output)
    return {i: sorted(drawn[value.name]) for i, value in outputs if value.name in drawn}


def _draws(node: onnx.NodeProto, never: Collection[str]) -> bool:
    if node.domain not in ("", "ai.onnx"):
        return False
    # Dropout draws in training mode, which its third input switches on.
    training = node.op_type == "Dropout" and len(node.input) > 2 and node.input[2] and node.input[2] not in never
    return node.op_type in RANDOM or bool(training)


def _is_true(tensor: onnx.TensorProto) -> bool:
    inside = tensor.data_location != onnx.TensorProto.EXTERNAL and tensor.data_type == onnx.TensorProto.BOOL
    return not inside or bool(onnx.numpy_helper.to_array(tensor).any())


def unlike(first: Runner, second: Runner, feeds: Sequence[Mapping[str, Any]], outputs: Collection[int]) -> str:
    """How the draws of two models differ, in a sentence; empty where they are alike.

    Compared are the types and shapes, and over ``DRAWS`` runs the mean of each element and the mean magnitude of
    all, by their standard errors.

    Raises:
        TccError: what ``Runner.run`` raises.
    """
    for feed in feeds:
        for index in outputs:
            before, after = ([runner.run(feed)[index] for _ in range(DRAWS)] for runner in (first, second))
            if problem := _unlike(before, after):
                return f"output {index} {problem}"
    return ""


def _unlike(before: Sequence[Any], after: Sequence[Any]) -> str:
    arrays = [value for value in (*before, *after) if isinstance(value, np.ndarray)]
    if len(arrays) < len(before) + len(after):
        same = {type(value) for value in before} == {type(value) for value in after}
        return "" if same else "is of another type"
    old, new = ({(str(a.dtype), a.ndim) for a in found} for found in (before, after))
    shapes, now = ({a.shape for a in found} for found in (before, after))
    if old != new or (len(shapes) == 1 and shapes != now):
        return f"is {sorted(new)} of the shapes {sorted(now)}, should be {sorted(old)} of {sorted(shapes)}"
    if not arrays[0].size or arrays[0].dtype.kind not in "fViub":
        return ""
    wide, other = (np.stack([a.astype(np.float64) for a in found]) if len(shapes) == 1 else None
                   for found in (before, after))  # fmt: skip
    if wide is not None and other is not None and (far := _deviation(wide, other)) > _SIGMAS:
        return f"is {far:.3g} standard errors away over {DRAWS} draws, should be at most {_SIGMAS:g}"
    a, b = (np.array([[_magnitude(v.astype(np.float64))] for v in found]) for found in (before, after))
    if _deviation(a, b) > _SIGMAS:
        return f"has a mean magnitude of {b.mean():.6g} over {DRAWS} draws, should be {a.mean():.6g}"
    return ""


def _deviation(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any]) -> float:
    """How many standard errors the elements' means over the first axis are apart, as a root mean square."""
    finite = np.isfinite(a).all(axis=0)
    if not np.array_equal(finite, np.isfinite(b).all(axis=0)):
        return np.inf
    if not finite.any():
        return 0.0
    error = (a.var(axis=0, ddof=1) + b.var(axis=0, ddof=1)) / DRAWS
    error += (_RESOLUTION * np.abs(a[:, finite]).mean()) ** 2 + np.finfo(np.float64).tiny
    gap = (a.mean(axis=0) - b.mean(axis=0)) ** 2
    return float(np.sqrt((gap[finite] / error[finite]).mean()))


def _magnitude(array: np.ndarray[Any, Any]) -> float:
    return float(np.abs(array).mean())
