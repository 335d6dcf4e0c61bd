import numpy as np
import pytest

from experiments.concepts.region_studies.purity import RECIPES, Labelled, _judged, _nearest, _split, _states, _summary
from genmend.concepts.regions.held_out import nearest_by_features


def planted(n=240, d=100, seed=0):
    """Kinds of 20 in classes of 80; each kind excites eight neurons of its own."""
    rng = np.random.default_rng(seed)
    fine = np.arange(n) // 20
    values = rng.normal(-1, 0.3, (n, d)).astype(np.float32)
    for kind in range(n // 20):
        values[np.ix_(fine == kind, np.arange(8 * kind, 8 * kind + 8))] += 2
    return Labelled("planted", np.zeros((n, 1, 1, 3), np.uint8), fine.astype(str), (fine // 4).astype(str)), values


def test_nearest_of_many_queries_are_those_of_each():
    values = np.random.default_rng(0).standard_normal((50, 9_000)).astype(np.float16)
    held, queries = np.arange(20, 50), np.array([0, 7])
    found = _nearest(values, held, queries)
    for query in queries:
        each = nearest_by_features(values[held].astype(np.float32), values[query].astype(np.float32))
        for how, order in each.items():
            np.testing.assert_array_equal(found[query, how], order)


def test_members_are_judged_on_images_held_out():
    images, values = planted()
    kept, held, queries = _split(images, seed=0)
    assert not set(kept) & set(held)
    assert set(queries) <= set(kept)
    queries = queries[:40]
    nearest = {(q, f"{how} of output"): order for (q, how), order in _nearest(values, held, queries).items()}
    recipe = RECIPES[-1]
    states = _states(values, recipe.threshold, kept, "1")
    halves = states[kept], states[held]
    judged = [_judged(images, states, halves, nearest, recipe, kept, held, query) for query in queries]
    row = _summary(judged, seed=0)
    assert row["queries"] == len(queries)
    assert row["region"][0] > 0.9
    assert row["base"][0] == pytest.approx(1 / 12, abs=0.03)
    assert row["base in class"][0] > 2 * row["base"][0]
    gap = [each["region"] - each["cosine of output"] for each in judged if each["n"]]
    assert row["region - cosine of output"][0] == pytest.approx(np.mean(gap), abs=1e-4)
    shuffled = Labelled("shuffled", images.images, np.random.default_rng(1).permutation(images.fine), images.coarse)
    by_chance = [_judged(shuffled, states, halves, nearest, recipe, kept, held, query) for query in queries]
    assert _summary(by_chance, seed=0)["region"][0] < 0.25
