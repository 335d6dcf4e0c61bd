"""Every kernel that this CPU has, in every form of the screen, gives the answers of the float64 oracle."""

import manifold_brute_force as oracle
import numpy as np
import pytest
from test_manifold_engines import clustered, few_points, heavy_tails, isotropic, magnitudes, on_a_grid, shifted

from genmend.manifold import Manifold, prdc
from genmend.manifold.engine import native_screen
from genmend.manifold.engine.native_codes import Encoding
from genmend.manifold.engine.native_screen import NativeScreen, native_kernels

KERNELS = native_kernels()
pytestmark = pytest.mark.skipif(not KERNELS, reason="the compiled extension is not built or has no kernel here")


def every_kernel():
    """Those, too, that only stand for what another CPU has."""
    from genmend.manifold.engine import _native

    return _native.kernels() if KERNELS else []


def spikes(rng, n, d):
    x = rng.standard_normal((n, d))
    x[np.arange(n), rng.integers(0, d, n)] += 1e4  # one value is all of a row
    return x


def far_along_one_direction(rng, n, d):
    return 1e3 * np.ones(d) * rng.choice([-1, 1], (n, 1)) + rng.standard_normal((n, d))


original = NativeScreen.of
# Every width with data whose samples lie near each other, far apart and at ties; projections where they rule out much.
# The last: whether pairs are looked at by fine codes.
SCREENED = [
    (clustered, 3, "f8", False, True), (clustered, 300, "f4", True, True), (clustered, 300, "f4", True, False),
    (shifted, 70, "f4", False, True), (shifted, 300, "f4", True, True), (isotropic, 300, "f4", False, False),
    (heavy_tails, 70, "f4", False, True), (heavy_tails, 300, "f4", True, False), (on_a_grid, 3, "f8", True, True),
    (on_a_grid, 300, "f4", False, False), (few_points, 70, "f4", True, True), (few_points, 3, "f8", False, False),
    (magnitudes, 70, "f4", False, False), (magnitudes, 300, "f4", True, True), (spikes, 300, "f4", False, True),
    (spikes, 70, "f8", True, True), (far_along_one_direction, 130, "f4", False, True),
    (far_along_one_direction, 130, "f4", True, True),
]  # fmt: skip


@pytest.mark.parametrize("kernel", every_kernel())
@pytest.mark.parametrize(("make", "d", "dtype", "projected", "closer"), SCREENED)
def test_kernels_equal_the_oracle(make, d, dtype, kernel, projected, closer, monkeypatch):
    rng = np.random.default_rng(d)
    x, y = make(rng, 160, d).astype(dtype), make(rng, 111, d).astype(dtype)
    y[:5] = x[:5]
    monkeypatch.setattr(
        "genmend.manifold.engine.screens.NativeScreen.of", lambda z: original(z, kernel, projected, closer)
    )
    k = 4
    oracle.assert_same(Manifold(k).fit(x), prdc(x, y, k), x, y, k, True)


@pytest.mark.parametrize("make", [clustered, isotropic, heavy_tails, spikes, far_along_one_direction, magnitudes])
@pytest.mark.parametrize("d", [1, 64, 700])
def test_fine_codes_leave_out_no_more_than_they_say(make, d):
    """|c - step q| <= error, |step q| <= length, lower <= |c|^2 <= upper, and no product leaves 32 bits."""
    x = make(np.random.default_rng(d), 90, d)
    x[0], x[1] = x[2], 1e30  # out of float32's reach when it is squared
    encoding = Encoding.of(x, KERNELS[0], True)
    fine = encoding.encode(x).fine
    lower, upper, step, length, error = fine.bounds.astype(np.longdouble)
    q = fine.values.astype(np.longdouble)
    c = (x.astype(np.longdouble) - encoding.center) * encoding.scale
    squared = (c * c).sum(axis=1)
    near = np.isfinite(upper)
    assert near[1] == (squared[1] <= 2.0**40)
    assert near[2:].mean() > 0.5
    c, q = np.pad(c, ((0, 0), (0, q.shape[1] - d)))[near], q[near]
    tiny = 2.0**-120  # what float32 cannot hold is in the bounds of the norm
    assert (np.sqrt(((c - step[near, None] * q) ** 2).sum(axis=1)) <= error[near] + tiny).all()
    assert (step[near] * np.sqrt((q * q).sum(axis=1)) <= length[near] + tiny).all()
    assert (lower[near] <= squared[near]).all()
    assert (squared[near] <= upper[near]).all()
    assert (q * q).sum(axis=1).max() < 2**31
    assert (lower[~near] <= -(2.0**40)).all()


def test_projections_are_used_where_they_leave_few_pairs():
    rng = np.random.default_rng(0)
    centers = 8 * rng.standard_normal((60, 300))
    x = centers[rng.integers(0, 60, 1200)] + rng.standard_normal((1200, 300))
    assert original(x).encoding.projection is not None
    assert original(x[:500]).encoding.projection is None
    assert original(x[:, :100]).encoding.projection is None
    screen = original(isotropic(rng, 1200, 300))
    assert screen.encoding.projection is None
    assert screen.own.fine is not None


def test_no_fine_codes_where_they_would_be_large(monkeypatch):
    x = isotropic(np.random.default_rng(0), 300, 20)
    assert original(x).own.fine is not None
    monkeypatch.setattr(native_screen, "_MOST_FINE", x.size - 1)
    assert original(x).own.fine is None


def test_extreme_tails_get_finer_codes(monkeypatch):
    if "bf16" not in KERNELS:
        pytest.skip("this CPU has no bfloat16 products")
    rng = np.random.default_rng(0)
    usual = rng.standard_normal((2500, 64), dtype=np.float32)
    assert original(usual).kernel == KERNELS[0]
    for name in ("_MOST_MEASURED", "_MOST_MEASURED_SHARE", "_MOST_LOOKED_SHARE"):
        monkeypatch.setattr(native_screen, name, 0)
    assert original(usual).kernel == "bf16"
    assert original(usual, closer=False).kernel == "bf16"
