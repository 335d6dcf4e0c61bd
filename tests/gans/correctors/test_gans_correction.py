"""Rungs and their edits against forward passes written out by hand; contrast against a planted neuron."""

import copy

import numpy as np
import pytest
import torch
from gans_toys import EXTRACTOR, LAYERS, toy_extractor, toy_generator, written_out
from torch import nn

from genmend.activations import AblateNeurons, CapNeurons, edited
from genmend.gans import ArtifactDetector, Generator, RareActivation, corrected, fit_correction
from genmend.gans.correctors.contrast import Contrast
from genmend.gans.correctors.ladder import Rung, default_rungs, rung_edits
from genmend.gans.detection.soft_logistic import cross_validated_scores, fit_soft_logistic

RATE = 0.2
SAME_KERNELS = 1e-6  # the same float32 operations through other calls


@pytest.fixture(scope="module")
def generator():
    return toy_generator()


@pytest.fixture(scope="module")
def rare(generator):
    return RareActivation(RATE).fit(generator, generator.latents(150, 1))


@pytest.fixture(scope="module")
def detector(generator):
    return ArtifactDetector(EXTRACTOR, n_statistics=300, n_reference=250, seed=5).fit(generator)


def edited_images(generator, edits, latents):
    with edited(generator.module, *edits):
        return generator.generate(latents)


def ablated_by_hand(rare, layers, strength, sequential=True, unedited=None):
    """A `change` for `written_out`; without `sequential` what is active is looked up in the unedited run."""

    def change(layer, x):
        if layer not in layers:
            return x
        result = x.clone()
        active_in = x if sequential else unedited[layer]
        for place in np.ndindex(*x.shape[1:]):
            if 0 < rare.rates_[layer][place] <= RATE:
                value = x[(slice(None), *place)]
                active = active_in[(slice(None), *place)] > 0
                result[(slice(None), *place)] = torch.where(active, value * (1 - strength), value)
        return result

    return change


@pytest.mark.parametrize("strength", [1.0, 0.4])
@pytest.mark.parametrize("layers", [LAYERS, LAYERS[1:], (LAYERS[2],)])
def test_each_layer_sees_the_already_corrected_input(generator, rare, layers, strength):
    latents = generator.latents(8, 31) * 1.5
    images = edited_images(generator, rung_edits(Rung("rare", RATE, layers, strength), rare, None), latents)
    unedited, before = written_out(generator.module, latents)
    _, expected = written_out(generator.module, latents, ablated_by_hand(rare, layers, strength))
    torch.testing.assert_close(images, expected, rtol=0, atol=SAME_KERNELS)
    assert (images - before).abs().max() > 0.05
    if len(layers) > 1:  # and that differs from switching off what would have been active without the correction
        at_once = ablated_by_hand(rare, layers, strength, sequential=False, unedited=unedited)
        assert (written_out(generator.module, latents, at_once)[1] - images).abs().max() > 1e-3


def test_the_order_in_which_layers_are_listed_does_not_matter(generator, rare):
    latents = generator.latents(6, 32) * 1.5
    one, other = (
        edited_images(generator, rung_edits(Rung("rare", RATE, layers), rare, None), latents)
        for layers in (LAYERS, LAYERS[::-1])
    )
    assert torch.equal(one, other)


def test_never_active_neurons_are_not_edited(generator, rare):
    for edit in rung_edits(Rung("rare", 1.0, LAYERS), rare, None):
        assert isinstance(edit, AblateNeurons)
        assert edit.only_positive
        rates = rare.rates_[edit.layer]
        assert (rates == 0).any()
        assert torch.equal(edit.mask, rates > 0)


def test_strength_0_changes_no_bit(generator, rare):
    latents = generator.latents(6, 33)
    edits = rung_edits(Rung("rare", RATE, LAYERS, strength=0.0), rare, None)
    assert torch.equal(edited_images(generator, edits, latents), generator.generate(latents))


def test_a_larger_strength_changes_more(generator, rare):
    latents = generator.latents(20, 34) * 1.5
    before = generator.generate(latents)
    changes = []
    for strength in (0.0, 0.25, 0.5, 1.0):
        edits = rung_edits(Rung("rare", RATE, LAYERS, strength), rare, None)
        changes.append(float((edited_images(generator, edits, latents) - before).abs().mean()))
    assert changes == sorted(changes)
    assert changes[0] == 0 < changes[1] < changes[3]


@pytest.mark.parametrize("strength", [1.0, 0.3])
def test_a_contrast_rung_cuts_down_to_the_normal_mean(generator, rare, strength):
    latents = generator.latents(300, 35)
    scores = latents.norm(dim=1).numpy()
    contrast = Contrast.measure(generator, latents, scores, LAYERS[:2])
    rung = Rung("contrast", 0.1, LAYERS[:2], strength)
    edits = rung_edits(rung, rare, contrast)
    assert all(isinstance(edit, CapNeurons) for edit in edits)

    def change(layer, x):
        if layer not in rung.layers:
            return x
        ceiling, ratio = contrast.normal_mean[layer], contrast.log_ratio[layer].flatten()
        n_chosen = round(0.1 * len(ratio))
        chosen = torch.zeros(len(ratio), dtype=torch.bool)
        chosen[sorted(range(len(ratio)), key=lambda i: -ratio[i])[:n_chosen]] = True
        assert (ratio[chosen] > 0).all()  # so no more than these were to be left out
        capped = x - strength * (x - ceiling).clamp(min=0)
        return torch.where(chosen.view(ceiling.shape), capped, x)

    _, expected = written_out(generator.module, latents[:9], change)
    images = edited_images(generator, edits, latents[:9])
    torch.testing.assert_close(images, expected, rtol=0, atol=SAME_KERNELS)
    assert (images - generator.generate(latents[:9])).abs().max() > 0.01


PLANTED = (2, 1, 3)


@pytest.fixture(scope="module")
def planted():
    """One neuron is active exactly where the first coordinate of the latent exceeds 1.2."""

    class Planted(nn.Module):
        def __init__(self):
            super().__init__()
            self.grow = nn.Sequential(nn.Linear(16, 5 * 4 * 4), nn.Unflatten(1, (5, 4, 4)))
            self.fire = nn.ReLU(inplace=True)
            self.paint = nn.Conv2d(5, 3, 1)

        def forward(self, latents):
            return self.paint(self.fire(self.grow(latents))).tanh()

    net = Planted().requires_grad_(False).eval()
    draw = torch.Generator().manual_seed(0)
    linear, row = net.grow[0], int(np.ravel_multi_index(PLANTED, (5, 4, 4)))
    linear.weight.copy_(torch.randn(linear.weight.shape, generator=draw))
    linear.bias.copy_(torch.randn(linear.bias.shape, generator=draw))
    linear.weight[:, 0] = 0  # nothing else hears the first coordinate
    linear.weight[row] = 0
    linear.weight[row, 0] = 1
    linear.bias[row] = -1.2
    return Generator(net, (16,))


def test_a_neuron_that_fires_in_broken_samples_alone_has_the_top_log_ratio(planted):
    latents = planted.latents(1000, 3)
    scores = latents[:, 0].double().numpy()  # broken: the first coordinate is large
    contrast = Contrast.measure(planted, latents, scores, ("fire",), broken_share=0.05, normal_share=0.5)
    ratio = contrast.log_ratio["fire"]
    assert (contrast.n_broken, contrast.n_normal) == (50, 500)
    assert np.unravel_index(int(ratio.argmax()), ratio.shape) == PLANTED
    # On in all of the broken, off in all of the normal ones.
    assert float(ratio[PLANTED]) == pytest.approx(np.log(1.01 / 0.01), rel=1e-6)
    assert ratio.flatten().sort(descending=True).values[1] < 2
    assert float(contrast.normal_mean["fire"][PLANTED]) == 0
    top = contrast.mask("fire", 1 / ratio.numel())
    assert top.nonzero().tolist() == [list(PLANTED)]


def test_contrast_equals_rates_and_means_of_the_two_groups(generator):
    latents = generator.latents(200, 36)
    scores = np.random.default_rng(0).permutation(200).astype(float)
    contrast = Contrast.measure(generator, latents, scores, ("widen.act",), broken_share=0.1, normal_share=0.5)
    outputs = written_out(generator.module, latents)[0]["widen.act"].double()
    broken, normal = outputs[torch.from_numpy(scores >= 180)], outputs[torch.from_numpy(scores <= 99)]
    assert (contrast.n_broken, contrast.n_normal) == (len(broken), len(normal)) == (20, 100)
    expected = torch.log(((broken > 0).double().mean(0) + 0.01) / ((normal > 0).double().mean(0) + 0.01))
    torch.testing.assert_close(contrast.log_ratio["widen.act"].double(), expected, rtol=0, atol=1e-6)
    torch.testing.assert_close(contrast.normal_mean["widen.act"].double(), normal.mean(0), rtol=0, atol=1e-5)


def test_the_contrast_mask_never_has_marks_of_normal_samples(planted):
    latents = planted.latents(400, 4)
    contrast = Contrast.measure(planted, latents, latents[:, 0].numpy(), ("fire",))
    everything = contrast.mask("fire", 1.0)
    assert torch.equal(everything, contrast.log_ratio["fire"] > 0)
    assert not everything.all()


def test_contrast_of_too_few_samples_is_refused(generator):
    with pytest.raises(ValueError, match=r"1 samples give .*at least a few hundred"):
        Contrast.measure(generator, generator.latents(1, 0), np.zeros(1), LAYERS)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("rarest", 0.1, LAYERS), "give 'rare' or 'contrast'"),
        (("rare", 0.0, LAYERS), r"share in \(0, 1\]"),
        (("contrast", 1.5, LAYERS), r"share in \(0, 1\]"),
        (("rare", float("nan"), LAYERS), r"share in \(0, 1\]"),
        (("rare", 0.1, ()), "layers is empty"),
    ],
)
def test_impossible_rungs_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Rung(*arguments)


def test_a_rung_asks_for_what_was_not_measured(rare):
    with pytest.raises(ValueError, match="pass a Contrast"):
        rung_edits(Rung("contrast", 0.1, LAYERS), rare, None)
    with pytest.raises(ValueError, match=r"No rates were measured in \['paint'\]"):
        rung_edits(Rung("rare", 0.1, ("paint",)), rare, None)


def test_default_rungs_climb_over_the_first_half_of_the_layers():
    rungs = default_rungs(("a", "b", "c", "d"))
    assert {rung.layers for rung in rungs} == {("a", "b")}
    amounts = [rung.amount for rung in rungs]
    assert amounts == sorted(set(amounts))
    assert {rung.layers for rung in default_rungs(("a",), "rare")} == {("a",)}
    assert {rung.select for rung in default_rungs(("a",), "rare")} == {"rare"}


def test_fit_correction_puts_gate_and_stop_rule_where_the_quantiles_say(generator, detector):
    rungs = (Rung("rare", 0.1, LAYERS[:2]), Rung("rare", 0.3, LAYERS[:2]))
    correction = fit_correction(
        generator, detector, rungs=rungs, gate_quantile=0.9, stop_quantile=0.4, manifold_quantile=0.8
    )
    score, unseen = detector.learned_, detector.own_scores_[detector.own_normal_]
    gate, stop = correction.gate, correction.stop_rule
    assert gate.extractor == EXTRACTOR
    np.testing.assert_array_equal(gate.weights.numpy(), score.weights)
    assert np.mean(unseen > gate.threshold) == pytest.approx(0.1, abs=1 / len(unseen))
    assert np.mean(unseen <= stop.enough_gate_score) == pytest.approx(0.4, abs=1 / len(unseen))
    # The stop rule's manifold: of the own normal samples, its limit a quantile of theirs, each against the others.
    reference = stop.features.double().numpy()
    radii = stop.radii.double().numpy()
    np.testing.assert_allclose(reference, detector.own_features_[detector.own_normal_], rtol=1e-3, atol=1e-6)
    distance = np.array([np.linalg.norm(reference - row, axis=1) for row in reference])
    np.fill_diagonal(distance, np.inf)
    np.testing.assert_allclose(radii, np.sort(distance, axis=1)[:, detector.k - 1], rtol=1e-5)
    own = (distance / radii).min(axis=1)
    assert np.mean(own <= stop.normal_manifold_score + 1e-9) == pytest.approx(0.8, abs=1 / len(own))
    assert [edit.mask.sum().item() for edit in correction.ladder[0]] == [
        detector.rare_.masks(0.1)[layer].sum().item() for layer in LAYERS[:2]
    ]
    assert len(correction.ladder) == 2
    assert correction.info["gate_trained_on"] == "own samples that the detector suspects"


def test_by_default_the_gate_flags_what_the_detector_flags(generator, detector):
    """One story: the same score, the same threshold, so detect and correct name the same samples."""
    correction = fit_correction(generator, detector, rungs=default_rungs(LAYERS, "rare")[:1])
    latents = generator.latents(120, 77)
    found = detector.score(generator, latents)
    done = corrected(generator, correction)(latents)
    np.testing.assert_allclose(done.gate_before, found.combined, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(done.gate_before > correction.gate.threshold, found.flagged)


def test_a_detector_from_before_trains_a_gate_on_what_it_flags(generator, detector):
    """Files of older versions have no learned score: their correction is made as it was."""
    older = copy.copy(detector)
    older.learned_ = older.own_scores_ = older.tail_ = None
    older.flagged_share = 0.05
    older.threshold_ = np.quantile(older.score_measured(older.own_features_, older.own_counts_).combined, 0.95)
    correction = fit_correction(generator, older, rungs=default_rungs(LAYERS, "rare")[:1])
    shares = older.own_flagged_.astype(float)
    score = fit_soft_logistic(detector.own_features_, shares)
    unseen = cross_validated_scores(detector.own_features_, shares, regularisation=score.regularisation)[shares == 0]
    np.testing.assert_array_equal(correction.gate.weights.numpy(), score.weights)
    assert correction.gate.threshold == pytest.approx(np.quantile(unseen, 0.98))


def test_fit_correction_trains_the_gate_on_labels_where_there_are_some(generator, detector):
    labelled = (detector.own_features_, (detector.own_features_[:, 0] > np.median(detector.own_features_[:, 0])) * 1.0)
    correction = fit_correction(generator, detector, rungs=default_rungs(LAYERS)[:1], labelled=labelled)
    scores = correction.gate.score(detector.own_features_.astype(np.float64))
    assert np.corrcoef(scores, detector.own_features_[:, 0])[0, 1] > 0.8
    assert correction.info["gate_trained_on"] == "labels"


def test_a_correction_of_a_nameless_extractor_says_so(generator):
    detector = ArtifactDetector(toy_extractor(), n_statistics=200, n_reference=150).fit(generator)
    correction = fit_correction(generator, detector, rungs=(Rung("rare", 0.1, LAYERS),))
    assert correction.gate.extractor == "own callable"
