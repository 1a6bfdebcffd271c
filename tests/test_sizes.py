"""Sizes as sums of products of symbols: arithmetic agrees with numbers, equal sizes have one text, names stay names."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tcc.ir import facts, sizes
from tcc.ir.types import TensorType

NAMES = ("batch", "past", "seq")
ASSIGNED = st.fixed_dictionaries({name: st.integers(0, 50) for name in NAMES})


@st.composite
def expressions(draw: st.DrawFn) -> sizes.Size:
    """A size that is not negative."""
    leaves: list[sizes.Size] = [*NAMES, 1, 2, 4]
    made = draw(st.sampled_from(leaves))
    for _ in range(draw(st.integers(0, 3))):
        operation = draw(st.sampled_from((sizes.total, sizes.product)))
        made = operation(made, draw(st.sampled_from(leaves))) or made
    return made


def number(size: sizes.Size | None, symbols: dict[str, int]) -> int | None:
    return sizes.evaluated(size, symbols, 1) if isinstance(size, str) else size


@given(expressions(), expressions(), ASSIGNED)
def test_arithmetic_is_that_of_numbers(a: sizes.Size, b: sizes.Size, symbols: dict[str, int]) -> None:
    x, y = number(a, symbols), number(b, symbols)
    assert x is not None
    assert y is not None
    for found, expected in ((sizes.total(a, b), x + y), (sizes.product(a, b), x * y)):
        assert found is None or number(found, symbols) == expected
    if (whole := sizes.product(a, b)) is not None and (part := sizes.quotient(whole, b)) is not None:
        assert part == a


@given(expressions(), expressions())
def test_equal_sizes_have_one_text(a: sizes.Size, b: sizes.Size) -> None:
    assert sizes.total(a, b) == sizes.total(b, a)
    assert sizes.product(a, b) == sizes.product(b, a)
    if (whole := sizes.total(a, b)) is not None:
        assert sizes.difference(whole, b) == a


def test_signs_are_known() -> None:
    assert sizes.never_negative("past+seq")
    assert not sizes.never_negative("seq+-1")
    assert sizes.never_zero("seq+1")
    assert not sizes.never_zero("seq")
    assert sizes.quotient("4*batch+seq", 4) is None


def test_a_name_that_reads_like_a_sum_is_a_symbol() -> None:
    text = facts.kind_text(TensorType("float32", ("past + seq", "past", "seq")))
    kind = facts.parse_kind(text)
    assert kind is not None
    assert kind.shape is not None
    assert kind.shape[0] != sizes.total("past", "seq")
    assert kind.sizes({"past + seq": 7, "past": 2, "seq": 3}) == (7, 2, 3)


def test_a_name_that_no_input_has_is_told_from_the_others() -> None:
    given_names = frozenset({"seq"})
    texts = [facts.symbol(name, given_names) for name in ("seq", "Concat_3_dim_2")]
    assert [facts.INVENTED in text for text in texts] == [False, True]
