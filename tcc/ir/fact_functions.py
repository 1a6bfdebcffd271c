"""Functions of facts that the language's merges and the analysis call while rules run."""

from __future__ import annotations

from tcc.ir import facts, symbolic
from tcc.ir.host import condition, text_function
from tcc.ir.importing import is_pure
from tcc.ir.types import TensorType


@text_function
def better_kind(old: str, new: str) -> str:
    """The more precise of two types of one tensor; of two equally precise ones always the same."""
    return min(
        old,
        new,
        key=lambda text: (not text, "..." in text, text.count("?"), _symbols(text), text.count(facts.INVENTED), text),
    )


@text_function
def better_kinds(old: str, new: str) -> str:
    """The more precise of two lists of types of the same tensors."""
    return min(old, new, key=lambda text: (text.count("..."), text.count("?"), text.count(facts.INVENTED), text))


def _symbols(text: str) -> int:
    inside = text.partition("[")[2][:-1]
    return sum(not d.isdigit() for d in inside.split(",")) if inside else 0


@text_function
def better_known(old: str, new: str) -> str:
    """The value with fewer symbolic elements; of two equal ones always the same."""
    return min(old, new, key=lambda text: (not text, text.count('"'), text.count(facts.INVENTED), text))


@text_function
def infer_first(operator: str, opset: int, attributes: str, types: str, values: str) -> str:
    """The type of a node's first output; empty where ONNX's inference cannot tell."""
    if symbolic.AT_MOST in types and operator in symbolic.BROADCAST:
        kinds = symbolic.meeting([facts.parse_kind(text) for text in types.split("|")])
        types = "|".join(map(facts.kind_text, kinds))
    found = facts.infer(operator, opset, attributes, types, values)
    return found[0] if found else ""


@text_function
def infer_output(operator: str, opset: int, attributes: str, types: str, values: str, output: int) -> str:
    """The type of one output of a node that has several."""
    found = facts.infer(operator, opset, attributes, types, values)
    return found[output] if output < len(found) else ""


@condition
def is_fixed(value: str) -> bool:
    """Whether a known value has no symbolic element."""
    known_value = facts.parse_known(value)
    return known_value is not None and known_value.is_fixed


@text_function
def kind_of_literal(value: str) -> str:
    """The type of a literal."""
    known_value = facts.parse_known(value)
    return "" if known_value is None else str(TensorType(known_value.dtype, known_value.shape))


@condition
def moves_nothing(permutation: str, before: str) -> bool:
    """Whether a transposition leaves the row-major order: only dimensions of size 1 change places."""
    kind_before, order = facts.parse_kind(before), facts.permutation(permutation, before)
    if kind_before is None or kind_before.shape is None or order is None:
        return False
    moved = [axis for axis in order if kind_before.shape[axis] != 1]
    return moved == sorted(moved)


@condition
def is_deterministic(key: str) -> bool:
    """Whether an opaque node has the same outputs for the same inputs."""
    return is_pure(key)
