"""The proof of a slice: it computes what the original computes with the removed channels masked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tcc.diagnostics import Exit, TccError
from tcc.ir.channels.boundary import Boundary
from tcc.ir.channels.groups import Group, Groups
from tcc.ir.channels.links import MismatchError
from tcc.ir.channels.masking import masked
from tcc.ir.channels.slicing import Removal, sliced
from tcc.ir.equality import Comparison, compare
from tcc.ir.execution import Runner
from tcc.ir.model import Model

if TYPE_CHECKING:
    import numpy as np

TOLERANCE = 1e-5
"""Of each output's scale."""
_WIDEST = 1e-3
"""Beyond, equality within a tolerance says nothing."""
_AMPLIFICATION = 2.0
"""Two roundings of one computation differ from the exact one by as much as from each other."""


@dataclass(frozen=True)
class Proof:
    """Whether the sliced model equals the masked original.

    Args:
        holds: whether all outputs are equal, within ``tolerance`` of their scale.
        difference: the largest, of an output's scale.
        tolerance: 1e-5; more where the masked original differs from itself by more, between ONNX Runtime with and
            without optimisations.
        reason: why it does not hold.
        inner: how many values were compared in place of the outputs, before a part that is the same in both.
    """

    holds: bool
    difference: float
    tolerance: float
    reason: str = ""
    inner: int = 0


def prove(
    groups: Groups, removal: Removal, feeds: Sequence[Mapping[str, Any]], model: Model | None = None
) -> tuple[Proof, Model | None]:
    """Slice a model (or take ``model`` as its slice) and compare it with the masked original.

    Returns:
        The proof, and the sliced model where there is one.
    """
    try:
        small = model or sliced(groups, removal)
        large = masked(groups, removal)
    except MismatchError as reason:
        return Proof(False, float("inf"), TOLERANCE, str(reason)), None
    proof = equal(large, small, feeds, Boundary.of(groups, removal))
    return proof, small if proof.difference < float("inf") else None


def equal(large: Model, small: Model, feeds: Sequence[Mapping[str, Any]], boundary: Boundary | None = None) -> Proof:
    """Compare a model with its masked original, before what is the same in both where its outputs differ."""
    try:
        expected = _run(large, feeds)
        actual = _run(small, feeds)
    except TccError as error:
        if error.exit_code == Exit.LIMIT:
            raise
        notes = "; ".join([error.diagnostics[0].message, *error.diagnostics[0].notes])
        return Proof(False, float("inf"), TOLERANCE, notes)
    found = _worst(expected, actual, TOLERANCE)
    if found.equal:
        return Proof(True, found.largest_scaled, TOLERANCE)
    if (proof := _before_the_rest(boundary, large, small, feeds)) is not None:
        return proof
    tolerance = TOLERANCE
    if found.reason.startswith("differs by"):
        itself = _worst(expected, _run(large, feeds, optimise=True), TOLERANCE)
        tolerance = min(max(TOLERANCE, _AMPLIFICATION * itself.largest_scaled), _WIDEST)
        found = _worst(expected, actual, tolerance)
    return Proof(found.equal, found.largest_scaled, tolerance, "" if found.equal else found.text())


def _before_the_rest(
    boundary: Boundary | None, large: Model, small: Model, feeds: Sequence[Mapping[str, Any]]
) -> Proof | None:
    """The proof by what the part reads that is the same in both; None where that is not equal, or not there."""
    if boundary is None:
        return None
    try:
        expected, actual = boundary.run(large, feeds), boundary.run(small, feeds)
    except TccError:
        return None
    found = _worst(expected, actual, TOLERANCE)
    return Proof(True, found.largest_scaled, TOLERANCE, inner=len(expected[0])) if found.equal else None


def _run(model: Model, feeds: Sequence[Mapping[str, Any]], *, optimise: bool = False) -> list[list[Any]]:
    proto, weights = model.stripped_proto()
    runner = Runner(proto, weights=weights, optimise=optimise)
    return [runner.run(feed) for feed in feeds]


def _worst(expected: list[list[Any]], actual: list[list[Any]], tolerance: float) -> Comparison:
    found = [compare(a, b, bits=False, rtol=tolerance) for a, b in zip(expected, actual, strict=True)]
    return max(found, key=lambda c: (not c.equal, c.largest_scaled))


@dataclass(frozen=True)
class Proven:
    """A removal that was proven, its model, and the groups that could not be."""

    removal: Removal
    model: Model | None
    proof: Proof
    failed: Mapping[str, str]


def prove_most(groups: Groups, removal: Removal, feeds: Sequence[Mapping[str, Any]]) -> Proven:
    """Prove a removal; where that fails, find the groups that it fails for and leave them as they are."""
    proof, model = prove(groups, removal, feeds)
    if proof.holds:
        return Proven(removal, model, proof, {})
    failed: dict[str, str] = {}
    good = _good(groups, dict(removal), feeds, failed)
    while good:
        proof, model = prove(groups, good, feeds)
        if proof.holds:
            return Proven(good, model, proof, failed)
        # Each holds alone, but not together: the last is given up.
        group, _ = good.popitem()
        failed[group.name] = f"only without others: {proof.reason}"
    return Proven({}, None, proof, failed)


def _good(
    groups: Groups, removal: dict[Group, np.ndarray], feeds: Sequence[Mapping[str, Any]], failed: dict[str, str]
) -> dict[Group, np.ndarray]:
    """The parts of a removal that can be proven, by halves."""
    if not removal:
        return {}
    proof, _ = prove(groups, removal, feeds)
    if proof.holds:
        return removal
    if len(removal) == 1:
        failed[next(iter(removal)).name] = proof.reason
        return {}
    items = list(removal.items())
    middle = len(items) // 2
    return _good(groups, dict(items[:middle]), feeds, failed) | _good(groups, dict(items[middle:]), feeds, failed)
