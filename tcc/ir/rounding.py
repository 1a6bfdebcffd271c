"""Rounds a weight's columns one row after another, each row making up for the errors of those before it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tcc.ir import triangular

DAMPING = 0.01
"""What is added to the second moments' diagonal, as a part of its mean: they come from few samples."""
_BLOCK = 16
"""Rows whose errors are made up for one by one."""


@dataclass(frozen=True)
class Compensation:
    """How errors of earlier rows are made up for by later ones, for inputs with certain second moments.

    ``order`` is that of the rows, ``upper`` the upper Cholesky factor of the inverse of the second moments in it,
    with ``damping`` added to their diagonal.
    """

    order: np.ndarray
    upper: np.ndarray
    damping: np.ndarray

    @staticmethod
    def of(second: np.ndarray) -> Compensation:
        """For rows x with ``second``, [K, K], the mean of x xT; None of it needs to be invertible."""
        order = np.argsort(-np.diag(second), kind="stable")
        mean = float(np.mean(np.diag(second)))
        # S = R Rᵀ with R upper triangular is the Cholesky factor from the other end, and S⁻¹ = R⁻ᵀ R⁻¹.
        backwards = order[::-1]
        lower = triangular.factor(second[np.ix_(backwards, backwards)], DAMPING * mean if mean else 1.0)
        # More than was asked for may have been added, so that there is a factor: what was shows in its trace.
        added = (float(np.square(lower).sum()) - float(np.trace(second))) / len(second)
        upper = np.ascontiguousarray(triangular.inverse(lower)[::-1, ::-1])
        return Compensation(order, upper, np.full(len(second), added))

    def divided(self, factor: np.ndarray) -> Compensation:
        """That for inputs divided by ``factor``, [K]."""
        return Compensation(self.order, self.upper * factor[self.order], self.damping / np.square(factor))

    def rounded(self, matrix: np.ndarray, scale: np.ndarray, levels: int) -> tuple[np.ndarray, float]:
        """Integers of a weight that give nearly the products that the weight gives, and their ``gap``.

        Rows are rounded to nearest in the order of falling moments; what is left of the error is spread over the
        rows still to come so that the expected square error of the product is least.

        Source: GPTQ, Frantar et al., ICLR 2023, with its order by activation size.

        Args:
            matrix: [K, N].
            scale: of each column, [N], or of each element, [K, N].
            levels: the largest integer.

        Returns:
            int8 [K, N], symmetric; the mean square error of a row of products.
        """
        rest = np.asarray(matrix[self.order], np.float32)
        steps = np.asarray(np.broadcast_to(scale, matrix.shape), np.float32)[self.order]
        sweep = _Sweep(self.upper.astype(np.float32), rest, steps, levels)
        sweep.rows(0, len(rest))
        made = np.empty(matrix.shape, dtype=np.int8)
        made[self.order] = sweep.integers
        # W - Q = Uᵀ E, and the damped moments are U⁻¹ U⁻ᵀ: what they say of it is |E|².
        left = np.square(matrix - made * scale.astype(np.float64)).sum(axis=1)
        damped = float(np.sum(np.square(sweep.errors), dtype=np.float64))
        return made, max(0.0, damped - float(self.damping @ left))


@dataclass
class _Sweep:
    """Rows of a weight on their way to integers, in single precision: the integers are some hundred at most."""

    upper: np.ndarray
    rest: np.ndarray
    steps: np.ndarray
    levels: int
    integers: np.ndarray = field(init=False)
    errors: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        self.integers, self.errors = np.empty(self.rest.shape, np.int8), np.empty_like(self.rest)

    def rows(self, start: int, end: int) -> None:
        """Round these, by halves: nearly all of what is made up for is then products of matrices."""
        if end - start > _BLOCK:
            half = (start + end) // 2
            self.rows(start, half)
            self.rest[half:end] -= self.upper[start:half, half:end].T @ self.errors[start:half]
            self.rows(half, end)
            return
        for i in range(start, end):
            whole = np.clip(np.rint(self.rest[i] / self.steps[i]), -self.levels, self.levels)
            self.integers[i] = whole
            self.errors[i] = (self.rest[i] - whole * self.steps[i]) / self.upper[i, i]
            self.rest[i + 1 : end] -= np.outer(self.upper[i, i + 1 : end], self.errors[i])


def gap(difference: np.ndarray, second: np.ndarray, dtype: type[np.floating[Any]] = np.float64) -> float:
    """The mean of ``|xT difference|²`` over rows x with these second moments; ``difference`` is [K, N].

    Its products are of ``dtype``: single precision is enough where the errors of the rows do not cancel, as those of
    rounding to nearest do not.
    """
    made = np.asarray(difference, dtype)
    return float(np.sum(made * (np.asarray(second, dtype) @ made), dtype=np.float64))
