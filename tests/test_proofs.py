"""Rules on elements and on indices are proved by an SMT solver; of each other the reason why not is stated."""

from __future__ import annotations

import itertools

import pytest

z3 = pytest.importorskip("z3", reason="needs the extra: pip install 'tensorcompress[test]'")

from tcc.ir import attributes  # noqa: E402 - what follows needs the solver
from tcc.ir.facts import kind_text, permutation  # noqa: E402
from tcc.ir.host import DECLINED  # noqa: E402
from tcc.ir.types import TensorType  # noqa: E402
from tcc.rewrites import _conditions, rules, stored  # noqa: E402
from tcc.rewrites.laws import laws  # noqa: E402
from tests.proofs.reading import rewritings  # noqa: E402
from tests.proofs.reals import UnprovableError, counterexample  # noqa: E402
from tests.rules.wrong import wrong_rules  # noqa: E402

RULES = {rule.name: rule for rule in (*stored(), *(law.stored for law in laws()))}
ELEMENTWISE = {
    *("constant_operand_last", "subtract_constant", "divide_by_constant", "add_negated", "gather_factors"),
    *("gather_summands", "multiply_by_reciprocal", "max_with_zero", "clip_from_zero", "clip_with_relu", "clip_of_clip"),
    *(
        "identity",
        "dropout",
        "of_one_input",
        "extremum_of_the_same",
        "prelu_written_out",
        "add_zero",
        "add_zero_integer",
        "subtract_zero",
        "multiply_by_one",
    ),
    *("divide_by_one", "power_of_one", "negate_twice", "not_twice", "absolute_of_absolute", "relu_of_relu"),
    *(
        "where_same",
        "where_same_integer",
        "where_decided",
        "where_decided_integer",
        "where_not",
        "where_decided_before",
        "sigmoid_written_out",
        "softplus_written_out",
        "mish",
        "power_is_product",
    ),
    *(
        "one_over",
        "scale_of_shifted",
        "sum_of_scaled",
        "common_factor",
        "scalar_behind_product",
        "with_neutral_tensor",
        "commute",
        "associate",
        "distribute",
    ),
}
"""Proved element by element."""
TERM_BY_TERM = {
    *("sum_of_products_with_weight", "sum_of_products_of_input", "sum_of_convolutions_with_weight"),
    *("scale_of_operand", "distribute_matmul", "scale_matmul", "scale_convolution", "distribute_convolution"),
}
"""Proved for one term of a sum of products, hence for all sizes."""
INDICES = {"transpose_of_transpose", "transpose_nothing"}
"""Proved of where each element comes from."""
REASONS = {
    "gelu_of_erf": "its constants are equal up to their rounding only",
    "gelu_of_tanh": "its constants are equal up to their rounding only",
    "swish": "the factor is written into an attribute",
    "hard_sigmoid": "the constants are written into attributes",
    "hard_swish": "the constants are written into attributes",
    "power_is_root": "its exponents are fractions",
    "constant_scalar": "it computes a constant, it rewrites nothing",
    "cast_to_own_type": "it is about types",
    "cast_there_and_back": "it is about types",
    "expand_to_own_shape": "it is about shapes",
    "tile_once": "it is about shapes",
    "slice_everything": "its condition reads ranges that are not modelled",
    "slice_of_slice": "its ranges are computed",
    "pad_nothing": "its condition reads amounts that are not modelled",
    "concat_of_concat": "it joins several tensors",
    "concat_of_split": "it joins several tensors",
}
"""Why the other rules of the same files are not proved."""
RANKS = range(1, 6)


def proved(name: str) -> bool:
    """Whether every rewriting of a rule is proved."""
    found = rewritings(RULES[name])
    return found is not None and all(counterexample(one) is None for one in found)


@pytest.mark.parametrize("name", sorted(ELEMENTWISE | TERM_BY_TERM))
def test_a_rule_is_proved(name: str) -> None:
    assert proved(name)


def test_elementwise_rules_are_proved_or_a_reason_is_known() -> None:
    """No rule whose text the solver can read is left out, and none that is wrong is among them."""
    unproved = {}
    for name in sorted(RULES.keys() - ELEMENTWISE - TERM_BY_TERM):
        try:
            if proved(name):
                unproved[name] = "is proved: name it in this file"
        except UnprovableError:
            continue
        else:
            if rewritings(RULES[name]) is not None and name not in unproved:
                unproved[name] = "has a counterexample over the reals"
    assert unproved == {}


def test_each_rule_of_the_elementwise_files_is_proved_or_has_a_reason() -> None:
    here = {rule.name for rule in rules() if rule.group in {"elementwise", "identities", "powers", "activations"}}
    assert here - ELEMENTWISE - REASONS.keys() == set(), "prove it here, or say why not"
    assert not REASONS.keys() & (ELEMENTWISE | TERM_BY_TERM)
    assert REASONS.keys() <= RULES.keys()


def test_the_number_of_proofs(capsys: pytest.CaptureFixture[str]) -> None:
    done = len(ELEMENTWISE) + len(TERM_BY_TERM) + len(INDICES)
    with capsys.disabled():
        print(f"\nproved {done} of {len(RULES)} rules and laws")  # noqa: T201 - the count is for the reader
    assert done >= 45
    assert RULES.keys() >= (ELEMENTWISE | TERM_BY_TERM | INDICES)


def test_wrong_rules_have_counterexamples() -> None:
    """Those wrong forms that are wrong in their algebra, not in their types."""
    caught = 0
    for wrong in wrong_rules():
        if (found := rewritings(wrong.stored)) is None:
            continue
        try:
            caught += any(counterexample(one) is not None for one in found)
        except UnprovableError:
            continue
    assert caught >= 12


@pytest.mark.parametrize("rank", RANKS)
def test_transpositions_compose(rank: int) -> None:
    """Element ``i`` of ``Transpose(Transpose(x, p), q)`` is the one that ``Transpose(x, composed)`` has there."""
    x = z3.Function("x", *[z3.IntSort()] * rank, z3.RealSort())
    index = [z3.Int(f"i{axis}") for axis in range(rank)]
    kind = kind_text(TensorType("float32", tuple(f"n{axis}" for axis in range(rank))))

    def at(order: tuple[int, ...], place: list[object]) -> list[object]:
        """Where the element at a place of a transposed tensor stands in the tensor."""
        source: list[object] = [None] * rank
        for axis, moved in enumerate(order):
            source[moved] = place[axis]
        return source

    solver = z3.Solver()
    orders = list(itertools.permutations(range(rank)))
    for first, second in itertools.product(orders, orders[:: max(1, len(orders) // 12)]):
        keys = [attributes.key_of({"perm": list(order)}) for order in (first, second)]
        composed = _conditions.composed.__wrapped__(*keys, kind)  # type: ignore[attr-defined]
        assert composed != DECLINED
        order = permutation(composed, kind)
        assert order is not None
        solver.push()
        solver.add(x(*at(first, at(second, index))) != x(*at(order, index)))
        assert solver.check() == z3.unsat
        solver.pop()
        moves_nothing = _conditions.is_identity_permutation.__wrapped__(composed, kind)  # type: ignore[attr-defined]
        assert moves_nothing == (at(order, index) == index)
