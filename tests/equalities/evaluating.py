"""Evaluates claims on random typed operands, many in one run of ONNX Runtime."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnxruntime

from tests.equalities.encoding import Encoder
from tests.equalities.expressions import Claim
from tests.equalities.shapes import Domain, Typed, UntypedError, solve

TOLERANCE = 1e-5
"""Relative to the larger of one and the largest element: operands are whole numbers of that order."""


@dataclass(frozen=True)
class Difference:
    """By how much two sides differ, at most, and on operands of which shapes."""

    error: float
    shapes: dict[str, tuple[int, ...]]
    seed: int


def instance(claim: Claim, domain: Domain, seed: int, fixed: Mapping[str, tuple[int, ...]] | None = None) -> Typed:
    """A claim's shapes for this seed; those of some variables may be given.

    Raises:
        UntypedError: there are none.
    """
    return solve(claim, domain, np.random.default_rng([seed, _salt(claim, domain)]), fixed)


def _salt(claim: Claim, domain: Domain) -> int:
    return zlib.crc32(f"{claim.left} {claim.right} {domain.name}".encode())


def differences(claims: Sequence[Claim], domain: Domain, seed: int) -> list[Difference | str | None]:
    """For each claim what differs, None where nothing does, or why it has no shapes."""
    encoder, typed, found = Encoder(np.random.default_rng(seed)), [], []
    for claim in claims:
        try:
            one = instance(claim, domain, seed)
        except UntypedError as problem:
            found.append(str(problem))
            continue
        encoder.rng = np.random.default_rng([seed, _salt(claim, domain), 1])
        encoder.add(one)
        typed.append(one)
        found.append("")
    values = iter(run(encoder)) if typed else iter(())
    shapes = iter(typed)
    results: list[Difference | str | None] = []
    for text in found:
        if text:
            results.append(text)
            continue
        left, right, one = next(values), next(values), next(shapes)
        scale = max(1.0, float(np.abs(left).max(initial=0.0)), float(np.abs(right).max(initial=0.0)))
        error = float(np.abs(left.astype(np.float64) - right).max(initial=0.0)) / scale
        results.append(Difference(error, one.variables, seed) if error > TOLERANCE else None)
    return results


def run(encoder: Encoder) -> list[np.ndarray]:
    """The values of all sides, unoptimised: an optimiser's own rewrites would judge themselves."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        encoder.model().SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    values: list[np.ndarray] = session.run(None, encoder.feeds)
    return values
