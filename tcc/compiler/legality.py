"""Whether a target takes a model: its operators, element types, opset and file format."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from tcc.diagnostics import Diagnostic, node_location
from tcc.ir.model import Model, dtype_name
from tcc.targets import Target

if TYPE_CHECKING:
    import onnx_ir

Problems = Mapping[str, Diagnostic]
"""One diagnostic for each problem, by a key that says what it is and not where."""


def problems(model: Model, target: Target) -> Problems:
    """Everything in the model that the target does not take; ``model`` has its values' types where they are known."""
    found: dict[str, Diagnostic] = {}
    for what, has, highest in (
        ("opset", model.opset, target.max_opset), ("IR version", model.ir_version, target.max_ir_version),
    ):  # fmt: skip
        if has > highest:
            message = f"{what} is {has}, {target.text} takes at most {highest}"
            advice = f"export the model with {what} {highest} or lower"
            found[what] = Diagnostic("E0411", message, model.source, help=advice)
    for key, reason, node in _illegal(model, target):
        if key in found:
            found[key] = replace(found[key], notes=_counted(found[key].notes))
            continue
        code = "E0413" if reason.startswith("element type") else "E0412"
        where = node_location(model.source, node.name or "", node.op_type)
        found[key] = Diagnostic(code, reason, where, help="choose another target, or replace the operator")
    return found


def nodes(model: Model, target: Target) -> dict[str, list[str]]:
    """The names of all nodes that each of the problems is about, by the problem's key."""
    found: dict[str, list[str]] = {}
    for key, _, node in _illegal(model, target):
        found.setdefault(key, []).append(node.name or "<unnamed>")
    return found


def _illegal(model: Model, target: Target) -> Iterator[tuple[str, str, onnx_ir.Node]]:
    """Each node that is not legal: the key of its problem, the reason, the node."""
    own = {(function.domain, function.name) for function in model.ir.functions.values()}
    for node in model.nodes():
        if (node.domain, node.op_type) in own:
            continue
        reason = target.legality(node.domain, node.op_type, _dtypes(node))
        if reason is not None:
            yield f"{node.domain}::{node.op_type}: {reason}", reason, node


def _dtypes(node: onnx_ir.Node) -> set[str]:
    values = [*node.inputs, *node.outputs]
    return {dtype_name(v.dtype) for v in values if v is not None and v.dtype is not None}


def _counted(notes: tuple[str, ...]) -> tuple[str, ...]:
    count = int(notes[0].split()[1]) + 1 if notes else 1
    return (f"and {count} more like it",)


def as_warning(problem: Diagnostic) -> Diagnostic:
    """The same problem where it does not stop the compilation."""
    return replace(problem, code=f"W{problem.code[1:]}")
