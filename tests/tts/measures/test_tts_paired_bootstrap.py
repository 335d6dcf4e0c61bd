"""The paired bootstrap, against closed forms."""

import numpy as np
import pytest

from genmend.tts.measures.paired_bootstrap import paired_bootstrap


def test_differences_and_counts_are_of_the_pairs():
    found = paired_bootstrap([0.5, 0.2, 0.1, 0.4], [0.3, 0.3, 0.1, 0.1])
    assert found.difference == pytest.approx(-0.1)
    assert (found.before, found.after) == (pytest.approx(0.3), pytest.approx(0.2))
    assert (found.better, found.worse, found.same, found.n) == (2, 1, 1, 4)
    assert found.low <= found.difference <= found.high
    assert found.to_dict()["n"] == 4


def test_higher_can_be_better():
    found = paired_bootstrap([3, 3, 3], [4, 2, 5], lower_is_better=False)
    assert (found.better, found.worse) == (2, 1)


def test_weights_make_it_the_difference_of_the_rates_over_all_phonemes():
    errors_before, errors_after, lengths = np.array([5, 1, 0]), np.array([2, 1, 1]), np.array([50, 10, 5])
    found = paired_bootstrap(errors_before / lengths, errors_after / lengths, weights=lengths)
    assert found.difference == pytest.approx(errors_after.sum() / 65 - errors_before.sum() / 65)
    assert found.difference != pytest.approx(
        paired_bootstrap(errors_before / lengths, errors_after / lengths).difference
    )


def test_the_interval_is_as_wide_as_theory_says():
    change = np.random.default_rng(0).normal(0.3, 1.0, 400)
    found = paired_bootstrap(np.zeros(400), change)
    half = 1.96 * change.std() / 20
    assert found.low == pytest.approx(change.mean() - half, abs=0.01)
    assert found.high == pytest.approx(change.mean() + half, abs=0.01)


def test_pairing_takes_out_what_both_share():
    shared = np.random.default_rng(1).normal(0, 10, 100)
    found = paired_bootstrap(shared, shared + 0.5)
    assert (found.low, found.high) == (pytest.approx(0.5), pytest.approx(0.5))
    assert found.worse == 100


def test_the_same_seed_gives_the_same_interval():
    before, after = np.random.default_rng(2).random((2, 30))
    assert paired_bootstrap(before, after) == paired_bootstrap(before, after)
    assert paired_bootstrap(before, after).low != paired_bootstrap(before, after, seed=1).low


@pytest.mark.parametrize(
    ("before", "after", "options", "message"),
    [
        ([1.0], [1.0], {}, "at least 2"),
        ([1.0, 2.0], [1.0], {}, "2 values before, 1 after"),
        ([1.0, np.nan], [1.0, 2.0], {}, "before has"),
        ([1.0, 2.0], [1.0, 2.0], {"weights": [1.0, 0.0]}, "above 0"),
        ([1.0, 2.0], [1.0, 2.0], {"weights": [1.0]}, "1 weights"),
    ],
)
def test_bad_pairs_are_refused(before, after, options, message):
    with pytest.raises(ValueError, match=message):
        paired_bootstrap(before, after, **options)
