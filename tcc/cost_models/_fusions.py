"""What each back end runs as one kernel: data, one strict TOML file a back end."""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tcc.diagnostics import Diagnostic, Exit, TccError
from tcc.targets import schema
from tcc.targets.target import FrozenMapping

if TYPE_CHECKING:
    from tcc.targets import Target

FOLDER = Path(__file__).parent / "fusions"
DEFAULT = "onnxruntime"


@dataclass(frozen=True)
class Fusions:
    """The quantised kernels of one back end.

    ``integer`` names the kernel of an operator between DequantizeLinear and QuantizeLinear, ``integer_to_float``
    that without the latter, ``weight_only`` that of a dequantised constant alone. Operators of ``unchanged`` run on
    integers as they are where scale and zero point stay the same, those of ``through`` without a QuantizeLinear
    behind. ``absorbed`` vanish before a QuantizeLinear, whatever its range where ``any_range``. ``dynamic`` are integer
    products that rescale their own result. ``optional`` gives the inputs that may stay in floating point.
    """

    source: str
    activations: frozenset[str]
    weights: frozenset[str]
    integer: FrozenMapping[str]
    integer_to_float: FrozenMapping[str]
    weight_only: FrozenMapping[str]
    unchanged: frozenset[str]
    through: frozenset[str]
    absorbed: frozenset[str]
    any_range: bool
    dynamic: frozenset[str]
    optional: FrozenMapping[tuple[int, ...]]


_NAMES = schema.mapping(schema.text)
_CHECK = schema.table({
    "source": schema.text, "activations": schema.dtypes, "weights": schema.dtypes,
    "integer": _NAMES, "integer_to_float": _NAMES, "weight_only": _NAMES,
    "unchanged": schema.table({"operators": schema.texts, "through": schema.texts}),
    "absorbed": schema.table({"operators": schema.texts}, {"any_range": schema.flag}),
    "dynamic": schema.table({"operators": schema.texts}),
    "optional": schema.mapping(schema.counts),
})  # fmt: skip


def fusions_of(target: Target) -> Fusions:
    """The table of the first of the target's back ends that has one."""
    there = {path.stem for path in FOLDER.glob("*.toml")}
    return read(next((name for name in target.backends if name in there), DEFAULT))


@functools.cache
def read(name: str) -> Fusions:
    """The checked table of a back end; raises `TccError` with every problem of the file."""
    path = FOLDER / f"{name}.toml"
    contents = tomllib.loads(path.read_text(encoding="utf-8"))
    if problems := [Diagnostic("E0211", problem, str(path)) for problem in _CHECK(contents, "")]:
        raise TccError(Exit.USAGE, problems)
    return _build(contents)


def _build(contents: Mapping[str, Any]) -> Fusions:
    return Fusions(
        source=contents["source"],
        activations=frozenset(contents["activations"]),
        weights=frozenset(contents["weights"]),
        integer=FrozenMapping(contents["integer"]),
        integer_to_float=FrozenMapping(contents["integer_to_float"]),
        weight_only=FrozenMapping(contents["weight_only"]),
        unchanged=frozenset(contents["unchanged"]["operators"]),
        through=frozenset(contents["unchanged"]["through"]),
        absorbed=frozenset(contents["absorbed"]["operators"]),
        any_range=contents["absorbed"].get("any_range", False),
        dynamic=frozenset(contents["dynamic"]["operators"]),
        optional=FrozenMapping({name: tuple(places) for name, places in contents["optional"].items()}),
    )


def arranged(kernel: str, operands: int) -> list[int | None]:
    """Where a quantised kernel takes the operator's inputs: their numbers in its own order, None for other operands.

    Each tensor is followed by its scale and zero point; those of the result come before a bias and, in a
    concatenation, first (com.microsoft operators, ONNX's QLinearConv and QLinearMatMul).
    """
    places = list(range(operands))
    if not kernel.startswith(("QLinear", "QGemm")):
        return list(places)
    data, bias = (places[:2], places[2:3]) if kernel in {"QLinearConv", "QGemm"} else (places, [])
    spread = [operand for place in data for operand in (place, None, None)]
    if kernel == "QLinearConcat":
        return [None, None, *spread]
    return [*spread, *([None, None] if kernel == "QLinearConv" else []), *bias]
