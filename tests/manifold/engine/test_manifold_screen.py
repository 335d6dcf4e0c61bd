"""The screen's promise: its bound never exceeds the truth, and is close enough to leave little to measure."""

import numpy as np
import pytest
import torch

from genmend.manifold import Manifold, prdc
from genmend.manifold.engine import radii, sweep, torch_screen
from genmend.manifold.engine.numpy_screen import Screen
from genmend.manifold.engine.torch_screen import TorchScreen


def torch_half(x):
    screen = TorchScreen.of(x)
    assert screen.codes.element_size() == 2  # its products were found to be summed in float32
    return screen


def torch_single(x):
    return TorchScreen.of(x, half=False)


SCREENS = [Screen.of, torch_half, torch_single]


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
    bounds *= np.where(bounds > 0, screen.shrink, 1)
    truth = ((y.astype(np.longdouble)[:, None] - x.astype(np.longdouble)) ** 2).sum(axis=2) * screen.scale**2
    return bounds, truth


# Rounding errors grow with the width and do not cancel where all values have one sign.
BOUNDED = [
    (gaussian, 1, np.float64), (gaussian, 64, np.float32), (same_sign, 1500, np.float32), (same_sign, 64, np.float64),
    (far_clusters, 3, np.float32), (far_clusters, 1500, np.float64), (one_column, 1, np.float32),
    (one_column, 64, np.float64), (many_magnitudes, 3, np.float64), (many_magnitudes, 1500, np.float32),
]  # fmt: skip


@pytest.mark.parametrize("screen_of", SCREENS)
@pytest.mark.parametrize(("make", "d", "dtype"), BOUNDED)
def test_bound_never_exceeds_the_squared_distance(make, d, dtype, screen_of):
    rng = np.random.default_rng(d)
    x, y = make(rng, 60, d).astype(dtype), make(rng, 50, d).astype(dtype)
    y[:10] = x[:10]
    y[10:20] = x[10:20] * dtype(1 + 1e-6)
    y[20:30] *= 1000
    y[30] *= dtype(1e16)
    screen = screen_of(x)
    bounds, truth = table(screen, x, y)
    assert (bounds <= truth).all()
    own, again = screen.encode(x[5:40]), screen.encode_own(slice(5, 40))
    assert (own == again).all()


@pytest.mark.parametrize(("screen_of", "share"), [(Screen.of, 1e-3), (torch_single, 1e-3), (torch_half, 0.03)])
def test_bound_is_close(screen_of, share):
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((2, 100, 256)) + 1e4
    bounds, truth = table(screen_of(x), x, y)
    assert (bounds >= truth * (1 - share)).all()


def test_sums_in_half_precision_are_found_out(monkeypatch):
    x = np.random.default_rng(0).uniform(0.5, 1, (100, 512))

    def summed_in_half(rows, columns):
        total = torch.zeros(len(rows), len(columns), dtype=torch.bfloat16)
        for k in range(rows.shape[1]):
            total += rows[:, k, None] * columns[:, k]
        return total

    monkeypatch.setattr(torch_screen, "_product", summed_in_half)
    assert TorchScreen.of(x).codes.dtype == torch.float32


@pytest.mark.parametrize("k", [1, 5])
def test_tiles_that_stay_tensors_give_the_same(monkeypatch, k):
    """What a CUDA device would hand over, here from the CPU."""
    rng = np.random.default_rng(2)
    x, y = rng.standard_normal((2, 300, 4)) @ rng.standard_normal((4, 20))
    x[:7] = x[7]
    monkeypatch.setenv("GENMEND_ENGINE", "numpy")
    expected = Manifold(k).fit(x).evaluate(y), prdc(x, y, k)[k]
    monkeypatch.setenv("GENMEND_ENGINE", "torch")
    monkeypatch.setattr(TorchScreen, "bounds", lambda self, codes, part, out: (codes @ self.codes[part].T).float())
    scores, at = Manifold(k, block_size=64).fit(x).evaluate(y), prdc(x, y, k, block_size=64)[k]
    for name in vars(scores):
        np.testing.assert_array_equal(getattr(scores, name), getattr(expected[0], name))
    for name in ("ball_count", "covered", "recalled"):
        np.testing.assert_array_equal(getattr(at, name), getattr(expected[1], name))
    own = Manifold(k, block_size=64).fit(x).evaluate(leave_one_out=True)
    monkeypatch.setenv("GENMEND_ENGINE", "numpy")
    np.testing.assert_array_equal(own.rarity, Manifold(k).fit(x).rarity(leave_one_out=True))


def measured_share(monkeypatch, x, y):
    """Share of all pairs that `prdc` measures exactly with the numpy engine (the compiled one measures by itself)."""
    monkeypatch.setenv("GENMEND_ENGINE", "numpy")
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
