"""What each back end runs as one kernel: data, one strict TOML file a back end."""

from __future__ import annotations

import functools
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tcc.diagnostics import Diagnostic, Exit, TccError
from tcc.targets import schema
from tcc.targets.target import FrozenMapping

if TYPE_CHECKING:
    from tcc.ir.types import TensorType
    from tcc.targets import Target

FOLDER = Path(__file__).parent / "fusions"
DEFAULT = "onnxruntime"


@dataclass(frozen=True)
class Term:
    """A part of a pattern: a variable, ``constant`` where it stands for weights only, or an operator on terms."""

    name: str
    operator: str
    operands: tuple[int, ...]
    constant: bool = False


@dataclass(frozen=True)
class Pattern:
    """A tree of operators that runs as one kernel, on the classes that ``operands`` name; terms are numbered.

    Where they are stated, the first operand is of one of ``types`` with at most ``columns`` along its last axis, and
    the target is one of ``processors``.
    """

    kernel: str
    operands: tuple[str, ...]
    terms: tuple[Term, ...]
    root: int
    types: frozenset[str] = frozenset()
    columns: int = 0
    processors: frozenset[str] = frozenset()

    def suits(self, first: TensorType | None) -> bool:
        """Whether a tensor may be the first operand."""
        if self.types and (first is None or first.dtype not in self.types):
            return False
        last = None if first is None or not first.shape else first.shape[-1]
        return not self.columns or (isinstance(last, int) and last <= self.columns)

    @staticmethod
    def parse(kernel: str, operands: str, text: str) -> Pattern:
        """The pattern ``Div(d=Sub(x, ReduceMean(x)), Sqrt(_))``: ``_`` is anything, ``c:`` begins a constant's name."""
        terms: list[Term] = []
        tokens = re.findall(r"[A-Za-z0-9_:]+=?|[(),]", text)

        def term() -> int:
            name, word = "", tokens.pop(0)
            if word.endswith("="):
                name, word = word[:-1], tokens.pop(0)
            inside: list[int] = []
            if tokens and tokens[0] == "(":
                while tokens.pop(0) in "(,":
                    inside.append(term())
                terms.append(Term(name, word, tuple(inside)))
            else:
                terms.append(Term(word.strip("_"), "", (), word.startswith("c:")))
            return len(terms) - 1

        root = term()
        return Pattern(kernel, tuple(operands.split()), tuple(terms), root)


@dataclass(frozen=True)
class Cost:
    """What a kernel computes besides its arithmetic, and how well, in operations of the machine's peak rate.

    ``operation`` is what one arithmetic operation takes, ``result`` what is done for each element of the result
    (rescaling, rounding, a transcendental function), ``read`` for each one of the first input, ``packed`` for each one
    of a second factor that is no constant, ``gathered`` for each one that a window copies out of fewer than
    ``NARROW`` channels, ``rows`` for each position of a convolution's result, whatever its channels, ``groups`` for
    each group of channels of each sample. ``launches`` is the fixed part, in launches of a small kernel where the costs
    were fitted (``roofline.SMALL_KERNEL``).
    """

    operation: float = 0.0
    result: float = 0.0
    read: float = 0.0
    packed: float = 0.0
    gathered: float = 0.0
    rows: float = 0.0
    groups: float = 0.0
    launches: float = 1.0


NARROW = 8
"""Channels below which a window's rows are too short to be copied as such."""


@dataclass(frozen=True)
class Regions:
    """What a back end compiles into one kernel of its own: an anchor and what is done to its result element by element.

    ``anchors`` are operators whose kernels are tiled; ``elementwise`` says of each operator that joins one how many
    vector instructions it takes for a vector of elements.
    """

    anchors: frozenset[str]
    elementwise: FrozenMapping[float]


@dataclass(frozen=True)
class Pointwise:
    """Elementwise ``operators`` of which any chain is one kernel, and the operators ``into`` whose kernel it goes.

    A chain goes into the kernel before it where it reads nothing else but numbers.
    """

    operators: frozenset[str]
    into: frozenset[str]


@dataclass(frozen=True)
class Fusions:
    """The quantised kernels of one back end.

    ``integer`` names the kernel of an operator between DequantizeLinear and QuantizeLinear, ``integer_to_float``
    that without the latter, ``weight_only`` that of a dequantised constant alone. Operators of ``unchanged`` run on
    integers as they are where scale and zero point stay the same, those of ``through`` without a QuantizeLinear
    behind. ``absorbed`` vanish before a QuantizeLinear, whatever its range where ``any_range``. ``dynamic`` are integer
    products that rescale their own result. ``optional`` gives the inputs that may stay in floating point.

    ``epilogues``, ``affine`` maps by constants and ``sums`` are computed while an operator's result is written;
    ``patterns`` run as one kernel, the largest first. ``costs`` are what kernels were measured to take; the roofline
    alone prices the others. ``regions`` are for back ends that compile kernels themselves, whose tiles are chosen.
    ``pointwise`` is for those that run any chain of elementwise operators as one kernel.
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
    epilogues: FrozenMapping[tuple[str, ...]]
    affine: FrozenMapping[tuple[str, ...]]
    sums: FrozenMapping[tuple[str, ...]]
    patterns: tuple[Pattern, ...]
    costs: FrozenMapping[Cost]
    regions: Regions | None = None
    pointwise: Pointwise | None = None


_NAMES = schema.mapping(schema.text)
_CHECK = schema.table({
    "source": schema.text, "activations": schema.dtypes, "weights": schema.dtypes,
    "integer": _NAMES, "integer_to_float": _NAMES, "weight_only": _NAMES,
    "unchanged": schema.table({"operators": schema.texts, "through": schema.texts}),
    "absorbed": schema.table({"operators": schema.texts}, {"any_range": schema.flag}),
    "dynamic": schema.table({"operators": schema.texts}),
    "optional": schema.mapping(schema.counts),
    "epilogues": schema.mapping(schema.texts), "affine": schema.mapping(schema.texts),
    "sums": schema.mapping(schema.texts),
    "patterns": schema.mapping(schema.table(
        {"operands": schema.text, "match": schema.texts},
        {"types": schema.dtypes, "columns": schema.count, "processors": schema.texts},
    )),
}, {
    "costs": schema.mapping(schema.table({}, {field.name: schema.rate for field in fields(Cost)})),
    "regions": schema.table({"anchors": schema.texts, "elementwise": schema.mapping(schema.rate)}),
    "pointwise": schema.table({"operators": schema.texts, "into": schema.texts}),
})  # fmt: skip


def fusions_of(target: Target) -> Fusions:
    """The table of the first of the target's back ends that has one, without what its processor does not run."""
    there = {path.stem for path in FOLDER.glob("*.toml")}
    return _on(next((name for name in target.backends if name in there), DEFAULT), target.processor)


@functools.cache
def _on(name: str, processor: str) -> Fusions:
    found = read(name)
    patterns = tuple(p for p in found.patterns if not p.processors or processor in p.processors)
    return replace(found, patterns=patterns)


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
        epilogues=_lists(contents["epilogues"]),
        costs=FrozenMapping({name: Cost(**table) for name, table in contents.get("costs", {}).items()}),
        affine=_lists(contents["affine"]),
        sums=_lists(contents["sums"]),
        patterns=tuple(
            sorted(
                (
                    replace(
                        Pattern.parse(kernel, table["operands"], text),
                        types=frozenset(table.get("types", ())),
                        columns=table.get("columns", 0),
                        processors=frozenset(table.get("processors", ())),
                    )
                    for kernel, table in contents["patterns"].items()
                    for text in table["match"]
                ),
                key=lambda pattern: -len(pattern.terms),
            )
        ),
        regions=_regions(contents.get("regions")),
        pointwise=_pointwise(contents.get("pointwise")),
    )


def _pointwise(table: Mapping[str, Any] | None) -> Pointwise | None:
    return None if table is None else Pointwise(frozenset(table["operators"]), frozenset(table["into"]))


def _regions(table: Mapping[str, Any] | None) -> Regions | None:
    return None if table is None else Regions(frozenset(table["anchors"]), FrozenMapping(table["elementwise"]))


def _lists(table: Mapping[str, list[str]]) -> FrozenMapping[tuple[str, ...]]:
    return FrozenMapping({name: tuple(names) for name, names in table.items()})


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
