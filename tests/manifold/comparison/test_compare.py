"""Several sets against one reference: what is better, what is a tie, and what cannot be compared."""

import json

import numpy as np
import pytest

from genmend.manifold import compare, evaluate, evaluate_by_class
from genmend.manifold.comparison.by_class import labels_of_folders
from genmend.manifold.comparison.differences import Difference, ranks_of
from genmend.manifold.comparison.directions import DEPEND_ON_SIZE

METRICS = ("precision", "recall", "density", "coverage", "realism", "clipped_density", "clipped_coverage")


def drawn(n, seed, scale=1.0, d=6):
    return scale * np.random.default_rng(seed).normal(size=(n, d))


@pytest.fixture(scope="module")
def compared():
    """Two alike, one that keeps to the middle: plausible throughout, and far from everything that there is."""
    queries = {"a": drawn(300, 1), "b": drawn(300, 2), "narrow": drawn(300, 3, 0.5)}
    return compare(drawn(300, 0), queries, (3, 5), METRICS, bootstrap=30, seed=4)


def test_alike_sets_tie_and_a_narrow_one_does_not(compared):
    for k in (3, 5):
        precision, recall = compared.ranks[k]["precision"], compared.ranks[k]["recall"]
        assert (precision["narrow"].rank, precision["narrow"].tied_with) == (1, ())
        assert {name: precision[name].rank for name in "ab"} == {"a": 2, "b": 2}
        assert precision["a"].tied_with == ("b",)
        assert (recall["narrow"].rank, recall["narrow"].tied_with) == (3, ())
        assert compared.best(k, "recall") == ["a", "b"]
        assert "density" not in compared.ranks[k]  # has no better direction
    assert {one.metric for one in compared.worse_than("a")} >= {"recall", "coverage"}
    assert compared.left_out == {}
    told = json.loads(json.dumps(compared.to_dict(), allow_nan=False))
    assert set(told) == {"models", "differences", "difference_method", "ranks", "not_ranked", "warnings"}
    assert told["ranks"]["3"]["recall"]["narrow"] == {"rank": 3, "tied_with": []}
    assert "narrow 3" in repr(compared)
    assert len(set(map(len, compared.columns().values()))) == 1


def test_each_set_is_evaluated_as_alone_and_differences_are_those_of_the_totals(compared):
    alone = evaluate(drawn(300, 0), drawn(300, 2), (3, 5), METRICS, bootstrap=30, seed=4)
    assert compared.evaluations["b"].to_dict() == alone.to_dict()
    for one in compared.differences:
        totals = [compared.evaluations[name][one.k].totals[one.metric] for name in (one.first, one.second)]
        assert one.value == totals[0] - totals[1]
        assert one.low <= one.value <= one.high


def test_the_same_rows_of_paired_sets_leave_little_to_chance():
    """A set moved a little is the same set: only what the move does differs, not which samples were drawn."""
    reference, query = drawn(300, 0), drawn(300, 1)
    sets = {"as it is": query, "moved": query + 0.02, "another": drawn(300, 2)}
    found = compare(reference, sets, 5, ("precision",), bootstrap=30)
    widths = {one.second: one.high - one.low for one in found.differences if one.first == "as it is"}
    assert widths["moved"] < 0.5 * widths["another"]
    shared = [np.concatenate([drawn(50, seed), 40 + drawn(50, seed + 1)]) for seed in (5, 7)]
    half = compare(reference, dict(zip("pq", shared, strict=True)), 5, ("coverage",), bootstrap=30)
    apart = [evaluate(reference, one, 5, ("coverage",), bootstrap=30, seed=side) for side, one in enumerate(shared)]
    scatter = np.hypot(*(np.std(one[5].draws["coverage"]) for one in apart))
    ours = half.evaluations["p"][5].draws["coverage"] - half.evaluations["q"][5].draws["coverage"]
    assert np.std(ours) < 1.3 * scatter


def test_ties_need_not_be_transitive():
    def one(first, second, low, high):
        return Difference(3, "recall", first, second, (low + high) / 2, low, high)

    pairs = [one("a", "b", -0.1, 0.2), one("a", "c", 0.1, 0.3), one("b", "c", -0.1, 0.2)]
    ranks = ranks_of(pairs, "abc")[3]["recall"]
    assert {name: (ranks[name].rank, ranks[name].tied_with) for name in "abc"} == {
        "a": (1, ("b",)), "b": (1, ("a", "c")), "c": (2, ("b",)),
    }  # fmt: skip
    assert ranks_of([one("a", "b", np.nan, np.nan)], "ab") == {}


def test_sets_of_two_sizes_are_ranked_only_by_what_does_not_depend_on_it():
    reference, queries = drawn(300, 0), {"many": drawn(300, 1), "few": drawn(60, 2), "most": drawn(297, 3)}
    found = compare(reference, queries, 3, METRICS, bootstrap=20)
    assert {"precision", "realism_share"} <= set(found.ranks[3])
    assert not DEPEND_ON_SIZE & set(found.ranks[3])
    assert all(
        not one.comparable for one in found.differences if one.metric == "recall" and "few" in one.to_dict().values()
    )
    assert any(one.comparable for one in found.differences if one.metric == "recall")  # 297 of 300
    assert any("few has 60 samples and many 300: with more samples coverage" in note for note in found.notes)
    equal = compare(reference, queries, 3, METRICS, bootstrap=20, equal_sizes=True)
    assert {one.n_query for one in equal.evaluations.values()} == {60}
    assert {"recall", "coverage"} <= set(equal.ranks[3])
    assert any("60 of the 300 samples of many were drawn at random with seed 0" in note for note in equal.notes)


def test_what_moves_with_the_number_of_samples_and_what_does_not():
    """Over ten draws of one distribution, 80 and 320 query samples: what the note on sizes says."""
    metrics = ("precision", "density", "coverage", "realism", "symmetric_precision", "clipped_density")
    totals = {
        m: [evaluate(drawn(160, seed), drawn(m, 100 + seed), 3, metrics)[3].totals for seed in range(10)]
        for m in (80, 320)
    }
    for name, way in {
        "precision": 0,
        "density": 0,
        "realism_share": 0,
        "coverage": 1,
        "symmetric_precision": -1,
    }.items():
        few, many = (np.array([of[name] for of in totals[m]]) for m in (80, 320))
        shift = (many.mean() - few.mean()) / np.hypot(few.std(), many.std()) * np.sqrt(10)
        assert abs(shift) < 4 if way == 0 else way * shift > 6
        assert (name in DEPEND_ON_SIZE) == (way != 0)


def test_the_reference_among_the_sets_has_no_rank_and_twins_are_named():
    reference = drawn(80, 0)
    sets = {"real": reference, "a": drawn(80, 1), "twin": drawn(80, 1)}
    found = compare(reference, sets, 3, METRICS, bootstrap=10)
    assert "80 of its 80 samples are exact copies" in found.left_out["real"]
    assert set(found.ranks[3]["recall"]) == {"a", "twin"}
    assert found.best(3, "recall") == ["a", "twin"]
    assert "a and twin hold the same samples" in found.notes
    assert any(note.startswith("real has no rank") for note in found.notes)


def test_without_subsamples_there_are_no_ranks_and_that_is_said():
    found = compare(drawn(60, 0), {"a": drawn(60, 1), "b": drawn(60, 2)}, 3, ("precision",), bootstrap=0)
    assert found.ranks == {}
    assert any("there are no ranks" in note for note in found.notes)
    assert found.to_dict()["differences"][0]["tie"] is False
    with pytest.raises(ValueError, match="queries holds 1 sets"):
        compare(drawn(60, 0), {"a": drawn(60, 1)})
    with pytest.raises(ValueError, match="b: query has 5 features"):
        compare(drawn(60, 0), {"a": drawn(60, 1), "b": drawn(60, 2, d=5)}, 3, ("precision",), bootstrap=0)


def test_each_class_alone_and_small_ones_named():
    labels = ["cat"] * 40 + ["dog"] * 40 + ["eel"] * 3
    x, y = drawn(83, 0), drawn(83, 1)
    y[:40] += 10  # what the query calls cats are none
    found = evaluate_by_class(x, y, (labels, [*labels[:80], "fox", "fox", "eel"]), 3, ("precision", "recall"))
    assert list(found.classes) == ["cat", "dog"]
    assert found.classes["cat"][3].precision == 0
    assert found.classes["dog"].to_dict() == evaluate(x[40:80], y[40:80], 3, ("precision", "recall")).to_dict()
    assert found.left_out["eel"] == "3 reference and 1 query samples, of which 4 each are needed for k = 3"
    assert found.left_out["fox"].startswith("0 reference and 2 query samples")
    assert found.columns()["class"].tolist() == ["cat", "dog"]
    json.dumps(found.to_dict(), allow_nan=False)
    with pytest.raises(ValueError, match="82 labels came with 83 query samples"):
        evaluate_by_class(x, y, (labels, labels[1:]), 3)
    with pytest.raises(ValueError, match="none of the 83 classes has 4 samples"):
        evaluate_by_class(x, y, (range(83), range(83)), 3)
    assert labels_of_folders(["a/b/1.png", "a/2.png", "3.png"]) == ["a", "a", "(the folder itself)"]


def test_kid_and_vendi_have_paired_differences_and_kid_has_ranks():
    """One set is shifted; another one has lost the directions of half of its clusters."""
    centres = 4 * np.random.default_rng(7).normal(size=(10, 12))

    def clustered(seed, n_modes=10, shift=0.0):
        rng = np.random.default_rng(seed)
        return rng.normal(size=(240, 12)) + centres[rng.integers(n_modes, size=240)] + shift

    sets = {"a": clustered(1), "b": clustered(2), "shifted": clustered(3, shift=1.0), "poor": clustered(4, n_modes=4)}
    found = compare(clustered(0), sets, 3, ("kid", "vendi"), bootstrap=4)
    kid = found.ranks[None]["kid"]
    assert kid["a"].tied_with == ("b",)
    assert all(kid[good].rank < kid[bad].rank for good in "ab" for bad in ("shifted", "poor"))
    assert set(found.best(None, "kid")) == {"a", "b"}  # lower is better
    vendi = {(one.first, one.second): one for one in found.differences if one.metric == "vendi"}
    assert vendi["a", "b"].low < 0 < vendi["a", "b"].high
    assert vendi["a", "poor"].low > 0
    assert vendi["a", "poor"].better is None  # more varied is not better: noise is, too
    assert "vendi" not in found.ranks[None]
    told = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert told["ranks"]["none"]["kid"]["b"] == {"rank": kid["b"].rank, "tied_with": ["a"]}
    assert {one["k"] for one in told["differences"]} == {None}
    assert "kid: a 1=, b 1=" in repr(found)
    assert found.columns()["k"].tolist() == [""] * len(found.differences)
    assert [one.better for one in found.worse_than("a")] == ["a", "a"]


def test_where_the_scatter_of_kid_or_vendi_is_not_known_nothing_is_said():
    few = compare(drawn(60, 0), {"a": drawn(60, 1), "b": drawn(60, 2)}, 3, ("kid", "vendi"), bootstrap=4)
    assert all(np.isnan(one.low) and one.better is None for one in few.differences)
    assert few.ranks == {}
    wide = {name: drawn(90, seed, d=100) for seed, name in enumerate("ab")}
    found = compare(drawn(90, 9, d=100), wide, 3, ("kid", "vendi"), bootstrap=4)
    assert {one.metric: bool(np.isnan(one.low)) for one in found.differences} == {"kid": False, "vendi": True}
    sizes = compare(drawn(200, 0), {"a": drawn(200, 1), "b": drawn(120, 2)}, 3, ("kid", "vendi"), bootstrap=4)
    assert {one.metric: one.comparable for one in sizes.differences} == {"kid": True, "vendi": False}


def test_draws_of_kid_and_vendi_scatter_as_other_sets_do():
    totals, scatter = {"kid": [], "vendi": []}, {"kid": [], "vendi": []}
    for seed in range(40):
        found = evaluate(drawn(200, seed), 0.5 + drawn(200, 100 + seed), 3, ("kid", "vendi"), bootstrap=2)
        for name in totals:
            totals[name].append(found.totals[name])
            scatter[name].append(np.std(found.draws[name]))
    for name in totals:
        assert 0.7 < np.sqrt(np.mean(np.square(scatter[name]))) / np.std(totals[name]) < 1.5
