"""What each operator asks of its operands' shapes, and what shape it has."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from tests.equalities.expressions import Claim, Expression
from tests.equalities.shapes import SAME, Axis, Domain, Size, Term, Types, Unknown, UntypedError

if TYPE_CHECKING:
    import numpy as np

_WINDOWED = frozenset({"conv2d", "poolavg", "poolmax", "enlarge", "Iconv", "Cpool", "merge"})
_LARGEST_RANK = 4


def infer(claim: Claim, domain: Domain, rng: np.random.Generator, given: Mapping[str, int]) -> Types:
    """The shapes of all nodes, equal on both sides of the claim, with unknown sizes.

    Raises:
        UntypedError: there are none.
    """
    types = Types(domain)
    types.ranks = ranks(claim, rng, given)
    # A kernel of merged groups says how many groups the other side has.
    first, second = sorted((claim.left, claim.right), key=lambda side: "merge" not in str(side))
    for a, b in zip(_infer(types, first), _infer(types, second), strict=True):
        types.require(a.size, b.size)
    return types


class _Ranks:
    """Union-find over the nodes that have one rank."""

    def __init__(self) -> None:
        self.parent: dict[object, object] = {}
        self.least: dict[object, int] = {}
        self.fixed: dict[object, int] = {}

    def root(self, key: object) -> object:
        while (up := self.parent.get(key, key)) is not key:
            key = up
        return key

    def join(self, a: object, b: object) -> None:
        a, b = self.root(a), self.root(b)
        if a is b:
            return
        self.parent[a] = b
        self.least[b] = max(self.least.get(a, 0), self.least.get(b, 0))
        if a in self.fixed:
            self.fix(b, self.fixed[a])

    def fix(self, key: object, rank: int) -> None:
        if self.fixed.setdefault(self.root(key), rank) != rank:
            raise UntypedError("a tensor would have two ranks")

    def at_least(self, key: object, rank: int) -> None:
        self.least[self.root(key)] = max(rank, self.least.get(self.root(key), 0))


def ranks(claim: Claim, rng: np.random.Generator, given: Mapping[str, int]) -> dict[Expression, int]:
    """The rank of each node; where several are possible, at random, if it is not given for a variable.

    Raises:
        UntypedError: there are none.
    """
    found, multiplied = _Ranks(), []

    def key(node: Expression) -> object:
        return node.operator if node.is_variable else node

    for node in claim.nodes():
        operands = [key(operand) for operand in node.operands]
        if node.operator == "smul":
            found.fix(operands.pop(), 0)
        if node.operator in _WINDOWED:
            found.fix(node, 4)
        if node.operator == "Imatmul":
            found.fix(node, 2)
        if node.operator in {"matmul", "transpose"}:
            found.at_least(key(node), 2)
        if node.operator == "matmul":
            multiplied.append(key(node))
        if node.operator == "concat" or node.operator.startswith("split_"):
            found.at_least(key(node), node.numbers[0] + 1)
        for operand in operands:
            found.join(operand, key(node))
    found.join(key(claim.left), key(claim.right))
    for name in claim.variables():
        if name in given:
            found.fix(name, given[name])
    # Columns are what TASO calls axis 1 of a matrix: products and transpositions are of matrices.
    joined = any(node.operator == "concat" or node.operator.startswith("split_") for node in claim.nodes())
    turned = any(node.operator == "transpose" for node in claim.nodes())
    chosen: dict[object, int] = {}
    for node in claim.nodes():
        root = found.root(key(node))
        if root not in chosen:
            least = found.least.get(root, 0)
            matrix = any(found.root(k) is root for k in multiplied) or (turned and joined)
            drawn = 2 if matrix and (joined or rng.random() < 0.7) else int(rng.integers(max(least, 1), _LARGEST_RANK))
            chosen[root] = found.fixed.get(root, max(least, drawn))
            if chosen[root] < least:
                raise UntypedError("a tensor would have two ranks")
    return {node: chosen[found.root(key(node))] for node in claim.nodes()}


def _infer(types: Types, node: Expression) -> list[Axis]:
    operands = [_infer(types, operand) for operand in node.operands]
    if node.is_variable:
        axes = types.variables.setdefault(node.operator, [])
        if not axes:
            axes.extend(Axis(Unknown()) for _ in range(types.ranks[node]))
    else:
        axes = _RULES[node.operator](types, node, operands)
    types.axes[node] = axes
    return axes


Operands = list[list[Axis]]


def _elementwise(types: Types, _node: Expression, operands: Operands) -> list[Axis]:
    result = operands[0]
    for other in operands[1:]:
        for a, b in zip(result, other, strict=True):
            types.require(a.size, b.size)
        result = [a if a.parts else b for a, b in zip(result, other, strict=True)]
    return result


def _matmul(types: Types, _node: Expression, operands: Operands) -> list[Axis]:
    a, b = operands
    types.require(a[-1].size, b[-2].size)
    for x, y in zip(a[:-2], b[:-2], strict=True):
        types.require(x.size, y.size)
    return [*a[:-1], b[-1]]


def _transpose(_types: Types, _node: Expression, operands: Operands) -> list[Axis]:
    (x,) = operands
    return [*x[:-2], x[-1], x[-2]]


def _concat(types: Types, node: Expression, operands: Operands) -> list[Axis]:
    a, b = operands
    axis = node.numbers[0]
    for i, (x, y) in enumerate(zip(a, b, strict=True)):
        if i != axis:
            types.require(x.size, y.size)
    beside = [x if x.parts else y for x, y in zip(a, b, strict=True)]
    beside[axis] = Axis(Term("sum", (a[axis].size, b[axis].size)), (a[axis], b[axis]))
    return beside


def _split(_types: Types, node: Expression, operands: Operands) -> list[Axis]:
    (x,) = operands
    axis = node.numbers[0]
    parts = x[axis].parts
    if parts is None:
        raise UntypedError("a split has no concat to undo")
    return [*x[:axis], parts[int(node.operator[-1])], *x[axis + 1 :]]


def _as_kernel(types: Types, axes: list[Axis]) -> None:
    for axis in axes[2:]:
        size = types.walk(axis.size)
        if isinstance(size, Unknown):
            size.kernel = True


def _windows(types: Types, x: list[Axis], window: list[Size], strides: tuple[int, int], pad: int) -> list[Axis]:
    result: list[Axis] = []
    for axis, size, stride in zip(x[2:], window, strides, strict=True):
        if pad == SAME:
            result.append(axis if stride == 1 else Axis(Term("same", (axis.size,), stride)))
        else:
            types.checks.append(lambda value, a=axis.size, k=size: value(a) >= value(k))  # type: ignore[misc]
            result.append(Axis(Term("valid", (axis.size, size), stride)))
    return result


def _conv2d(types: Types, node: Expression, operands: Operands) -> list[Axis]:
    x, w = operands
    _as_kernel(types, w)
    before = dict(types.bound)
    grouped: Size = Term("times", (w[1].size,), types.domain.groups)
    fits = types.domain.groups > 1 and types.unify(x[1].size, grouped)
    if not fits:
        types.bound = before
        if not types.unify(x[1].size, w[1].size):
            types.bound = before
    types.checks.append(
        lambda value, c=x[1].size, i=w[1].size, o=w[0].size: (  # type: ignore[misc]
            value(c) % value(i) == 0 and value(o) % (value(c) // value(i)) == 0
        )
    )
    for inner in node.operands[1].walk():
        if inner.operator in {"Iconv", "Cpool"}:
            # Each channel's own kernel: as many outputs as channels.
            types.require(types.axes[inner][0].size, x[1].size)
    sh, sw, pad, _ = node.numbers
    sizes = [axis.size for axis in w[2:]]
    return [x[0], Axis(w[0].size, w[0].parts), *_windows(types, x, sizes, (sh, sw), pad)]


def _pool(types: Types, node: Expression, operands: Operands) -> list[Axis]:
    (x,) = operands
    kh, kw, sh, sw, pad = node.numbers
    return [*x[:2], *_windows(types, x, [kh, kw], (sh, sw), pad)]


def _enlarge(types: Types, node: Expression, operands: Operands) -> list[Axis]:
    (w,) = operands
    _as_kernel(types, w)
    for axis, wanted in zip(w[2:], node.numbers, strict=True):
        types.checks.append(lambda value, a=axis.size, k=wanted: value(a) <= k)  # type: ignore[misc]
    return [*w[:2], *(Axis(k) for k in node.numbers)]


def _merge(_types: Types, node: Expression, operands: Operands) -> list[Axis]:
    (w,) = operands
    return [w[0], Axis(Term("times", (w[1].size,), node.numbers[0])), *w[2:]]


def _kernel(_types: Types, node: Expression, _operands: Operands) -> list[Axis]:
    return [Axis(Unknown()), Axis(Unknown()), *(Axis(k) for k in node.numbers)]


def _identity(_types: Types, _node: Expression, _operands: Operands) -> list[Axis]:
    size = Unknown()
    return [Axis(size), Axis(size)]


def _ones(types: Types, node: Expression, _operands: Operands) -> list[Axis]:
    return [Axis(Unknown()) for _ in range(types.ranks[node])]


_RULES: dict[str, Callable[[Types, Expression, Operands], list[Axis]]] = {
    "ewadd": _elementwise, "ewmul": _elementwise, "relu": _elementwise, "matmul": _matmul, "transpose": _transpose,
    "concat": _concat, "split_0": _split, "split_1": _split, "conv2d": _conv2d, "poolavg": _pool, "poolmax": _pool,
    "enlarge": _enlarge, "merge": _merge, "Iconv": _kernel, "Cpool": _kernel, "Imatmul": _identity, "Iewmul": _ones,
    "smul": lambda _types, _node, operands: operands[0],
}  # fmt: skip
