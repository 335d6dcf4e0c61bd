"""Counts, thresholds and agreement against loops in float64 that upsample everything."""

import math

import numpy as np
import pytest
import torch
from gans_toys import LAYERS, toy_generator
from torch.nn import functional

from genmend.gans.dissection import (
    agreement_of,
    best_levels,
    bootstrap_interval,
    candidate_levels,
    count_at,
    count_at_levels,
    count_at_pairs,
    detects,
    information_quality,
    level_counts,
    pairs_of_images,
    threshold_counts,
    unit_peaks,
    unit_statistics,
)
from genmend.gans.dissection.agreement import pair_counts
from genmend.gans.dissection.counting import Counts, round_down, upsample
from genmend.gans.dissection.thresholds import TAIL_FRACTIONS
from genmend.gans.generator import recorded_batches


def draw(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def some(n=6, n_units=5, side=4, tall=20, wide=28, n_concepts=3, seed=0):
    """ReLU maps with a dead unit, and masks: a common concept, a rare one, an absent one."""
    maps = draw(n, n_units, side, side + 1, seed=seed).relu()
    maps[:, 1] = 0
    limits = torch.tensor([0.0, 1.7, 9.0])[:n_concepts].view(-1, 1, 1)
    masks = draw(n, n_concepts, tall, wide, seed=seed + 1) > limits
    return maps, masks


def upsampled(maps, side):
    """All of them, in float64, by torch's own function."""
    return functional.interpolate(maps.double(), size=side, mode="bilinear", align_corners=False)


def counted_by_hand(maps, masks, thresholds):
    """(unit, concept, both) by loops; `thresholds` are ``[U]`` or ``[U, C]``."""
    n_units, n_concepts = maps.shape[1], masks.shape[1]
    values = upsampled(maps, masks.shape[2:])
    unit, both = np.zeros((n_units, n_concepts), int), np.zeros((n_units, n_concepts), int)
    for u in range(n_units):
        for c in range(n_concepts):
            on = values[:, u] > (thresholds[u] if thresholds.ndim == 1 else thresholds[u, c]).item()
            unit[u, c] = on.sum()
            both[u, c] = (on & masks[:, c]).sum()
    return unit, masks.sum((0, 2, 3)).numpy(), both


@pytest.mark.parametrize("shape", [(4, 4, 64, 64), (8, 8, 64, 64), (16, 16, 32, 32), (3, 5, 13, 21), (7, 7, 7, 7)])
def test_upsampling_is_torch_s(shape):
    height, width, tall, wide = shape
    maps = draw(5, height, width)
    expected = upsampled(maps[None], (tall, wide))[0]
    found = upsample(maps, (tall, wide))
    assert torch.allclose(found.double(), expected.flatten(1), atol=2e-6)
    places = torch.tensor([0, tall * wide - 1, 17])
    assert torch.allclose(upsample(maps, (tall, wide), places), found[:, places], atol=1e-6)


def test_a_shifted_grid_is_not_what_we_do():
    maps = torch.zeros(1, 4, 4)
    maps[0, 0, 0] = 1
    shifted = functional.interpolate(maps[None], size=(16, 16), mode="bilinear", align_corners=True)[0]
    assert not torch.allclose(upsample(maps, (16, 16)), shifted.flatten(1), atol=0.01)
    # Symmetric maps stay symmetric: nothing is shifted.
    symmetric = draw(1, 4, 4)
    symmetric = symmetric + symmetric.flip(2)
    found = upsample(symmetric, (16, 16)).view(16, 16)
    assert torch.allclose(found, found.flip(1), atol=1e-6)


def test_counts_at_one_threshold_are_those_of_upsampling_everything():
    maps, masks = some()
    thresholds = torch.tensor([0.5, 0.5, 1.0, 0.0, 1.9], dtype=torch.float64)
    counts = count_at(maps, masks, thresholds)
    unit, concept, both = counted_by_hand(maps, masks, thresholds)
    assert counts.pixels == 6 * 20 * 28
    assert np.array_equal(counts.unit.expand(-1, 3), unit)
    assert np.array_equal(counts.concept, concept)
    assert np.array_equal(counts.both, both)
    assert counts.both.dtype == torch.int64
    assert (counts.both[1] == 0).all()  # a dead unit has no pixel, however low its threshold


def test_counts_at_levels_are_those_at_each_threshold():
    maps, masks = some(seed=4)
    levels = torch.tensor([[0.0, 0.3, 0.3, 1.1]], dtype=torch.float64).expand(5, -1) + torch.arange(5)[:, None] / 50
    counts = count_at_levels(maps, masks, levels)
    for level in range(4):
        one = count_at(maps, masks, levels[:, level])
        assert torch.equal(counts.unit[level], one.unit)
        assert torch.equal(counts.both[level], one.both)


def test_counts_of_pairs_are_those_at_each_pairs_threshold():
    maps, masks = some(seed=4)
    thresholds = torch.linspace(0, 1.4, 15, dtype=torch.float64).view(5, 3)
    thresholds[3, 1] = torch.nan
    counts = count_at_pairs(maps, masks, thresholds)
    unit, concept, both = counted_by_hand(maps, masks, thresholds)
    assert np.array_equal(counts.unit, unit)
    assert np.array_equal(counts.concept, concept)
    assert np.array_equal(counts.both, both)
    assert counts.unit[3].tolist() == [unit[3, 0], 0, unit[3, 2]]
    places = torch.tensor([3, 200, 411, 559])
    some_places = count_at_pairs(maps, masks, thresholds, places)
    levels = count_at_levels(maps, masks, thresholds[:, :1], places)
    assert torch.equal(some_places.unit[:, 0], levels.unit[0, :, 0])
    assert torch.equal(some_places.both[:, 0], levels.both[0, :, 0])
    assert some_places.pixels == levels.pixels


def test_counts_of_some_places_alone():
    maps, masks = some()
    places = torch.tensor([3, 200, 411, 559])
    levels = torch.tensor([[0.2, 0.9]], dtype=torch.float64).expand(5, -1)
    counts = count_at_levels(maps, masks, levels, places)
    values = upsampled(maps, (20, 28)).flatten(2)[:, :, places]
    theirs = masks.flatten(2)[:, :, places]
    assert counts.pixels == 6 * 4
    assert torch.equal(counts.concept, theirs.sum((0, 2)))
    assert torch.equal(counts.both[1], torch.einsum("nup,ncp->uc", (values > 0.9).long(), theirs.long()))


def test_counts_add_up_over_images():
    maps, masks = some()
    thresholds = torch.full((5,), 0.4)
    parts = count_at(maps[:2], masks[:2], thresholds) + count_at(maps[2:], masks[2:], thresholds)
    whole = count_at(maps, masks, thresholds)
    assert parts.pixels == whole.pixels
    assert all(torch.equal(getattr(parts, name), getattr(whole, name)) for name in ("unit", "concept", "both"))


def test_a_threshold_in_double_divides_single_values_as_it_should():
    value = torch.tensor([0.1])
    below, above = value.double() - 1e-12, value.double() + 1e-12
    assert (value > round_down(below)).all()
    assert not (value > round_down(above)).any()
    assert not (value > round_down(value.double())).any()


def test_agreement_is_pooled_and_not_a_mean_over_images():
    maps = torch.zeros(2, 1, 4, 4)
    maps[0], maps[1, 0, :2, :2] = 1, 1
    masks = torch.zeros(2, 1, 4, 4, dtype=torch.bool)
    masks[0] = True
    found = agreement_of(count_at(maps, masks, torch.tensor([0.5])), torch.tensor([[0.5]]))
    assert found.iou.item() == 16 / 20  # the mean over images would be (1 + 0) / 2
    assert found.accuracy.item() == 28 / 32


def counts_of(both, unit_only, concept_only, neither):
    pixels = both + unit_only + concept_only + neither
    return Counts(
        pixels, torch.tensor([[both + unit_only]]), torch.tensor([both + concept_only]), torch.tensor([[both]])
    )


@pytest.mark.parametrize("table", [(10, 5, 3, 82), (0, 10, 10, 80), (25, 0, 0, 75), (1, 0, 0, 0), (25, 25, 25, 25)])
def test_information_quality_by_hand(table):
    total = sum(table)
    joint = [value / total for value in table]
    unit, concept = (joint[0] + joint[1]), (joint[0] + joint[2])
    products = [unit * concept, unit * (1 - concept), (1 - unit) * concept, (1 - unit) * (1 - concept)]
    information = sum(p * math.log(p / q) for p, q in zip(joint, products, strict=True) if p)
    entropy = -sum(p * math.log(p) for p in joint if p)
    expected = information / entropy if entropy else 0.0
    assert information_quality(counts_of(*table)).item() == pytest.approx(expected, abs=1e-12)


def test_the_best_level_is_found_by_trying_all_in_a_loop():
    maps, masks = some(n=12, side=6, n_concepts=3, seed=8)
    # A concept that unit 0 detects, at a level to be found.
    masks[:, 0] = upsampled(maps, (20, 28))[:, 0] > 0.8
    levels = torch.stack([torch.linspace(-0.2, 2.0, 23, dtype=torch.float64)] * 5)
    counts = count_at_levels(maps, masks, levels)
    best = best_levels(counts, levels)
    for u in range(5):
        for c in range(3):
            chosen = (0.0, -1)
            for k in range(23):
                one = Counts(counts.pixels, counts.unit[k], counts.concept, counts.both[k])
                quality = information_quality(one)[u, c].item()
                covered = counts.concept[c] >= 1e-3 * counts.pixels
                if one.accuracy[u, c] > 0.8 and levels[u, k] > 0 and covered and quality > chosen[0]:
                    chosen = (quality, k)
            assert best.level[u, c] == chosen[1]
            assert best.quality[u, c].item() == pytest.approx(chosen[0], abs=1e-12)
    assert best.threshold[0, 0].item() == pytest.approx(0.8)
    assert best.quality[0, 0].item() == pytest.approx(1)
    assert (best.level[:, 2] == -1).all()  # the absent concept
    assert best.threshold[:, 2].isnan().all()


def test_pairs_without_a_threshold_agree_with_nothing():
    counts = count_at(*some(), torch.zeros(5))
    found = agreement_of(counts, torch.full((5, 3), torch.nan))
    assert (found.iou == 0).all()


def test_detectors_by_both_rules():
    counts = Counts(1000, torch.tensor([[100], [400]]), torch.tensor([100]), torch.tensor([[60], [60]]))
    found = agreement_of(counts, torch.ones(2, 1), torch.tensor([[0.2], [0.005]]))
    table = [values.numpy()[:, 0] for values in (found.iou, found.accuracy, found.quality)]
    assert found.iou[:, 0].tolist() == [60 / 140, 60 / 440]
    # The second agrees on only 620 of 1000 pixels, and its information is little.
    assert detects(*table).tolist() == [True, False]
    assert detects(*table, "code").tolist() == [True, False]
    with pytest.raises(ValueError, match="accepted are 'paper' and 'code'"):
        detects(*table, "mine")
    with pytest.raises(ValueError, match="needs the information quality"):
        detects(*table[:2], rule="code")


def test_pairs_of_images_add_up_to_the_pooled_counts():
    maps, masks = some()
    concept, threshold = torch.tensor([0, 1, 0, 1, 2]), torch.tensor([0.5, 0.5, 0.1, 1.0, torch.nan])
    pairs = pair_counts(maps, masks, concept, threshold)
    counts = count_at(maps, masks, threshold.nan_to_num(9e9))
    rows = torch.arange(5)
    assert np.array_equal(pairs[..., 0].sum(0), counts.both[rows, concept])
    either = counts.unit[:, 0] + counts.concept[concept] - counts.both[rows, concept]
    assert np.array_equal(pairs[..., 1].sum(0), either)


def test_the_interval_is_that_of_resampled_images():
    rng = np.random.default_rng(3)
    both = rng.binomial(50, 0.4, (40, 2))
    pairs = np.stack([both, both + rng.binomial(30, 0.5, (40, 2))], axis=2)
    interval = bootstrap_interval(pairs, n_resamples=4000)
    resampled = np.array([
        [pairs[rows, u, 0].sum() / pairs[rows, u, 1].sum() for u in range(2)]
        for rows in rng.integers(0, 40, (4000, 40))
    ])  # fmt: skip
    assert np.allclose(interval, np.quantile(resampled, [0.025, 0.975], axis=0).T, atol=0.004)
    assert np.array_equal(interval, bootstrap_interval(pairs, n_resamples=4000))  # same seed, same interval
    assert (bootstrap_interval(np.zeros((3, 2, 2), dtype=np.int64)) == 0).all()


@pytest.fixture(scope="module")
def recorded():
    generator = toy_generator(batch_size=7)
    latents = generator.latents(20, 5)
    batches = list(recorded_batches(generator, latents, LAYERS, ""))
    return generator, latents, {layer: torch.cat([batch[layer] for batch in batches]) for layer in LAYERS}


def test_statistics_are_those_of_all_activations(recorded):
    generator, latents, maps = recorded
    found = unit_statistics(generator, latents, LAYERS, tail=0.02, n_top=3)
    peaks = unit_peaks(generator, latents, LAYERS)
    for layer in LAYERS:
        values = maps[layer].transpose(0, 1).flatten(1).double().numpy()
        assert np.allclose(found[layer].threshold, np.quantile(values, 0.98, axis=1), atol=1e-9)
        highest = maps[layer].flatten(2).amax(2)
        assert torch.equal(peaks[layer], highest)
        assert torch.equal(found[layer].peaks, highest.sort(0, descending=True).values[:3].T)


def test_levels_are_quantiles(recorded):
    generator, latents, maps = recorded
    found = candidate_levels(generator, latents, LAYERS)
    for layer in LAYERS:
        values = maps[layer].transpose(0, 1).flatten(1).double().numpy()
        expected = np.quantile(values, [1 - fraction for fraction in TAIL_FRACTIONS], axis=1).T
        assert np.allclose(found[layer], expected, atol=1e-9)
        assert (found[layer].diff(dim=1) >= 0).all()
    assert TAIL_FRACTIONS[0] == 1
    assert TAIL_FRACTIONS[-1] == pytest.approx(1e-3)


def test_levels_of_large_layers_come_from_fewer_samples(recorded, monkeypatch):
    generator, latents, maps = recorded
    monkeypatch.setattr("genmend.gans.dissection.measuring.MOST_VALUES", 4 * maps["widen.act"][0].numel())
    found = candidate_levels(generator, latents, ["widen.act"])["widen.act"]
    values = maps["widen.act"][:4].transpose(0, 1).flatten(1).double().numpy()
    assert np.allclose(found[:, -1], np.quantile(values, 1 - 1e-3, axis=1), atol=1e-9)


def test_passes_count_what_the_functions_do_on_all_maps_at_once(recorded):
    generator, latents, maps = recorded
    masks = draw(20, 2, 32, 32, seed=9) > 0.5
    thresholds = {layer: maps[layer].amax((0, 2, 3)).double() * 0.5 for layer in LAYERS}
    levels = {layer: threshold[:, None] * torch.tensor([0.5, 1.0]) for layer, threshold in thresholds.items()}
    concept = {layer: torch.zeros(len(threshold), dtype=torch.int64) for layer, threshold in thresholds.items()}
    at_one = threshold_counts(generator, latents, masks, thresholds)
    at_all = level_counts(generator, latents, masks, levels)
    by_image = pairs_of_images(generator, latents, masks, concept, thresholds)
    for layer in LAYERS:
        whole = count_at(maps[layer], masks, thresholds[layer])
        assert torch.equal(at_one[layer].both, whole.both)
        assert torch.equal(at_all[layer].both[1], whole.both)
        assert np.array_equal(by_image[layer][..., 0].sum(0), whole.both[:, 0])
    with pytest.raises(ValueError, match="19 masks for 20 samples"):
        threshold_counts(generator, latents, masks[:19], thresholds)


def test_the_interval_is_that_of_all_resamples_at_once():
    """As the weights of all resamples were before they were drawn a few at a time, bit for bit."""
    rng = np.random.default_rng(2)
    both = rng.integers(0, 100, (40, 70))
    pairs = np.stack([both, both + rng.integers(1, 50, both.shape)], axis=2).astype(np.uint16)
    weights = np.random.default_rng(5).multinomial(40, np.full(40, 1 / 40), size=250)
    found = (weights @ pairs[..., 0].astype(np.int64)) / (weights @ pairs[..., 1].astype(np.int64))
    wanted = np.quantile(found, [0.025, 0.975], axis=0).T
    np.testing.assert_allclose(bootstrap_interval(pairs, n_resamples=250, seed=5), wanted, rtol=1e-15)
