"""Shapes of what broadcasts."""

from __future__ import annotations

from collections.abc import Sequence

from tcc.ir import attributes
from tcc.ir.facts import parse_kind
from tcc.ir.host import DECLINED, condition, text_function
from tcc.ir.types import Dimension
from tcc.rewrites._normalized import reduced

_Shape = tuple[Dimension, ...]


def _together(shapes: Sequence[_Shape]) -> _Shape | None:
    """The shape of all of these together; None where that depends on what symbols stand for."""
    rank = max(map(len, shapes))
    made: list[Dimension] = []
    for sizes in zip(*((1,) * (rank - len(shape)) + shape for shape in shapes), strict=True):
        wide = {size for size in sizes if size != 1}
        if len(wide) > 1 or None in wide:
            return None
        made.append(wide.pop() if wide else 1)
    return tuple(made)


def _reaches(operands: Sequence[str], result: str) -> bool:
    kinds, wanted = [parse_kind(operand) for operand in operands], parse_kind(result)
    shapes = [kind.shape for kind in kinds if kind is not None and kind.shape is not None]
    if len(shapes) < len(operands) or wanted is None or wanted.shape is None:
        return False
    return _together(shapes) == wanted.shape


@condition
def reach(first: str, second: str, result: str) -> bool:
    """Tensors of these types broadcast to the shape of the result."""
    return _reaches((first, second), result)


@condition
def reach_three(first: str, second: str, third: str, result: str) -> bool:
    """The same for three tensors."""
    return _reaches((first, second, third), result)


@text_function
def with_kept(attribute_key: str, axes: str, after: str, before: str) -> str:
    """A reduction's attributes with keepdims=1, where ``after`` is ``before`` with ones at the reduced axes."""
    options, new, old = attributes.parse(attribute_key), parse_kind(after), parse_kind(before)
    if options.get("keepdims", 1) or new is None or old is None or old.shape is None:
        return DECLINED
    kept = attributes.key_of({name: value for name, value in options.items() if name != "keepdims"})
    over = reduced(kept, axes, old)
    if not over:
        return DECLINED
    full = tuple(1 if axis in over else size for axis, size in enumerate(old.shape))
    return kept if full == new.shape and None not in full else DECLINED
