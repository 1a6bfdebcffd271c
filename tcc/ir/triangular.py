"""Cholesky factors and their inverses: numpy has the former, and no library that is needed anyway has the latter."""

from __future__ import annotations

import numpy as np

_BLOCK = 96
"""Rows that are inverted as they are."""
_RAISED = 10.0
"""How much more is added to a diagonal at a time."""


def factor(matrix: np.ndarray, ridge: float) -> np.ndarray:
    """The lower Cholesky factor of a symmetric matrix [K, K] with ``ridge`` added to its diagonal.

    Sums in single precision may leave a moment a little below zero in some direction: then more is added, ten times
    as much at a time, until there is a factor. Entries that are not finite raise ``numpy.linalg.LinAlgError``.
    """
    if not np.isfinite(matrix).all():
        message = "a matrix holds values that are not finite"
        raise np.linalg.LinAlgError(message)
    raised = matrix.copy()
    diagonal = np.diag_indices_from(raised)
    while True:
        raised[diagonal] = matrix[diagonal] + ridge
        try:
            made: np.ndarray = np.linalg.cholesky(raised)
        except np.linalg.LinAlgError:
            ridge *= _RAISED
        else:
            return made


def inverse(lower: np.ndarray) -> np.ndarray:
    """The inverse of a lower triangular matrix [K, K], by halves: nearly all of it is products of matrices.

    Its leading blocks are the inverses of the leading blocks.
    """
    size = len(lower)
    if size <= _BLOCK:
        return np.asarray(np.tril(np.linalg.inv(lower)))
    half = size // 2
    made = np.zeros_like(lower)
    made[:half, :half], made[half:, half:] = inverse(lower[:half, :half]), inverse(lower[half:, half:])
    made[half:, :half] = -(made[half:, half:] @ (lower[half:, :half] @ made[:half, :half]))
    return made
