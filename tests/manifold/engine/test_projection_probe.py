"""Whether projections pay is judged from few rows, and judged right."""

import manifold_brute_force as oracle
import numpy as np
import pytest
from test_manifold_engines import clustered, isotropic

from genmend.manifold.engine.numpy_screen import middle_and_scale
from genmend.manifold.engine.projection import Projection
from genmend.manifold.engine.projection_probe import projection_pays, share_left


def decaying(rng, n, d):
    return isotropic(rng, n, d) * (1 + np.arange(d)) ** -0.6


def estimate(x):
    return share_left(x, *middle_and_scale(x))


@pytest.mark.parametrize("make", [clustered, decaying, isotropic])
@pytest.mark.filterwarnings("error")
def test_the_share_is_that_of_pairs_that_a_projection_leaves(make):
    x = make(np.random.default_rng(0), 1500, 300)
    projected, _ = Projection.of(x, *middle_and_scale(x)).project(x)
    projected = projected / middle_and_scale(x)[1]
    radii = oracle.radii(x, 5)
    left = (oracle.distances(projected[:200].astype("f8"), projected.astype("f8")) <= radii[:200, None]).mean()
    assert abs(estimate(x) - left) < 0.12
    assert (estimate(x) > 0.9) is (make is isotropic)


@pytest.mark.filterwarnings("error")
def test_samples_that_coincide_or_stand_out_do_no_harm():
    rng = np.random.default_rng(0)
    assert estimate(np.ones((500, 300))) == 1
    x = clustered(rng, 500, 300)
    x[::3] = x[0]
    assert estimate(x) < 0.5
    x[7] = 1e30  # the others vanish beside it
    assert 0 <= estimate(x) <= 1


def test_a_fast_kernel_needs_fewer_pairs_left():
    x = decaying(np.random.default_rng(0), 3000, 600).astype("f4")
    units = middle_and_scale(x)
    assert [projection_pays(x, *units, kernel) for kernel in ("int8-avx2", "int8-vnni", "int8-amx")] == [
        True,
        False,
        False,
    ]
    x = clustered(np.random.default_rng(0), 3000, 600)
    assert projection_pays(x, *units, "int8-vnni")
    assert not projection_pays(x[:500], *units, "int8-vnni")  # set-up takes longer
