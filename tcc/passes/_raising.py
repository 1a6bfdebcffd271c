"""Decides whether a newer opset lets more rules write what they are for, and has the model converted to it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import cache

import onnx

from tcc.ir import conversion
from tcc.ir.model import Model
from tcc.ir.reach import Reach, reachable
from tcc.passes.base import Context
from tcc.passes.canonicalize import Canonicalize
from tcc.rewrites.rule import Stored
from tcc.targets import Target


def candidates(
    opset: int, rules: Sequence[Stored], target: Target, reach: Reach, *, own: bool = False
) -> tuple[int, ...]:
    """Opsets worth a try, the newest first: those in which rules that may match write an operator of their own.

    An operator counts that the model's opset does not have and that the target takes and has a kernel for.

    Args:
        opset: the model's.
        rules: that are allowed.
        target: what the model is for.
        reach: what stands in the model's e-graph.
        own: whether what the rules of the model's own opset may make counts too: more than they do make.
    """
    newer = _newer(opset, rules, target)
    used = [*newer, *(rule for rule in rules if own and rule.first_opset <= opset <= rule.last_opset)]
    matching = reachable([query for rule in used for query in rule.queries], reach)
    wanted = {
        rule.first_opset
        for rule in newer
        for query in rule.queries
        if query in matching and any(_is_for(rule, operator, opset, target) for operator in query.writes)
    }
    return tuple(sorted(wanted, reverse=True))


def limit(opset: int, rules: Sequence[Stored], target: Target) -> int:
    """The newest opset that ``candidates`` may name of any graph in this one; 0 where it names none."""
    wanted = [
        rule.first_opset
        for rule in _newer(opset, rules, target)
        if any(_is_for(rule, operator, opset, target) for query in rule.queries for operator in query.writes)
    ]
    return max(wanted, default=0)


def _newer(opset: int, rules: Sequence[Stored], target: Target) -> list[Stored]:
    highest = min(target.max_opset, conversion.newest_opset())
    return [
        rule
        for rule in rules
        if 0 < opset < rule.first_opset <= highest
        and rule.last_opset >= highest
        and conversion.lowest_ir_version(rule.first_opset) <= target.max_ir_version
    ]


def _is_for(rule: Stored, operator: str, opset: int, target: Target) -> bool:
    own = operator not in target.composed and not target.avoids(operator)
    return own and _exists(operator, rule.first_opset) and not _exists(operator, opset)


def needed(model: Model, rules: Sequence[Stored], opset: int) -> int:
    """The lowest opset with all operators of a simplified model that came from rules beyond ``opset``."""
    return lowest_for({node.op_type for node in model.graph if node.domain == ""}, rules, opset)


def lowest_for(operators: Collection[str], rules: Sequence[Stored], opset: int) -> int:
    """``opset`` where it has all these operators, else the lowest in which the rules write those that it lacks."""
    newer = {operator for operator in operators if not _exists(operator, opset)}
    least = [
        min((r.first_opset for r in rules if operator in r.mentions and r.first_opset > opset), default=opset)
        for operator in newer
    ]
    return max([opset, *least])


@cache
def _exists(operator: str, opset: int) -> bool:
    """Whether an opset has an operator; to ask for one is much quicker than to collect the history of all."""
    try:
        onnx.defs.get_schema(operator, opset)
    except onnx.defs.SchemaError:
        return False
    return True


def ir_version(model: Model, opset: int) -> int:
    """The file format's version of a model that is written in this opset."""
    return max(model.ir_version, conversion.lowest_ir_version(opset)) if opset > model.opset else model.ir_version


def raised(model: Model, opset: int, context: Context) -> Model:
    """The model in this opset, in canonical form.

    Raises:
        ConversionError: there is no such form.
    """
    made = conversion.converted(model, opset)
    made = Canonicalize().run(made, context).model
    if made.node_count > model.node_count:
        message = f"in opset {opset} the model has {made.node_count - model.node_count} more nodes"
        raise conversion.ConversionError(message)
    return made
