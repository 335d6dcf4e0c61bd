"""Rarely active neurons: rates, rare sets, counts and heat maps against plain loops."""

import numpy as np
import pytest
import torch
from gans_toys import LAYERS, toy_generator, written_out
from sklearn.exceptions import NotFittedError

from genmend.activations.layers import UnknownLayerError
from genmend.gans import RareActivation, load_generator
from genmend.gans.detection.rare_activation import ablated_share
from genmend.gans.generator import measured_layers

RATE = 0.15


@pytest.fixture(scope="module")
def generator():
    return toy_generator()


@pytest.fixture(scope="module")
def latents(generator):
    return generator.latents(150, 1)


@pytest.fixture(scope="module")
def rare(generator, latents):
    return RareActivation(RATE).fit(generator, latents)


def plain_outputs(generator, latents):
    """Layer -> (n, C, H, W) of the forward pass written out, one sample at a time."""
    rows = [written_out(generator.module, latents[i : i + 1])[0] for i in range(len(latents))]
    return {layer: torch.cat([row[layer] for row in rows]).numpy() for layer in LAYERS}


def plain_counts(outputs, masks):
    counts = {}
    for layer, values in outputs.items():
        chosen = np.argwhere(masks[layer].numpy())
        counts[layer] = np.array([sum(sample[tuple(place)] > 0 for place in chosen) for sample in values], dtype=float)
    return counts


def test_rates_equal_a_plain_loop(generator, latents, rare):
    for layer, values in plain_outputs(generator, latents).items():
        expected = np.zeros(values.shape[1:])
        for sample in values:
            expected += sample > 0
        np.testing.assert_array_equal(rare.rates_[layer].numpy(), expected / len(latents))
    assert rare.n_samples_ == len(latents)


def test_the_rare_set_has_the_seldom_active_and_not_the_never_active(rare):
    for layer, mask in rare.masks().items():
        rates = rare.rates_[layer]
        assert mask.dtype == torch.bool
        assert (rates == 0).any(), "the toy has neurons that are never active"
        for place in np.ndindex(*rates.shape):
            assert mask[place] == (0 < rates[place] <= RATE)
        assert 0 < mask.sum() < mask.numel()


def test_the_rate_itself_is_included(generator, latents):
    rare = RareActivation(RATE).fit(generator, latents)
    rates = torch.unique(rare.rates_["widen.act"])
    exact = float(rates[rates > 0.02][0])
    inside = rare.masks(exact)["widen.act"] & ~rare.masks(exact - 1e-9)["widen.act"]
    assert torch.equal(inside, rare.rates_["widen.act"] == exact)
    assert inside.any()


def test_counts_equal_a_plain_loop_on_new_samples(generator, rare):
    new = generator.latents(12, 99)
    counts = rare.counts(generator, new)
    expected = plain_counts(plain_outputs(generator, new), rare.masks())
    assert list(counts) == list(LAYERS)
    for layer in LAYERS:
        np.testing.assert_array_equal(counts[layer], expected[layer])
    assert sum(values.sum() for values in counts.values()) > 0


def test_standardised_counts_have_mean_0_and_std_1_on_the_fitted_samples(generator, latents, rare):
    counts = rare.standardised_counts(generator, latents)
    assert counts.shape == (len(latents), len(LAYERS))
    np.testing.assert_allclose(counts.mean(0), 0, atol=1e-12)
    np.testing.assert_allclose(counts.std(0), 1, rtol=1e-12)
    np.testing.assert_allclose(rare.score(generator, latents), counts.sum(1))


def test_a_layer_whose_count_never_varies_says_nothing(generator, latents):
    rare = RareActivation(1e-9).fit(generator, latents)
    assert not any(mask.any() for mask in rare.masks().values())
    assert (rare.score(generator, generator.latents(5, 7) * 3) == 0).all()


@pytest.mark.parametrize(
    "layers", [("detail.act", "stem.act"), ("widen.act",), ("widen.act", "detail.act", "stem.act")]
)
def test_layers_go_by_name_whatever_their_position(generator, latents, rare, layers):
    """The published code pairs index lists with layers by position, and so counts the wrong neurons."""
    some = RareActivation(RATE, layers=layers).fit(generator, latents)
    assert set(some.rates_) == set(layers)
    counts = some.counts(generator, generator.latents(6, 3))
    for layer in layers:
        assert torch.equal(some.rates_[layer], rare.rates_[layer])
        np.testing.assert_array_equal(counts[layer], rare.counts(generator, generator.latents(6, 3))[layer])
    assert list(rare.masks(layers=layers)) == list(layers)
    for layer, mask in rare.masks(layers=layers).items():
        assert torch.equal(mask, rare.masks()[layer])


def test_the_generators_own_layers_are_the_default():
    generator = toy_generator(layers=("widen.act",))
    assert list(RareActivation().fit(generator, generator.latents(10, 0)).rates_) == ["widen.act"]


def test_batches_change_no_count(latents, rare):
    one_by_one = toy_generator(batch_size=1)
    some = latents[:20]
    for layer, values in rare.counts(toy_generator(batch_size=7), some).items():
        np.testing.assert_array_equal(values, rare.counts(one_by_one, some)[layer])


@pytest.mark.parametrize("rate", [0, -0.1, 1.1, float("nan")])
def test_a_rate_that_is_no_share_is_refused(generator, latents, rare, rate):
    with pytest.raises(ValueError, match=r"give a share of samples in \(0, 1\]"):
        rare.masks(rate)
    with pytest.raises(ValueError, match=r"give a share of samples in \(0, 1\]"):
        RareActivation(rate).fit(generator, latents)


def test_a_layer_that_was_not_measured_is_refused_by_name(rare):
    with pytest.raises(ValueError, match=r"No rates were measured in \['paint'\].*stem.act"):
        rare.masks(layers=["stem.act", "paint"])


def test_bad_fits_are_refused(generator, latents):
    with pytest.raises(ValueError, match="at least 2 latents"):
        RareActivation().fit(generator, latents[:1])
    with pytest.raises(ValueError, match="layers is empty"):
        RareActivation(layers=()).fit(generator, latents)
    with pytest.raises(UnknownLayerError, match=r"stem\.act"):
        RareActivation(layers=("stem.akt",)).fit(generator, latents)
    with pytest.raises(NotFittedError):
        RareActivation().masks()


def test_heat_maps_are_shares_of_active_masked_channels(generator, rare):
    new = generator.latents(5, 21)
    masks = rare.masks()
    maps = ablated_share(generator, new, masks, (32, 32))
    assert maps.shape == (5, 32, 32)
    assert maps.min() >= 0
    assert maps.max() <= 1
    assert maps.max() > 0
    # One layer at its own resolution is the plain share over channels.
    side = 16
    at_own_size = ablated_share(generator, new, {"detail.act": masks["detail.act"]}, (side, side)).numpy()
    outputs = plain_outputs(generator, new)["detail.act"]
    expected = np.zeros((5, side, side))
    for channel in range(outputs.shape[1]):
        expected += (outputs[:, channel] > 0) & masks["detail.act"][channel].numpy()
    np.testing.assert_allclose(at_own_size, expected / outputs.shape[1], atol=1e-6)


def test_heat_maps_average_the_layers(generator, rare):
    new, masks = generator.latents(3, 22), rare.masks()
    each = [ablated_share(generator, new, {layer: mask}, (16, 16)) for layer, mask in masks.items()]
    torch.testing.assert_close(ablated_share(generator, new, masks, (16, 16)), sum(each) / len(each))


def test_heat_maps_are_zero_where_nothing_is_switched_off(generator, rare):
    nothing = {layer: torch.zeros_like(mask) for layer, mask in rare.masks().items()}
    assert (ablated_share(generator, generator.latents(3, 1), nothing, (8, 8)) == 0).all()
    never = {layer: rates == 0 for layer, rates in rare.rates_.items()}
    fitted_on = generator.latents(150, 1)
    assert (ablated_share(generator, fitted_on[:20], never, (8, 8)) == 0).all()


@pytest.fixture
def large(monkeypatch):
    monkeypatch.setattr("genmend.gans.generator._MANY_NEURONS", 500)  # the toy has 1440


def test_of_a_large_model_the_early_layers_are_measured_and_a_tenth_gives_the_counts(large):
    generator = toy_generator()
    latents = generator.latents(200, 3)
    seen = []
    fitted = RareActivation(0.3)
    counts = fitted.counts
    fitted.counts = lambda generator, latents, **kw: seen.append(len(latents)) or counts(generator, latents, **kw)
    fitted.fit(generator, latents)
    assert list(fitted.rates_) == list(LAYERS[:2])
    assert (fitted.n_samples_, seen) == (200, [20])
    whole = RareActivation(0.3, LAYERS).fit(generator, latents)
    for layer in LAYERS[:2]:
        assert torch.equal(fitted.rates_[layer], whole.rates_[layer])


def test_layers_that_are_named_are_measured_of_a_large_model_too(large):
    named = load_generator("gans_toys:toy_generator", layers=LAYERS)
    assert measured_layers(named) == LAYERS
    assert list(RareActivation(0.3).fit(named, named.latents(20, 0)).rates_) == list(LAYERS)
    assert measured_layers(load_generator("gans_toys:toy_generator")) == LAYERS[:2]


def test_of_a_small_model_all_layers_are_measured():
    assert measured_layers(toy_generator()) == LAYERS
