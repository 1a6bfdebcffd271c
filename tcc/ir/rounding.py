"""Rounds a weight's columns one row after another, each row making up for the errors of those before it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tcc.ir import triangular

DAMPING = 0.01
"""What is added to the second moments' diagonal, as a part of its mean: they come from few samples."""
_BLOCK = 128


@dataclass(frozen=True)
class Compensation:
    """How errors of earlier rows are made up for by later ones, for inputs with certain second moments.

    ``order`` is that of the rows, ``upper`` the upper Cholesky factor of the inverse of the second moments in it.
    """

    order: np.ndarray
    upper: np.ndarray

    @staticmethod
    def of(second: np.ndarray) -> Compensation:
        """For rows x with ``second``, [K, K], the mean of x xT; None of it needs to be invertible."""
        order = np.argsort(-np.diag(second), kind="stable")
        mean = float(np.mean(np.diag(second)))
        # S = R Rᵀ with R upper triangular is the Cholesky factor from the other end, and S⁻¹ = R⁻ᵀ R⁻¹.
        backwards = order[::-1]
        lower = triangular.factor(second[np.ix_(backwards, backwards)], DAMPING * mean if mean else 1.0)
        return Compensation(order, np.ascontiguousarray(triangular.inverse(lower)[::-1, ::-1]))

    def divided(self, factor: np.ndarray) -> Compensation:
        """That for inputs divided by ``factor``, [K]."""
        return Compensation(self.order, self.upper * factor[self.order])

    def rounded(self, matrix: np.ndarray, scale: np.ndarray, levels: int) -> np.ndarray:
        """Integers of a weight that give nearly the products that the weight gives.

        Rows are rounded to nearest in the order of falling moments; what is left of the error is spread over the
        rows still to come so that the expected square error of the product is least.

        Source: GPTQ, Frantar et al., ICLR 2023, with its order by activation size.

        Args:
            matrix: [K, N].
            scale: of each column, [N], or of each element, [K, N].
            levels: the largest integer.

        Returns:
            int8 [K, N], symmetric.
        """
        rest, steps = matrix[self.order], np.broadcast_to(scale.astype(np.float64), matrix.shape)[self.order]
        made = np.zeros(matrix.shape, dtype=np.int8)
        for start in range(0, len(rest), _BLOCK):
            block, end = rest[start : start + _BLOCK], min(start + _BLOCK, len(rest))
            errors = np.zeros_like(block)
            for i in range(end - start):
                row = self.upper[start + i, start:end]
                integers = np.clip(np.rint(block[i] / steps[start + i]), -levels, levels)
                errors[i] = (block[i] - integers * steps[start + i]) / row[i]
                block[i + 1 :] -= np.outer(row[i + 1 :], errors[i])
                made[self.order[start + i]] = integers
            rest[end:] -= self.upper[start:end, end:].T @ errors
        return made


def _inverse(upper: np.ndarray) -> np.ndarray:
    """The inverse of an upper triangular matrix, by halves: a third of the work that one without zeros takes."""
    if len(upper) <= _BLOCK:
        return np.triu(np.linalg.inv(upper))
    half = len(upper) // 2
    left, right = _inverse(upper[:half, :half]), _inverse(upper[half:, half:])
    made = np.zeros(upper.shape)
    made[:half, :half], made[half:, half:] = left, right
    made[:half, half:] = -(left @ upper[:half, half:]) @ right
    return made


def gap(difference: np.ndarray, second: np.ndarray) -> float:
    """The mean of ``|xT difference|²`` over rows x with these second moments; ``difference`` is [K, N]."""
    return float(np.sum(difference * (second @ difference)))
