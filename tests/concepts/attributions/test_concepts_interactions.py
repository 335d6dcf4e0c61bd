from itertools import permutations

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from genmend.concepts.attributions.feature_groups import patches, superpixels
from genmend.concepts.attributions.interaction_games import exact_interactions, sampled_interactions
from genmend.concepts.attributions.positive_interactions import PositiveInteractions

PRODUCTS = np.random.default_rng(0).standard_normal((6, 6))


def crossed(sets):
    """A game with interactions of both signs and of all orders."""
    linear = sets @ np.array([0.5, -0.2, 0.9, 0.1, -0.6, 0.3])
    return np.tanh(linear + np.einsum("mi,ij,mj->m", sets, PRODUCTS, sets) * 0.4)


def by_orders(game, n):
    """Shapley and API straight from their definition: the mean over all orders of what is added before each reveal."""
    shapley, positive = np.zeros(n), np.zeros(n)

    def value(members):
        row = np.zeros((1, n), dtype=bool)
        row[0, list(members)] = True
        return float(game(row)[0])

    orders = list(permutations(range(n)))
    for order in orders:
        for place, i in enumerate(order):
            shapley[i] += value(order[: place + 1]) - value(order[:place])
            positive[i] += value([i]) - value([])
            for k in range(place):
                before, j = order[:k], order[k]
                interaction = value([*before, j, i]) - value([*before, i]) - value([*before, j]) + value(before)
                positive[i] += max(0, interaction)
    return shapley / len(orders), positive / len(orders)


def test_every_set_gives_the_definition():
    found = exact_interactions(crossed, 6)
    shapley, positive = by_orders(crossed, 6)
    np.testing.assert_allclose(found.shapley, shapley, atol=1e-12)
    np.testing.assert_allclose(found.importance, positive, atol=1e-12)
    np.testing.assert_allclose(found.alone + found.positive + found.negative, shapley, atol=1e-12)
    everything, nothing = crossed(np.ones((1, 6))), crossed(np.zeros((1, 6)))
    np.testing.assert_allclose(found.shapley.sum(), everything - nothing)
    assert found.n_evaluations == 64


@pytest.mark.parametrize(
    ("game", "shapley", "importance"),
    [
        (lambda s: (s * [3, 3, 1]).max(1), (4 / 3, 4 / 3, 1 / 3), (3, 3, 1)),
        (lambda s: (s[:, 0] & s[:, 1]) + 0.5 * s[:, 2], (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
        (lambda s: (s[:, 0] | s[:, 1] | s[:, 2]).astype(float), (1 / 3, 1 / 3, 1 / 3), (1, 1, 1)),
        (lambda s: s[:, 0] & (s[:, 1] | s[:, 2]), (2 / 3, 1 / 6, 1 / 6), (2 / 3, 1 / 3, 1 / 3)),
    ],
)
def test_games_whose_answer_is_known(game, shapley, importance):
    """Maximum, conjunction, disjunction, and gloves: one left, two right."""
    found = exact_interactions(game, 3)
    np.testing.assert_allclose(found.shapley, shapley)
    np.testing.assert_allclose(found.importance, importance)
    np.testing.assert_allclose(found.importance, by_orders(game, 3)[1])


def test_it_is_shapleys_value_in_a_convex_game():
    found = exact_interactions(lambda sets: sets.sum(1).astype(float) ** 2, 5)
    np.testing.assert_allclose(found.importance, found.shapley)
    assert (found.negative == 0).all()


def test_random_orders_converge_to_every_set():
    exact = exact_interactions(crossed, 6)
    found = sampled_interactions(crossed, 6, n_orders=2000, seed=3)
    np.testing.assert_allclose(found.importance, exact.importance, atol=3 * found.interval.max())
    np.testing.assert_allclose(found.shapley, exact.shapley, atol=3 * found.shapley_interval.max())
    np.testing.assert_allclose(found.pairs, exact.pairs, atol=0.05)
    assert found.interval.max() < 0.05
    assert found.n_evaluations == 1 + 2000 * 21


def test_few_orders_have_no_bias():
    exact = exact_interactions(crossed, 6)
    runs = [sampled_interactions(crossed, 6, n_orders=2, seed=seed).importance for seed in range(600)]
    error = (np.mean(runs, 0) - exact.importance) / (np.std(runs, 0) / np.sqrt(600))
    assert np.abs(error).max() < 4


def test_intervals_hold_the_value():
    exact = exact_interactions(crossed, 6)
    held = [
        np.abs(found.importance - exact.importance) <= found.interval
        for found in (sampled_interactions(crossed, 6, n_orders=16, seed=seed) for seed in range(300))
    ]
    assert 0.9 < np.mean(held) < 0.99


def test_the_other_readings_differ_as_they_say():
    exact = exact_interactions(crossed, 6)
    pair = exact_interactions(crossed, 6, rectified="pair")
    np.testing.assert_allclose(pair.importance, exact.alone + exact.pairs.clip(0).sum(1))
    alone = exact_interactions(crossed, 6, rectify_alone=True)
    np.testing.assert_allclose(alone.importance - exact.importance, exact.alone.clip(0) - exact.alone)
    assert (exact.alone < 0).any()
    with pytest.raises(ValueError, match="'interaction' and 'pair'"):
        exact_interactions(crossed, 6, rectified="feature")


def test_bad_games_are_named():
    with pytest.raises(ValueError, match="sampled_interactions"):
        exact_interactions(crossed, 13)
    with pytest.raises(ValueError, match="NaN"):
        exact_interactions(lambda sets: np.full(len(sets), np.nan), 3)
    with pytest.raises(ValueError, match="one number a set"):
        sampled_interactions(lambda sets: sets, 3)
    with pytest.raises(ValueError, match="even number"):
        sampled_interactions(crossed, 6, n_orders=5)


def test_an_object_shown_twice_keeps_its_importance():
    """Either of two equal patches is enough for the score: Shapley halves what each could do."""
    image = torch.zeros(1, 1, 8, 8)
    image[..., :2, :2] = 1
    image[..., 6:, 6:] = 1

    def seen(images):
        return images.unfold(2, 2, 2).unfold(3, 2, 2).mean((-1, -2)).flatten(1).amax(1)

    method = PositiveInteractions(seen, patches((8, 8), 2), n_orders=64, batch_size=7)
    (found,) = method.interactions(image)
    np.testing.assert_allclose(found.importance[[0, 15]], 1)
    np.testing.assert_allclose(found.shapley[[0, 15]], 0.5, atol=0.2)
    np.testing.assert_allclose(found.shapley.sum(), 1)
    assert found.importance[1:15].max() == 0
    attribution = method.attribute(image)
    assert attribution.shape == image.shape
    torch.testing.assert_close(attribution, image)


def test_superpixels_keep_to_the_edges_and_count_from_0():
    image = torch.zeros(3, 32, 32)
    image[:, :, 13:] = 1
    groups = superpixels(image, 16)
    assert groups.shape == (32, 32)
    assert np.array_equal(np.unique(groups), np.arange(groups.max() + 1))
    left, right = set(groups[:, :13].ravel()), set(groups[:, 13:].ravel())
    assert not left & right


def test_superpixels_come_near_the_number_that_is_asked_for():
    """SLIC alone gives 6 of 9 here: it joins small ones to their neighbours."""
    rng = np.random.default_rng(0)
    image = torch.from_numpy(gaussian_filter(rng.random((3, 96, 96)), (0, 8, 8)))
    for n in (1, 9, 16):
        found = superpixels(image, n).max() + 1
        assert abs(found - n) <= n // 4, (n, found)


def test_parts_that_do_not_fit_are_named():
    image = torch.rand(1, 3, 4, 4)
    with pytest.raises(ValueError, match="of the shape"):
        PositiveInteractions(lambda x: x.sum((1, 2, 3)), patches((5, 4), 1)).attribute(image)
    with pytest.raises(ValueError, match="without a gap"):
        PositiveInteractions(lambda x: x.sum((1, 2, 3)), patches((4, 4), 2) * 2).attribute(image)
    with pytest.raises(ValueError, match="size is 9"):
        patches((4, 4), 9)
    with pytest.raises(ValueError, match="n is 0"):
        superpixels(image[0], 0)
