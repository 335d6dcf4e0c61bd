"""Every engine and every kernel gives the answers of the float64 oracle, and all of them the same bits."""

import os
import signal
import subprocess
import sys
import threading

import manifold_brute_force as oracle
import numpy as np
import pytest

from genmend.manifold import evaluate, knn_radii
from genmend.manifold.engine.exact import numpy_pair_distances
from genmend.manifold.engine.native_screen import NativeScreen, native_kernels, native_pair_distances
from genmend.manifold.engine.numpy_screen import Screen, middle_and_scale
from genmend.manifold.engine.projection import Projection
from genmend.manifold.engine.screens import _say_once, choose_engine, screen_of, screens_of
from genmend.manifold.engine.sweep import near_pairs
from genmend.manifold.metrics.totals import TOTALS_OF

KERNELS = native_kernels()
needs_native = pytest.mark.skipif(not KERNELS, reason="the compiled extension is not built or has no kernel here")


def clustered(rng, n, d):
    centers = np.random.default_rng(5).standard_normal((6, d)) * 8
    return centers[rng.integers(0, 6, n)] + rng.standard_normal((n, d))


def shifted(rng, n, d):
    return clustered(rng, n, d) + 300  # standard deviations


def isotropic(rng, n, d):
    return rng.standard_normal((n, d))


def heavy_tails(rng, n, d):
    return rng.standard_t(1.1, (n, d))


def on_a_grid(rng, n, d):
    return rng.integers(0, 2, (n, d)).astype(float)  # ties everywhere, duplicates


def few_points(rng, n, d):
    return clustered(rng, 9, d)[rng.integers(0, 9, n)]  # radii of 0


def magnitudes(rng, n, d):
    return clustered(rng, n, d) * 10.0 ** rng.integers(-30, 9, (n, 1))


MAKERS = [clustered, shifted, isotropic, heavy_tails, on_a_grid, few_points, magnitudes]
original = NativeScreen.of


@pytest.mark.parametrize("engine", ["torch", pytest.param("native", marks=needs_native)])
@pytest.mark.parametrize("make", MAKERS)
def test_engines_give_the_same_bits(make, engine, monkeypatch):
    rng = np.random.default_rng(0)
    x, y = make(rng, 240, 33), make(rng, 130, 33)
    monkeypatch.setenv("GENMEND_ENGINE", "numpy")
    expected = evaluate(x, y, (1, 3), metrics=tuple(TOTALS_OF))
    monkeypatch.setenv("GENMEND_ENGINE", engine)
    assert choose_engine().name == engine
    found = evaluate(x, y, (1, 3), metrics=tuple(TOTALS_OF))
    for name, values in expected.per_sample().items():
        if name.endswith(("p_inside", "p_recalled")):  # sums, whose order is the engine's
            np.testing.assert_allclose(found.per_sample()[name], values, rtol=1e-9, atol=1e-12)
        else:
            np.testing.assert_array_equal(found.per_sample()[name], values, err_msg=name)


@needs_native
@pytest.mark.parametrize("kernel", KERNELS)
def test_pieces_add_up_to_the_whole(kernel):
    """Where a block has more pairs than are wanted at a time it is cut, by rows and then by columns."""
    x, y = np.random.default_rng(1).standard_normal((2, 500, 8))
    radii, reach = np.full(len(x), 3.0), np.full(len(y), 2.5)
    screen = original(x, kernel, False)
    whole, pieces = (list(screen.near_pairs(y, radii, reach, (), False, most)) for most in (10**9, 1000))
    assert len(whole) < 16 + 2
    assert len(pieces) > 50
    assert max(len(i) for i, _, _ in pieces) <= 48 * 48
    one, other = ({*zip(*map(np.ndarray.tolist, map(np.concatenate, zip(*part, strict=True))), strict=True)}
                  for part in (whole, pieces))  # fmt: skip
    assert one == other
    table = oracle.distances(y, x)
    assert {(i, j) for i, j, _ in one} >= {(int(i), int(j)) for i, j in zip(*np.nonzero(table <= 3), strict=True)}


@needs_native
def test_a_query_near_the_reference_is_encoded_once():
    x, y = np.random.default_rng(1).standard_normal((2, 500, 8))
    screen, query_screen = screens_of(x, y)
    assert query_screen.center is screen.center
    assert screens_of(x, y + 100)[1].center is not screen.center
    assert screens_of(x, 1e5 * y)[1].center is not screen.center
    radii = knn_radii(x, 3)
    blocks = [list(near_pairs(screen, x, y, radii, query_screen=q, block_size=512)) for q in (query_screen, None)]
    first, second = (np.concatenate([np.column_stack(part) for part in block]) for block in blocks)
    np.testing.assert_array_equal(first, second)


@needs_native
@pytest.mark.parametrize("d", [1, 7, 8, 130, 2051])
def test_measured_distances_have_numpy_s_bits(d):
    x, y = np.random.default_rng(d).standard_normal((2, 30, d)) * 10.0 ** np.arange(-15, 15)[:, None]
    i, j = np.divmod(np.arange(900), 30)
    np.testing.assert_array_equal(native_pair_distances(x, i, y, j), numpy_pair_distances(x, i, y, j))
    with pytest.raises(ValueError, match="out of range"):
        native_pair_distances(x, i + 30, y, j)


@pytest.mark.parametrize("make", [clustered, isotropic, heavy_tails, few_points])
@pytest.mark.parametrize("d", [2, 300])
def test_projections_never_exceed_the_distance(make, d):
    rng = np.random.default_rng(0)
    x, y = make(rng, 200, d).astype("f4"), make(rng, 150, d).astype("f4")
    center, scale = middle_and_scale(x)
    projection = Projection.of(x, center, scale)
    gram = projection.basis.T @ projection.basis
    np.testing.assert_allclose(gram, np.eye(len(gram)), atol=1e-12)
    (p, error), (q, _) = projection.project(x), projection.project(y)
    found = oracle.distances(q, p)
    allowed = error * (np.linalg.norm(q, axis=1)[:, None] + np.linalg.norm(p, axis=1))
    assert (found <= oracle.distances(y, x) * scale + allowed).all()
    assert error < 1e-5
    assert sorted(projection.order(q)) == list(range(len(y)))


def test_the_environment_names_the_engine(monkeypatch):
    x = np.zeros((10, 2))
    for name, kind in [("numpy", Screen), ("torch", Screen)] + [("native", NativeScreen)] * bool(KERNELS):
        monkeypatch.setenv("GENMEND_ENGINE", name)
        assert isinstance(screen_of(x), kind)
    monkeypatch.setenv("GENMEND_ENGINE", "fast")
    with pytest.raises(ValueError, match="native, torch, numpy is accepted"):
        screen_of(x)
    monkeypatch.setenv("GENMEND_ENGINE", "native")
    monkeypatch.setattr("genmend.manifold.engine.screens.native_kernels", tuple)
    with pytest.raises(ValueError, match="not built"):
        screen_of(x)
    monkeypatch.delenv("GENMEND_ENGINE")
    assert choose_engine().name in ("torch", "numpy")


@pytest.mark.parametrize(("faster", "name", "size"), [(True, "torch", 2), (False, "numpy", 4)])
def test_without_a_compiler_torch_works_only_where_it_is_fast(monkeypatch, caplog, faster, name, size):
    module = "genmend.manifold.engine"
    monkeypatch.delenv("GENMEND_ENGINE", raising=False)
    monkeypatch.setattr(f"{module}.screens.native_kernels", tuple)
    monkeypatch.setattr(f"{module}.torch_screen.half_is_faster", lambda: faster)
    monkeypatch.setattr(f"{module}.screens._SLOW", 400)
    _say_once.cache_clear()
    for rows in (10, 20, 20):
        screen_of(np.zeros((rows, 2)))
    (said,) = caplog.messages
    assert f"so {name} does its work, several times slower; `genmend doctor` says what to do" in said
    found = choose_engine()
    assert found.name == name
    assert ("in bfloat16, faster than float32 here" in found.reason) is faster
    monkeypatch.setenv("GENMEND_ENGINE", "torch")  # asked for, it does not emulate bfloat16
    assert screen_of(np.zeros((20, 2))).codes.element_size() == size
    assert ("products are in float32" in choose_engine().reason) is not faster


def test_the_environment_holds_instruction_sets_back(monkeypatch):
    module = "genmend.manifold.engine.native_screen"
    every = ("int8-amx", "int8-vnni", "int8-avxvnni", "int8-avx2", "float32-avx2", "bf16")
    monkeypatch.setattr(f"{module}._kernels_that_work", lambda: every)
    for newest, kept in [("amx", every), ("bf16", every[1:]), ("vnni", every[1:-1]), ("avx2", every[3:-1])]:
        monkeypatch.setenv("GENMEND_KERNEL", newest)
        assert native_kernels() == kept
    monkeypatch.setenv("GENMEND_KERNEL", "sse2")
    with pytest.raises(ValueError, match="avx2, avxvnni, vnni, bf16, amx is accepted"):
        native_kernels()


def test_without_the_extension_all_works():
    code = """
import sys
sys.modules["genmend.manifold.engine._native"] = None
from genmend.manifold import prdc
from genmend.manifold.engine.screens import choose_engine
assert choose_engine().name != "native"
at = prdc([[0.0], [1], [3], [7]], [[0.5], [2], [5.5], [12]], 1)[1]
assert (at.precision, at.recall, at.density, at.coverage) == (0.75, 1, 1.25, 1)
"""
    environment = {name: value for name, value in os.environ.items() if name != "GENMEND_ENGINE"}
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120, env=environment)


@needs_native
def test_a_long_pass_can_be_interrupted(monkeypatch):
    monkeypatch.setenv("GENMEND_ENGINE", "native")
    x = np.random.default_rng(0).standard_normal((60_000, 200), dtype=np.float32)  # takes seconds
    # A shell starts what runs in its background with Ctrl-C ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    timer = threading.Timer(0.7, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        knn_radii(x, 3)
    timer.join()
    signal.signal(signal.SIGINT, before)
