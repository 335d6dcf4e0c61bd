"""What is refused and how it is said, degenerate sets that have an answer, and what comes in and goes out."""

import os
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
import scipy.sparse

from genmend.manifold import Manifold, knn_radii, prdc, precision, recall
from genmend.manifold.metrics.calibration import expected_coverage

rng = np.random.default_rng(0)
X, Y = rng.standard_normal((2, 20, 4))


def spoiled(value):
    bad = X.copy()
    bad[13, 2] = value
    return bad


def test_a_name_is_a_file():
    with pytest.raises(FileNotFoundError, match=r"There is no features\.npy"):
        Manifold().fit("features.npy")
    with pytest.raises(FileNotFoundError, match=r"There is no features\.npy"):
        prdc("features.npy", Y)


@pytest.mark.parametrize(
    ("bad", "error", "message"),
    [
        (spoiled(np.nan), ValueError, "NaN in row 13"),
        (spoiled(np.inf), ValueError, "inf in row 13"),
        (spoiled(-np.inf), ValueError, "inf in row 13"),
        (spoiled(1e160), ValueError, r"1\.0e\+160 in row 13.*rescale"),
        (X[0], ValueError, r"shape \(4,\); a 2-D array.*Reshape your data"),
        (X[None], ValueError, r"shape \(1, 20, 4\); a 2-D"),
        (X[:0], ValueError, r"0 sample\(s\)"),
        (X[:, :0], ValueError, r"0 feature\(s\)"),
        (X + 1j, ValueError, "Complex data not supported"),
        (X > 0, TypeError, "dtype bool; floats and integers are accepted"),
        (X.astype(str), TypeError, "dtype <U"),
        (X.astype(object), TypeError, "dtype object"),
        (None, TypeError, "NoneType"),
        ([[1.0, 2.0], [3.0]], TypeError, "cannot be read as a 2-D array"),
        (scipy.sparse.csr_matrix(X), TypeError, r"sparse matrix.*toarray"),
    ],
    ids=lambda value: value if isinstance(value, str) and len(value) < 60 else "",
)
def test_refused_with_a_reason(bad, error, message):
    with pytest.raises(error, match=message) as caught:
        Manifold().fit(bad)
    assert str(caught.value).count("reference") == 1
    with pytest.raises(error, match=message):
        prdc(bad, Y)
    if bad is not None:  # no query at all is another mistake
        with pytest.raises(error, match=message) as caught:
            Manifold().fit(X).contains(bad)
        assert "query" in str(caught.value)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_too_few_samples(n):
    message = rf"need at least k\+1 samples, got {n} sample"
    with pytest.raises(ValueError, match=message):
        Manifold(k=3).fit(X[:n])
    with pytest.raises(ValueError, match=message):
        knn_radii(X[:n], (1, 3))
    with pytest.raises(ValueError, match=f"reference: {message}"):
        precision(X[:n], Y, 3)
    with pytest.raises(ValueError, match=f"query: {message}"):
        recall(X, Y[:n], 3)
    with pytest.raises(ValueError, match=f"query: {message}"):
        prdc(X, Y[:n], 3)
    with pytest.raises(ValueError, match=message):
        expected_coverage(n, 10, 3)


def test_the_fewest_samples_that_are_enough():
    x = X[:4]
    table = np.linalg.norm(x[:, None] - x[None], axis=2)
    np.testing.assert_allclose(knn_radii(x, 3), table.max(axis=1))
    assert precision(x, Y[:1], 3) in (0, 1)  # the query needs no neighbours for this
    assert recall(Y[:1], x, 3) in (0, 1)  # nor the reference for this
    assert Manifold(k=1, block_size=1).fit(X[:2]).radii_.tolist() == pytest.approx([table[0, 1]] * 2)


@pytest.mark.parametrize("k", [0, -1, 2.0, True, "3", None, (), (3, 0)])
def test_refused_k(k):
    with pytest.raises(ValueError, match=r"k is .*integer"):
        prdc(X, Y, k)
    with pytest.raises(ValueError, match=r"k is .*integer"):
        Manifold(k=k).fit(X)


def test_refused_settings():
    with pytest.raises(ValueError, match="block_size is 0; an integer of at least 1"):
        Manifold(block_size=0).fit(X)
    with pytest.raises(ValueError, match="closed is 'yes'"):
        Manifold(closed="yes").fit(X)
    with pytest.raises(ValueError, match="closed is 1"):
        prdc(X, Y, closed=1)
    with pytest.raises(ValueError, match="query has 3 features, but the reference has 4"):
        prdc(X, Y[:, :3])
    with pytest.raises(ValueError, match="query has 3 features, but the reference has 4"):
        recall(X, Y[:, :3])
    with pytest.raises(ValueError, match="reference contains NaN in row 13"):
        recall(spoiled(np.nan), Y)
    with pytest.raises(KeyError, match=r"k = 4 was not computed; \[3, 5\] were"):
        prdc(X, Y)[4]


def test_query_or_leave_one_out_not_both_nor_neither():
    fitted = Manifold().fit(X)
    for method in (fitted.contains, fitted.rarity, fitted.realism, fitted.score_samples, fitted.evaluate):
        with pytest.raises(ValueError, match="either a query or leave_one_out=True"):
            method()
        with pytest.raises(ValueError, match="either a query or leave_one_out=True"):
            method(Y, leave_one_out=True)


# Degenerate sets that have an answer


def test_constant_reference():
    fitted = Manifold(k=3).fit(np.full((10, 2), 0.1))
    query = np.array([[0.1, 0.1], [0.1, 0.2]])
    np.testing.assert_array_equal(fitted.radii_, np.zeros(10))
    np.testing.assert_array_equal(fitted.contains(query), [True, False])
    np.testing.assert_array_equal(fitted.ball_count(query), [10, 0])
    np.testing.assert_array_equal(fitted.rarity(query), [0, np.nan])
    np.testing.assert_array_equal(fitted.score_samples(query), [0, np.inf])
    np.testing.assert_array_equal(fitted.realism(query), [np.inf, 0])
    np.testing.assert_array_equal(fitted.realism(query, median_filter=False), [np.inf, 0])
    assert not Manifold(k=3, closed=False).fit(np.full((10, 2), 0.1)).contains(query).any()


def test_duplicates_are_neighbours_at_distance_zero():
    x = np.array([[0.0], [0], [0], [5], [9]])
    np.testing.assert_array_equal(knn_radii(x, (1, 2, 3)), [[0, 0, 5], [0, 0, 5], [0, 0, 5], [4, 5, 5], [4, 9, 9]])
    fitted = Manifold(k=1).fit(x)
    np.testing.assert_array_equal(fitted.rarity(leave_one_out=True), [0, 0, 0, 4, 4])
    np.testing.assert_array_equal(fitted.score_samples([[0.0], [1.0]]), [0, 1])
    np.testing.assert_array_equal(fitted.rarity([[0.0], [1.0]], return_index=True)[1], [0, 3])


def test_identical_sets_in_one_dimension():
    x = np.arange(6.0)[:, None]
    at = prdc(x, x, 2)[2]
    assert (at.precision, at.recall, at.coverage) == (1, 1, 1)


def test_a_thousand_coincident_points_stay_within_memory():
    x = np.zeros((3000, 8), dtype=np.float32)
    y = np.ones((1500, 8), dtype=np.float32)
    y[::2] = 0
    tracemalloc.start()
    at = prdc(x, y, 3, block_size=256)[3]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (at.precision, at.recall, at.coverage) == (0.5, 1, 1)
    assert peak < 12e6  # the 3000 x 1500 table of distances alone would be 36 MB


def test_no_table_of_all_pairs_is_ever_held():
    x, y = np.random.default_rng(1).standard_normal((2, 4000, 16)).astype(np.float32)
    fitted = Manifold(block_size=512).fit(x)
    tracemalloc.start()
    prdc(x, y, (3, 5), block_size=512)
    fitted.evaluate(y)
    fitted.evaluate(leave_one_out=True)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 16e6 / 2  # 4000 x 4000 takes 16 MB even as booleans


# Forms of input and output


@pytest.mark.parametrize("dtype", ["i1", "u1", "i2", "u2", "i4", "i8", "f2", "f4", "f8", "g", ">f4", ">f8", ">i2"])
def test_every_real_dtype_gives_the_same_decisions(dtype):
    x, y = np.random.default_rng(2).integers(0, 9, size=(2, 50, 4))
    a, b = prdc(x.astype(dtype), y.astype(dtype), 3)[3], prdc(x.astype(float), y.astype(float), 3)[3]
    np.testing.assert_array_equal(a.ball_count, b.ball_count)
    np.testing.assert_array_equal(a.recalled, b.recalled)


def test_layout_and_origin_do_not_matter(tmp_path):
    expected = Manifold().fit(X).evaluate(Y)
    np.save(tmp_path / "x.npy", X)
    forms = [np.asfortranarray(X), X.tolist(), np.load(tmp_path / "x.npy", mmap_mode="r"), np.repeat(X, 2, axis=0)[::2]]
    for form in forms:
        found = Manifold().fit(form).evaluate(np.asfortranarray(Y))
        for name in vars(expected):
            np.testing.assert_array_equal(getattr(found, name), getattr(expected, name), err_msg=name)


def test_features_are_neither_copied_nor_changed():
    x, before = X.astype(np.float32), X.astype(np.float32)
    assert np.shares_memory(Manifold().fit(x).reference_, x)
    prdc(x, Y)
    np.testing.assert_array_equal(x, before)


def test_torch_in_torch_out():
    torch = pytest.importorskip("torch")
    x, y = torch.from_numpy(X).requires_grad_(), torch.from_numpy(Y).float()
    fitted = Manifold().fit(x)
    truth = Manifold().fit(X).evaluate(Y.astype(np.float32))
    found = fitted.evaluate(y)
    for name in vars(found):
        assert isinstance(getattr(found, name), torch.Tensor)
        np.testing.assert_array_equal(getattr(found, name).numpy(), getattr(truth, name), err_msg=name)
    assert found.to_dict() == truth.to_dict()
    assert isinstance(fitted.rarity(y, return_index=True)[1], torch.Tensor)
    assert isinstance(knn_radii(x, 3), torch.Tensor)
    assert isinstance(fitted.contains(Y), np.ndarray)
    at = prdc(x, Y)[3]
    assert isinstance(at.covered, torch.Tensor)
    assert isinstance(at.inside, np.ndarray)
    assert at.precision == precision(X, Y)
    arrays = prdc(X, y)[3].arrays  # each in the form of the set it is about
    of_query = {name for name, values in arrays.items() if isinstance(values, torch.Tensor)}
    assert of_query == {
        "inside", "ball_count", "clipped_count", "nearest_ball", "rarity", "holds_reference"
    }  # fmt: skip
    low = torch.arange(24).reshape(8, 3).to(torch.bfloat16)
    np.testing.assert_array_equal(knn_radii(low, 2).numpy(), knn_radii(low.double().numpy(), 2))


def test_import_is_light_and_leaves_torch_alone():
    code = """
import sys
from genmend import manifold
heavy = {"torch", "faiss", "sklearn", "pandas", "matplotlib"} & set(sys.modules)
assert not heavy, heavy
manifold.prdc([[0.0], [1], [3], [7]], [[0.5], [2], [5.5], [12]], 1)
manifold.Manifold(k=1).fit([[0.0], [1], [3], [7]]).evaluate([[0.5]])
assert "torch" not in sys.modules
"""
    environment = os.environ | {"GENMEND_ENGINE": "numpy"}  # the torch engine is for CPUs without the compiled one
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120, env=environment)
