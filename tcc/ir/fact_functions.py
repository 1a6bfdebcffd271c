"""Functions of facts that the language's merges and the analysis call while rules run."""

from __future__ import annotations

import json

from tcc.ir import facts, magnitudes, symbolic
from tcc.ir.host import DECLINED, condition, text_function
from tcc.ir.importing import is_pure
from tcc.ir.types import TensorType


@text_function
def better_kind(old: str, new: str) -> str:
    """What two types of one tensor tell together; of two equally precise sizes always the same."""
    if not old or not new or "..." in old or "..." in new:
        return min(old, new, key=lambda text: (not text, "..." in text, text))
    first, second = (text[:-1].partition("[") for text in (old, new))
    sizes = first[2].split(","), second[2].split(",")
    if first[0] != second[0] or len(sizes[0]) != len(sizes[1]):
        return min(old, new)
    return f"{first[0]}[{','.join(map(_better_size, *sizes))}]"


@text_function
def better_kinds(old: str, new: str) -> str:
    """The more precise of two lists of types of the same tensors."""
    return min(old, new, key=lambda text: (text.count("..."), text.count("?"), text.count(facts.INVENTED), text))


def _better_size(a: str, b: str) -> str:
    return min(a, b, key=lambda d: (d == "?", not d.isdigit(), d.count(facts.INVENTED), d.count(symbolic.AT_MOST), d))


@text_function
def better_known(old: str, new: str) -> str:
    """The value with fewer symbolic elements; of two equal ones always the same."""
    return min(old, new, key=lambda text: (not text, text.count('"'), text.count(facts.INVENTED), text))


@text_function
def infer_first(operator: str, opset: int, attributes: str, types: str, values: str) -> str:
    """The type of a node's first output; empty where ONNX's inference cannot tell."""
    if symbolic.AT_MOST in types and operator in symbolic.BROADCAST:
        kinds = symbolic.meeting([facts.parse_kind(text) for text in types.split("|")])
        types = "|".join("" if kind is None else str(kind) for kind in kinds)
    found = facts.infer(operator, opset, attributes, types, values)
    return found[0] if found else ""


@text_function
def infer_output(operator: str, opset: int, attributes: str, types: str, values: str, output: int) -> str:
    """The type of one output of a node that has several."""
    found = facts.infer(operator, opset, attributes, types, values)
    return found[output] if output < len(found) else ""


@text_function
def infer_opaque(key: str, opset: int, types: str, output: int) -> str:
    """The type of an output of a node that no rule names; ``types`` ends each input's with a bar."""
    operator, outputs, options = _opaque_parts(key)
    if not operator or not facts.has_plain_attributes(operator, opset):
        return DECLINED
    plain = json.loads(options)
    counted = json.dumps({**plain, facts.OUTPUTS_MARK: len(outputs)})
    found = facts.infer(operator, opset, counted, types.removesuffix("|"), "")
    return found[output] if output < len(found) else DECLINED


def carried_operator(key: str) -> str:
    """The operator of the default domain that an opaque node of known attributes is; empty for another."""
    return _opaque_parts(key)[0]


def _opaque_parts(key: str) -> tuple[str, str, str]:
    """Operator, a digit an output, and attributes of an opaque node of known attributes; empty texts for others."""
    domain, _, rest = key.partition("::")
    operator, _, rest = rest.partition(":")
    outputs, _, options = rest.partition(":")
    return (operator, outputs, options) if is_pure(key) and options and not domain else ("", "", "")


@condition
def is_fixed(value: str) -> bool:
    """Whether a known value has no symbolic element."""
    known_value = facts.parse_known(value)
    return known_value is not None and known_value.is_fixed


@condition
def is_coefficient(value: str) -> bool:
    """Whether no element of a known value is 0, and some element is not 1."""
    known_value = facts.parse_known(value)
    return known_value is not None and 0 not in known_value.values and any(v != 1 for v in known_value.values)


@condition
def has_several(kind: str) -> bool:
    """Whether a tensor has more elements than one."""
    found = facts.parse_kind(kind)
    return found is not None and found.is_static and found.elements({}) > 1


@condition
def is_single(kind: str) -> bool:
    """Whether the element type is single precision."""
    return kind.startswith("float32[")


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
def is_moderate(known: str) -> bool:
    """All elements of a known value are finite and far from the largest number."""
    value = facts.parse_known(known)
    return value is not None and value.is_fixed and all(abs(float(n)) < magnitudes.LARGEST for n in value.values)


@condition
def is_filling(key: str) -> bool:
    """Whether an opaque node is a ConstantOfShape."""
    return key.startswith("::ConstantOfShape:")


@condition
def is_deterministic(key: str) -> bool:
    """Whether an opaque node has the same outputs for the same inputs."""
    return is_pure(key)
