"""Independent float64 oracle: the textbook definition, and plain loops for what it does not give; no engine code."""

import math
from dataclasses import dataclass

import numpy as np

from genmend.manifold.metrics.definition import distances, prdc_by_definition, radii


def slow_distance(x, y):
    """One distance with an exactly rounded sum."""
    return math.sqrt(math.fsum((float(a) - float(b)) ** 2 for a, b in zip(x, y, strict=True)))


@dataclass
class Answers:
    ball_count: np.ndarray
    covered: np.ndarray
    recalled: np.ndarray
    rarity: np.ndarray
    nearest_ball: np.ndarray
    score: np.ndarray
    realism: np.ndarray


def answers(x, y, k, closed, leave_one_out=False):
    table = distances(y, x)
    rx, ry = radii(x, k), radii(y, k)
    within = np.less_equal if closed else np.less
    if leave_one_out:
        np.fill_diagonal(table, np.inf)
    inside = within(table, rx)
    count = inside.sum(axis=1)
    rarity, ball = np.full(len(y), np.nan), np.full(len(y), -1)
    for q in range(len(y)):
        for i in np.flatnonzero(inside[q]):
            if ball[q] < 0 or rx[i] < rarity[q]:
                rarity[q], ball[q] = rx[i], i
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(table == 0, 0, table / rx)
        kept = rx < np.median(rx)
        kept = kept if kept.any() else rx == np.median(rx)
        realism = 1 / ratio[:, kept].min(axis=1)
    covered, recalled = inside.any(axis=0), within(table, ry[:, None]).any(axis=0)
    return Answers(count, covered, recalled, rarity, ball, ratio.min(axis=1), realism)


def assert_same(manifold, result, x, y, k, closed):
    """Every answer of a fitted manifold and of `prdc` equals the oracle: decisions exactly, numbers to rounding."""
    truth, defined = answers(x, y, k, closed), prdc_by_definition(x, y, k, closed)
    np.testing.assert_allclose(manifold.radii_, radii(x, k), rtol=1e-14)
    scores = manifold.evaluate(y)
    np.testing.assert_array_equal(scores.inside, truth.ball_count > 0)
    np.testing.assert_array_equal(scores.ball_count, truth.ball_count)
    np.testing.assert_array_equal(scores.nearest_ball, truth.nearest_ball)
    np.testing.assert_allclose(scores.rarity, truth.rarity, rtol=1e-14)
    np.testing.assert_allclose(scores.score, truth.score, rtol=1e-13)
    np.testing.assert_allclose(scores.realism, truth.realism, rtol=1e-13)
    at = result[k]
    np.testing.assert_array_equal(at.ball_count, truth.ball_count)
    np.testing.assert_array_equal(at.covered, truth.covered)
    np.testing.assert_array_equal(at.recalled, truth.recalled)
    assert {name: getattr(at, name) for name in ("precision", "recall", "density", "coverage")} == {
        name: value for name, value in defined.items() if name != "rarity"
    }
    np.testing.assert_allclose(scores.rarity, defined["rarity"], rtol=1e-14)
