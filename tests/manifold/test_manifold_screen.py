"""The screen's promise: its bound never exceeds the truth, and is close enough to leave little to measure."""

import numpy as np
import pytest

from manifold import prdc, radii, sweep
from manifold.screen import Screen


def gaussian(rng, n, d):
    return rng.standard_normal((n, d))


def same_sign(rng, n, d):
    return rng.uniform(0.5, 1, (n, d))  # rounding errors of the product add up instead of cancelling


def far_clusters(rng, n, d):
    return rng.integers(0, 3, (n, 1)) * 1e4 + rng.standard_normal((n, d))


def one_column(rng, n, d):
    features = np.zeros((n, d))
    features[:, 0] = rng.standard_normal(n)
    return features


def many_magnitudes(rng, n, d):
    return rng.standard_normal((n, d)) * 10.0 ** rng.integers(-25, 6, (n, d))


def table(screen, x, y):
    buffer = np.empty(len(x) * len(y), dtype=np.float32)
    bounds = screen.bounds(screen.encode(y), slice(0, len(x)), buffer).astype(np.longdouble)
    truth = ((y.astype(np.longdouble)[:, None] - x.astype(np.longdouble)) ** 2).sum(axis=2) * screen.scale**2
    return bounds, truth


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("d", [1, 3, 64, 1500])
@pytest.mark.parametrize("make", [gaussian, same_sign, far_clusters, one_column, many_magnitudes])
def test_bound_never_exceeds_the_squared_distance(make, d, dtype):
    rng = np.random.default_rng(d)
    x, y = make(rng, 60, d).astype(dtype), make(rng, 50, d).astype(dtype)
    y[:10] = x[:10]
    y[10:20] = x[10:20] * dtype(1 + 1e-6)
    y[20:30] *= 1000
    y[30] *= dtype(1e16)
    bounds, truth = table(Screen.of(x), x, y)
    assert (bounds <= truth).all()


def test_bound_is_close():
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((2, 100, 256)) + 1e4
    bounds, truth = table(Screen.of(x), x, y)
    assert (bounds >= truth * (1 - 1e-3)).all()


def measured_share(monkeypatch, x, y):
    """Share of all pairs that `prdc` measures exactly."""
    measured = []
    for module in (sweep, radii):
        exact = module.pair_distances
        monkeypatch.setattr(
            module, "pair_distances", lambda a, i, b, j, f=exact: measured.append(len(i)) or f(a, i, b, j)
        )
    prdc(x, y, 5)
    return sum(measured) / (len(x) * (len(x) - 1) / 2 + len(y) * (len(y) - 1) / 2 + len(x) * len(y))


def test_few_pairs_are_left_to_measure(monkeypatch):
    rng = np.random.default_rng(1)
    x, y = rng.standard_normal((2, 2000, 8)) @ rng.standard_normal((8, 64))
    assert measured_share(monkeypatch, x, y) < 0.02


def test_one_broken_sample_does_not_defeat_the_screen(monkeypatch):
    rng = np.random.default_rng(1)
    x, y = rng.standard_normal((2, 2000, 8)) @ rng.standard_normal((8, 64))
    x[7], y[11] = 1e6, -1e6
    assert measured_share(monkeypatch, x, y) < 0.03


def test_coincident_samples_need_no_measuring_for_their_radii(monkeypatch):
    x = np.zeros((500, 3))
    y = np.ones((500, 3))
    assert measured_share(monkeypatch, x, y) < 0.02
