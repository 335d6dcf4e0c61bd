"""A generator that repeats its training set is found, an honest one is not; each number is that of its definition."""

from math import comb

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from scipy.stats import mannwhitneyu
from sklearn.datasets import load_digits

from genmend.manifold.copying.data_copying import copying_in_cells, data_copying
from genmend.manifold.copying.likelihood_gap import likelihood_gap
from genmend.manifold.copying.memorisation import auth_pct, memorisation
from genmend.manifold.figures.copies import copies_gallery, ratio_histogram


@pytest.fixture(scope="module")
def digits():
    """Training, held-out and further images of digits, (n, 64)."""
    images = np.random.default_rng(0).permutation(load_digits().data.astype(np.float32))
    return images[:700], images[700:1200], images[1200:1600]


def test_a_memorising_generator_is_found_and_an_honest_one_is_not(digits):
    train, test, honest = digits
    noise = np.random.default_rng(1).normal(0, 0.1 * train.std(0), (400, 64)).astype(np.float32)
    found = memorisation(train, train[:400] + noise, test, gap=True)
    said = " | ".join(found.warnings)
    assert found.totals["near_copies"] > 350 > 10 > found.totals["near_copies_expected"]
    assert found.totals["auth_pct"] < 5 < 40 < found.totals["auth_pct_test"]
    assert found.totals["c_t"] < -10
    assert found.totals["fld_gap"] < -100
    assert "near copies of training samples" in said
    assert "C_T is -" in said
    np.testing.assert_array_equal(found.nearest[:, 0], np.arange(400))

    fair = memorisation(train, honest, test, gap=True)
    assert fair.warnings == ()
    assert fair.totals["auth_pct"] == pytest.approx(fair.totals["auth_pct_test"], abs=8)
    assert abs(fair.totals["c_t"]) < 3 * fair.totals["c_t_deviation"]
    assert abs(fair.totals["fld_gap"]) < 20

    few = memorisation(train, np.vstack([honest[:380], train[:20] + noise[:20]]), test)
    assert few.warnings[0].startswith(f"{few.totals['near_copies']:.0f} of the 400 query samples are near copies")
    assert set(few.most_copied(15)) <= set(range(380, 400))
    assert memorisation(train, honest).warnings == ()
    assert "near copies" in memorisation(train, train[:400] + noise).warnings[0]  # without held-out samples


def test_exact_copies_are_counted_apart(digits):
    train, test, honest = digits
    query = np.vstack([train[5:25].astype(np.float64), honest[:80]])
    found = memorisation(train, query, test)
    assert found.totals["exact_copies"] == 20
    assert "20 of the 100 query samples are exact copies of training samples" in found.warnings
    assert found.to_dict()["near_copies"] < 3
    assert not found.ratio[:20].any()
    # Of a training sample that stands there twice, too: their distances to each other say nothing.
    twice = memorisation(np.vstack([train, train[:50]]), query + 0.01, test)
    assert twice.totals["near_copies"] == 20
    assert twice.warnings[0].startswith("50 of the 750 training samples are exact copies of others")
    np.testing.assert_array_equal(twice.nearest[:20, 0], np.arange(5, 25))
    assert "100 held-out samples are in the training set too" in memorisation(train, honest, train[:100]).warnings[0]


def test_weak_copies_stand_out_from_the_held_out_samples(digits):
    train, test, honest = digits
    noise = np.random.default_rng(2).normal(0, 1.2, (30, 64)).astype(np.float32)
    found = memorisation(train, np.vstack([honest[:370], train[:30] + noise]), test)
    assert found.totals["near_copies"] == 0
    assert found.totals["outstanding_chance"] < 1e-4
    assert "stand nearer to one training sample" in found.warnings[0]
    # The chance that the 14 lowest of 400 and 500 values are all of the 400.
    lowest, m, n = int(found.totals["outstanding"]), 400, 500
    assert found.totals["outstanding_chance"] == pytest.approx(comb(m, lowest) / comb(m + n, lowest))


def test_auth_pct_is_that_of_its_definition():
    rng = np.random.default_rng(0)
    for train, query in (
        (rng.standard_normal((300, 5)), 0.8 * rng.standard_normal((200, 5))),
        (rng.integers(0, 4, (200, 3)).astype(float), rng.integers(0, 4, (150, 3)) + 0.25),  # training samples twice
    ):
        within, across = cdist(train, train), cdist(train, query)
        np.fill_diagonal(within, np.inf)
        expected = 100 * np.mean(within.min(axis=0)[across.argmin(axis=0)] < across.min(axis=0))
        assert auth_pct(train, query) == pytest.approx(expected)
        assert memorisation(train, query).totals["auth_pct"] == pytest.approx(expected)


def test_c_t_is_that_of_its_definition():
    rng = np.random.default_rng(0)
    train, test, query = rng.standard_normal((300, 4)), rng.standard_normal((200, 4)), rng.standard_normal((250, 4))
    cells = [(one[:, 0] > 0).astype(int) + (one[:, 0] > 2) for one in (train, test, query)]  # the last has few samples
    weights, scores = [], []
    for cell in range(2):
        t, p, q = (one[of == cell] for one, of in zip((train, test, query), cells, strict=True))
        u = mannwhitneyu(cdist(q, t).min(axis=1), cdist(p, t).min(axis=1), alternative="less").statistic
        n, m = len(p), len(q)
        scores.append((u - (n * m / 2 - 0.5)) / np.sqrt(n * m * (n + m + 1) / 12))
        weights.append(n)
    found = copying_in_cells(train, test, query, *cells, n_cells=3)
    np.testing.assert_allclose(found.scores, [*scores, np.nan])
    assert found.c_t == pytest.approx(np.average(scores, weights=weights))
    assert found.n_query[2] <= 20
    many = [data_copying(train, rng.standard_normal((150, 4)), rng.standard_normal((150, 4))) for _ in range(60)]
    assert np.std([one.c_t for one in many]) == pytest.approx(np.mean([one.deviation for one in many]), rel=0.3)
    assert data_copying(train, test, 3 + query).c_t > 5  # far from the training samples
    assert np.isnan(data_copying(train, test, query[:5]).c_t)
    assert np.isfinite(data_copying(*rng.standard_normal((3, 100, 70)), seed=1).c_t)  # on principal components


def test_the_gap_is_that_of_automatic_differentiation():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    train, test = rng.normal(2, 3, (2, 120, 6))
    query = np.vstack([rng.normal(2, 3, (70, 6)), train[:10] + 0.01])
    x, t, y = (torch.from_numpy((one - test.mean(0)) / test.std(0, ddof=1)) for one in (train, test, query))

    def terms(squared, logs):
        return -0.5 * squared / logs.exp() - 3 * logs - 3 * np.log(2 * np.pi)

    squared = torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist") ** 2
    logs = ((squared.min(0).values + 1e-3) / 6).log().requires_grad_()
    origin = torch.zeros((), dtype=torch.float64, requires_grad=True)
    away = 0.9**2 * ((x - x.mean(0)) ** 2).sum(1, keepdim=True)
    adam = torch.optim.Adam([logs, origin], lr=0.5)
    for _ in range(50):
        adam.zero_grad()
        both = torch.cat([terms(squared, logs) - np.log(80), terms(away, origin)], dim=1)
        (-torch.logsumexp(both, 1).mean() / 6).backward()
        adam.step()
        logs.data.clamp_(-40, 20)
    with torch.no_grad():
        nats = [
            float(-torch.logsumexp(terms(torch.cdist(one, y) ** 2, logs) - np.log(80), 1).mean() / 6) for one in (x, t)
        ]
    assert likelihood_gap(train, test, query) == pytest.approx(100 * (nats[0] - nats[1]), rel=1e-6)
    assert nats[0] < nats[1]
    assert np.isnan(likelihood_gap(train, np.ones((5, 6)), query))
    fixed = [np.column_stack([one, np.ones(len(one))]) for one in (train, test, query)]
    assert likelihood_gap(*fixed) == pytest.approx(likelihood_gap(train, test, query))


def test_what_cannot_be_measured_is_refused():
    x = np.random.default_rng(0).standard_normal((20, 3))
    for call, message in (
        (lambda: memorisation(x[:2], x), "train has 2 samples; give at least 3"),
        (lambda: memorisation(x, x[:, :2]), "query has 2 features"),
        (lambda: memorisation(x, x, gap=True), "give a test set"),
        (lambda: auth_pct(x[:1], x), "train has 1 sample"),
        (lambda: likelihood_gap(x, x[:1], x), "test has 1 sample"),
        (lambda: data_copying(x, x, x, n_cells=21), "n_cells is 21, but train has 20"),
    ):
        with pytest.raises(ValueError, match=message):
            call()
    alike = memorisation(np.ones((5, 2)), np.ones((4, 2)))  # nothing to compare with
    assert alike.totals["exact_copies"] == 4
    assert alike.to_dict()["near_copies_expected"] is None
    assert "4 of the 5 training samples are exact copies of others" in alike.warnings[0]


def test_the_pictures(digits):
    train, test, honest = digits
    found = memorisation(train, np.vstack([train[:3], honest[:9]]), test)
    images = [row.reshape(8, 8) / 16 for row in np.vstack([train[:3], honest[:9]])]
    figure = copies_gallery(found, images, train.reshape(-1, 8, 8) / 16, 5)
    assert len(figure.axes[0].images) == 5 * 4
    assert "row 0: 0" in [text.get_text() for text in figure.axes[0].texts]
    with pytest.raises(ValueError, match="3 images came with 12 query samples"):
        copies_gallery(found, images[:3], train)
    assert ratio_histogram(found).axes[0].get_legend() is not None
    assert list(found.columns()) == ["row", "nearest_train", "distance", "ratio", "authentic"]
    assert "auth pct" in repr(found)
