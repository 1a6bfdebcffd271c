"""Proves rewritings over the real numbers: element by element, and sums of products term by term.

An element of a matrix product or a convolution is a sum over some index of products of one element of each operand.
Two such sums over one index are equal if their terms are, so that a proof for one term holds for every size. Types
(which of them broadcast, what may be divided) are conditions that the tests of rules check; here a rewriting is
proved wherever the left side is defined.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import reduce
from typing import Any

import z3

from tests.proofs.reading import Call, Rewriting, Term, asked


class UnprovableError(Exception):
    """A rewriting is not within what is modelled here; says why."""


@dataclass(frozen=True)
class Element:
    """One element of a tensor: ``term`` summed over the index of a product, and what is added to that sum."""

    term: Any
    rest: Any
    over: Term | None = None
    """What decides the index: a convolution's attributes."""

    @property
    def plain(self) -> Any:
        """The element where it is no sum."""
        if self.over is not None:
            raise UnprovableError("a sum inside another operator than a sum or a scale")
        return self.rest


@dataclass
class Model:
    """The meaning of terms: symbols of variables by the place where they are read, and what is asked of them."""

    scalars: set[Term] = field(default_factory=set)
    given: list[Any] = field(default_factory=list)
    defined: list[Any] = field(default_factory=list)
    known: dict[Term, Term] = field(default_factory=dict)
    texts: dict[Term, Any] = field(default_factory=dict)

    def symbol(self, variable: Term, place: str) -> Any:
        """A variable's element at a place: of the result, or of an operand of a product."""
        return z3.Real(f"{variable}" if variable in self.scalars or not place else f"{variable}@{place}")

    def truth(self, term: Term) -> Any:
        """A truth value's element."""
        if isinstance(term, Call) and term.name == "Not":
            return z3.Not(self.truth(term.arguments[0]))
        if isinstance(term, Call):
            raise UnprovableError(f"{term.name} as a truth value")
        return self.symbol(term, "") != 0

    def element(self, term: Term, place: str = "") -> Element:
        """The meaning of a term."""
        if not isinstance(term, Call):
            return Element(None, self.symbol(term, place))
        if term.name == "literal":
            if (text := term.arguments[0]) not in self.texts:
                raise UnprovableError("a computed constant that is not modelled")
            return Element(None, self.texts[text])
        if term.name in {"MatMul", "Conv"} and not place:
            return self._product(term)
        if term.name in {"Add", "Mul"}:
            return self._combined(term, place)
        if term.name in _LISTS:
            return Element(None, _LISTS[term.name]([self.element(t, place).plain for t in _items(term.arguments[0])]))
        if term.name == "Clip":
            return Element(None, self._clipped(term, place))
        if term.name == "Where":
            condition, *branches = term.arguments[:3]
            return Element(None, z3.If(self.truth(condition), *(self.element(b, place).plain for b in branches)))
        if term.name == "Pow":
            return Element(None, self._power(term, place))
        if term.name in {"Identity", "Dropout"}:
            return self.element(term.arguments[0], place)
        if (function := _FUNCTIONS.get(term.name)) is None:
            raise UnprovableError(f"{term.name} is not modelled")
        operands = [self.element(t, place).plain for t in term.arguments[:-1]]
        return Element(None, function(self, *operands))

    def _product(self, term: Call) -> Element:
        x, w, *others = term.arguments
        if term.name == "Conv" and others[0] != Call("absent", ()):
            raise UnprovableError("a convolution with a bias")
        left, right = self.element(x, "left").plain, self.element(w, "right").plain
        return Element(left * right, z3.RealVal(0), others[-1])

    def _combined(self, term: Call, place: str) -> Element:
        a, b = (self.element(t, place) for t in term.arguments[:2])
        if a.over is None and b.over is None:
            return Element(None, a.rest + b.rest if term.name == "Add" else a.rest * b.rest)
        if term.name == "Mul":
            total, scale = (a, b) if a.over is not None else (b, a)
            factor = term.arguments[1] if total is a else term.arguments[0]
            if factor not in self.scalars:
                raise UnprovableError("a sum times what is no scalar")
            return Element(total.term * scale.plain, total.rest * scale.plain, total.over)
        if a.over is not None and b.over is not None:
            if a.over != b.over:
                raise UnprovableError("sums over two indices")
            return Element(a.term + b.term, a.rest + b.rest, a.over)
        total, other = (a, b) if a.over is not None else (b, a)
        return Element(total.term, total.rest + other.plain, total.over)

    def _clipped(self, term: Call, place: str) -> Any:
        x, low, high = term.arguments[:3]
        value = self.element(x, place).plain
        for bound, pick in ((low, _larger), (high, _smaller)):
            if bound != Call("absent", ()):
                value = pick(value, self.element(bound).plain)
        return value

    def _power(self, term: Call, place: str) -> Any:
        x, exponent = term.arguments[:2]
        for count in (1, 2, 3):
            if any(z3.eq(g, self.symbol(exponent, "") == count) for g in self.given):
                return reduce(lambda a, b: a * b, [self.element(x, place).plain] * count)
        raise UnprovableError("a power whose exponent is no small known number")

    def defined_if(self, condition: Any) -> None:
        """What has to hold for the left side to be defined."""
        self.defined.append(condition)


def _larger(a: Any, b: Any) -> Any:
    return z3.If(a >= b, a, b)


def _smaller(a: Any, b: Any) -> Any:
    # ONNX: where the bounds cross, the upper one is the result.
    return z3.If(a <= b, a, b)


def _items(term: Term) -> list[Term]:
    items: list[Term] = []
    while isinstance(term, Call) and term.name == "cons":
        items.append(term.arguments[0])
        term = term.arguments[1]
    if term != Call("nil", ()):
        raise UnprovableError("a list of unknown length")
    return items


def _divided(model: Model, a: Any, b: Any) -> Any:
    model.defined_if(b != 0)
    return a / b


_EXP = z3.Function("exp", z3.RealSort(), z3.RealSort())
_LOG = z3.Function("log", z3.RealSort(), z3.RealSort())
_TANH = z3.Function("tanh", z3.RealSort(), z3.RealSort())


def _exponential(model: Model, x: Any) -> Any:
    model.given.append(_EXP(x) > 0)
    return _EXP(x)


_LISTS: dict[str, Callable[[list[Any]], Any]] = {
    "Max": lambda items: reduce(_larger, items),
    "Min": lambda items: reduce(_smaller, items),
    "Sum": lambda items: reduce(lambda a, b: a + b, items),
    "Mean": lambda items: reduce(lambda a, b: a + b, items) / len(items),
    "Concat": lambda items: items[0] if len(items) == 1 else _declined("a join of several tensors"),
}
_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "Sub": lambda _m, a, b: a - b,
    "Div": _divided,
    "Neg": lambda _m, a: -a,
    "Reciprocal": lambda m, a: _divided(m, z3.RealVal(1), a),
    "Abs": lambda _m, a: z3.If(a >= 0, a, -a),
    "PRelu": lambda _m, a, c: z3.If(a >= 0, a, c * a),
    "Relu": lambda _m, a: _larger(a, z3.RealVal(0)),
    "Exp": _exponential,
    "Log": lambda m, a: (m.defined_if(a > 0), _LOG(a))[1],
    "Tanh": lambda _m, a: _TANH(a),
    "Sigmoid": lambda m, a: _divided(m, z3.RealVal(1), 1 + _exponential(m, -a)),
    "Softplus": lambda m, a: _LOG(1 + _exponential(m, a)),
    "Mish": lambda m, a: a * _TANH(_LOG(1 + _exponential(m, a))),
}


def _declined(why: str) -> Any:
    raise UnprovableError(why)


def _read_facts(model: Model, facts: tuple[Call, ...]) -> None:
    for fact in facts:
        if fact.name == "=" and isinstance(fact.arguments[1], Call) and fact.arguments[1].name in _BINDING:
            model.known[fact.arguments[0]] = fact.arguments[1].arguments[0]
    for fact in facts:
        for side in fact.arguments:
            if (found := asked(side)) is not None:
                _read_condition(model, *found, bound=fact.arguments[0])


_BINDING = frozenset({"known", "kind", "structure"})


def _read_condition(model: Model, name: str, arguments: tuple[Term, ...], *, bound: Term) -> None:
    """What a condition says; of those not named here nothing is used, so that a proof does not rest on them."""
    of = [model.known.get(a) for a in arguments]
    values: list[Any] = [None if v is None else model.symbol(v, "") for v in of]
    if name in {"all_equal_to", "is_filled"}:
        model.given.append(values[0] == arguments[1])
    elif name == "all_positive_zero":
        model.given.append(values[0] == 0)
    elif name == "not_below_zero":
        model.given.append(values[0] >= 0)
    elif name == "larger_of_zero":
        model.texts[bound] = _larger(values[0], z3.RealVal(0))
    elif name == "meeting":
        low, high, other_low, other_high = values[1:]
        lowest, highest = _larger(low, other_low), _smaller(high, other_high)
        model.texts[bound] = highest if arguments[0] else lowest
        model.given += [low <= high, other_low <= other_high, lowest <= highest]
    elif name == "is_scalar" or (name == "rank_is" and arguments[1] == 0):
        model.scalars.add(of[0] if of[0] is not None else arguments[0])


def counterexample(rewriting: Rewriting) -> Any | None:
    """A model of the reals in which the two sides differ; None if there is none.

    Raises:
        UnprovableError: the rewriting is not within what is modelled, or the solver does not decide it.
    """
    model = Model()
    _read_facts(model, rewriting.facts)
    if _is_truth(rewriting.left):
        different = model.truth(rewriting.left) != model.truth(rewriting.right)
    else:
        left = model.element(rewriting.left)
        defined = list(model.defined)
        right = model.element(rewriting.right)
        if left.over != right.over:
            raise UnprovableError("sums over two indices")
        parts = [(left.rest, right.rest), *([] if left.over is None else [(left.term, right.term)])]
        undefined = z3.Not(z3.And(*model.defined[len(defined) :]))
        model.given += defined
        different = z3.Or(undefined, *(a != b for a, b in parts))
    solver = z3.Solver()
    solver.set("timeout", 20_000)
    solver.add(*model.given, different)
    answer = solver.check()
    if answer == z3.unknown:
        raise UnprovableError("the solver does not decide it")
    return solver.model() if answer == z3.sat else None


def _is_truth(term: Term) -> bool:
    return isinstance(term, Call) and term.name == "Not"
