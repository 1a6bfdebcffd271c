"""What a loss says: nothing of equal outputs, all of unrelated ones, and what a classifier really loses."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tcc.ir.loss import CONFIDENCE, ENERGY, Loss, loss_of, relative_l2

DRAW = np.random.default_rng(0)


def runs(outputs: np.ndarray) -> list[list[np.ndarray]]:
    return [[row[None]] for row in outputs]


def judged(before: np.ndarray, after: np.ndarray) -> Loss:
    return loss_of(runs(before), runs(after))


def test_a_classifier_loses_the_confidence_that_its_new_predictions_lack() -> None:
    scores = DRAW.normal(size=(400, 10)).astype(np.float32) * 3
    shares = np.exp(scores) / np.exp(scores).sum(-1, keepdims=True)
    shifted = scores + DRAW.normal(size=scores.shape).astype(np.float32)
    expected = np.mean([p.max() - p[s.argmax()] for p, s in zip(shares, shifted, strict=True)])
    for form in (scores, shares.astype(np.float32)):
        found = judged(form, shifted)
        assert (found.metric, found.samples) == (CONFIDENCE, 400)
        assert found.value == pytest.approx(expected, rel=1e-4)
        assert found.value < found.upper < 2 * found.value


def test_equal_predictions_lose_nothing_but_the_bound_is_honest() -> None:
    scores = DRAW.normal(size=(100, 10)).astype(np.float32) * 3
    found = judged(scores, scores)
    assert (found.value, found.upper) == (0.0, 3 / 100)


def test_an_embedding_is_no_classifier() -> None:
    x = DRAW.normal(size=(200, 64)).astype(np.float32)
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    outlier = x.copy()
    outlier[:, 3] = 50.0
    for form in (unit, outlier):
        found = judged(
            form, form + np.float32(0.1) * form[:, 0].std() * DRAW.normal(size=form.shape).astype(np.float32)
        )
        assert found.metric == ENERGY
        assert 0.001 < found.value < 0.1


def test_what_an_output_always_holds_explains_nothing() -> None:
    x = 100 + DRAW.normal(size=(64, 2, 8, 8)).astype(np.float32)
    mean = np.broadcast_to(x.mean(axis=0), x.shape)
    assert judged(x, mean).value == pytest.approx(1.0, rel=0.01)
    assert relative_l2(list(x), list(mean)) < 0.01


def test_broken_outputs_lose_everything() -> None:
    x = DRAW.normal(size=(4, 2, 3)).astype(np.float32)
    bad = x.copy()
    bad[0, 0, 0] = np.nan
    assert judged(x, bad).value == math.inf
    assert judged(x, x).value == 0.0
