"""Corrections applied with judgement: gate, least sufficient rung, giving up, and a model that is as before."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from gans_toys import EXTRACTOR, LAYERS, snapshot, stop_rule, toy_correction, toy_features, toy_generator, toy_net

from genmend.activations import AblateNeurons, Correction, Gate, attach, edited, load_correction, save_correction
from genmend.activations.correction import CorrectionMismatchError
from genmend.gans import ArtifactDetector, corrected, fit_correction
from genmend.gans.correctors.gated import UNTOUCHED, GatedGenerator
from genmend.gans.correctors.ladder import Rung
from genmend.manifold import Manifold
from genmend.manifold.features import load_extractor

SINGLE_TOLERANCE = 1e-5  # batch size on the CPU
SHARES = (0.1, 0.3, 0.6, 1.0)


@pytest.fixture
def generator():
    load_extractor(EXTRACTOR)  # the user's word that this code may run
    return toy_generator()


@pytest.fixture
def correction(generator):
    # A limit of the manifold that some far-out samples miss on every rung, so that all outcomes occur.
    made = toy_correction(generator, SHARES)
    return toy_correction(generator, SHARES, limits=(made.gate.threshold, made.gate.threshold - 0.02, 1.0))


@pytest.fixture
def latents(generator):
    drawn = generator.latents(60, 9)
    drawn[30:] *= 1.7
    return drawn


def scores(correction, images):
    """Gate and manifold scores by hand; the manifold's by the definition, distance / radius over all balls."""
    features = toy_features(images).double().numpy()
    gate = features @ correction.gate.weights.double().numpy() + correction.gate.bias
    reference, radii = (getattr(correction.stop_rule, name).double().numpy() for name in ("features", "radii"))
    return gate, np.array([(np.linalg.norm(reference - row, axis=1) / radii).min() for row in features])


def tried(generator, correction, latents):
    """Images of every rung, one after the other."""
    images = []
    for edits in correction.ladder:
        with edited(generator.module, *edits):
            images.append(generator.generate(latents))
    return images


def expected_rungs(generator, correction, latents, gated=True):
    """The first rung whose image satisfies both limits, of every sample, by trying all; None: gave up."""
    limits = correction.stop_rule
    enough = []
    for images in tried(generator, correction, latents):
        gate, outlying = scores(correction, images)
        enough.append((gate <= limits.normal_gate_score) & (outlying <= limits.normal_manifold_score))
    before, _ = scores(correction, generator.generate(latents))
    rungs = []
    for i in range(len(latents)):
        if gated and before[i] <= correction.gate.threshold:
            rungs.append(UNTOUCHED)
        else:
            rungs.append(next((r for r, fits in enumerate(enough) if fits[i]), None))
    return rungs


@pytest.mark.parametrize("gated", [True, False])
def test_the_least_sufficient_rung_is_chosen(generator, correction, latents, gated):
    result = corrected(generator, correction, gate=gated)(latents)
    expected = expected_rungs(generator, correction, latents, gated)
    # The data show every outcome, or this test shows nothing.
    assert {None, 0, 1} <= set(expected)
    assert (UNTOUCHED in expected) is gated
    assert [None if gave_up else rung for rung, gave_up in zip(result.rung, result.given_up, strict=True)] == expected
    images = tried(generator, correction, latents)
    original = generator.generate(latents)
    for i, rung in enumerate(expected):
        source = original if rung in (None, UNTOUCHED) else images[rung]
        torch.testing.assert_close(result.images[i], source[i], rtol=0, atol=SINGLE_TOLERANCE)


def test_where_no_rung_is_enough_the_most_normal_one_inside_is_taken(generator, correction, latents):
    limits = correction.stop_rule
    never = replace(limits, enough_gate_score=-1e9)
    result = corrected(generator, replace(correction, stop_rule=never), gate=False)(latents)
    gates, manifolds = zip(
        *(scores(correction, images) for images in tried(generator, correction, latents)), strict=True
    )
    fits = (np.array(gates) <= limits.normal_gate_score) & (np.array(manifolds) <= limits.normal_manifold_score)
    expected = np.where(fits.any(0), np.where(fits, gates, np.inf).argmin(0), UNTOUCHED)
    np.testing.assert_array_equal(result.rung, expected)
    np.testing.assert_array_equal(result.given_up, ~fits.any(0))
    assert len(set(expected)) > 2  # several rungs, and some given up


def test_a_later_rung_that_is_less_normal_does_not_replace_a_better_one(generator, correction, latents):
    never = replace(correction.stop_rule, enough_gate_score=-1e9)
    forwards = replace(correction, stop_rule=never)
    backwards = replace(forwards, ladder=forwards.ladder[::-1])
    found, again = (corrected(generator, one, gate=False)(latents) for one in (forwards, backwards))
    taken = found.rung != UNTOUCHED
    assert len(set(found.rung[taken])) > 1
    np.testing.assert_array_equal(again.rung[taken], len(SHARES) - 1 - found.rung[taken])


def test_a_file_cannot_choose_what_code_is_run(generator, correction):
    foreign = replace(correction, gate=replace(correction.gate, extractor="os:getpid"))
    with pytest.raises(ValueError, match=r"if you trust it, call load_extractor\('os:getpid'\)"):
        corrected(generator, foreign)


def test_a_shut_gate_leaves_every_bit(generator, correction, latents):
    result = corrected(generator, correction)(latents)
    original = generator.generate(latents)
    shut = result.gate_before <= correction.gate.threshold
    assert 0 < shut.sum() < len(latents)
    assert (result.rung[shut] == UNTOUCHED).all()
    assert not result.given_up[shut].any()
    assert torch.equal(result.images[shut], original[shut])
    assert (result.images[result.changed] != original[result.changed]).flatten(1).any(1).all()


def test_a_gate_that_never_opens_changes_nothing(generator, correction, latents):
    shut = replace(correction, gate=replace(correction.gate, threshold=1e9))
    result = corrected(generator, shut)(latents)
    assert torch.equal(result.images, generator.generate(latents))
    assert not result.changed.any()
    np.testing.assert_array_equal(result.gate_after, result.gate_before)


def test_giving_up_returns_the_original_and_says_so(generator, latents):
    impossible = toy_correction(generator, SHARES, limits=(-1e9, -1e9, 1.0))
    result = corrected(generator, impossible)(latents)
    assert result.given_up.all()
    assert (result.rung == UNTOUCHED).all()
    assert torch.equal(result.images, generator.generate(latents))
    np.testing.assert_array_equal(result.manifold_after, result.manifold_before)
    assert result.to_dict()["n_given_up"] == len(latents)
    assert result.to_dict()["n_by_rung"] == {}


def test_without_the_gate_every_sample_gets_at_least_the_first_rung(generator, latents):
    easy = toy_correction(generator, SHARES, limits=(1e9, 1e9, 1e9))  # nothing is gated, anything is enough
    assert not corrected(generator, easy)(latents).changed.any()
    result = corrected(generator, easy, gate=False)(latents)
    assert (result.rung == 0).all()
    assert torch.equal(result.images, tried(generator, easy, latents)[0])


def test_either_limit_alone_holds_a_sample_back(generator, latents):
    """Both conditions of the stop rule have to hold."""
    for limits in ((-1e9, -1e9, 1e9), (-1e9, 1e9, -1.0)):
        assert corrected(generator, toy_correction(generator, SHARES, limits=limits))(latents).given_up.all()


def test_scores_are_those_of_the_images_that_are_returned(generator, correction, latents):
    result = corrected(generator, correction)(latents)
    for images, gate, outlying in (
        (generator.generate(latents), result.gate_before, result.manifold_before),
        (result.images, result.gate_after, result.manifold_after),
    ):
        expected_gate, expected_outlying = scores(correction, images)
        np.testing.assert_allclose(gate, expected_gate, atol=1e-5)
        np.testing.assert_allclose(outlying, expected_outlying, rtol=1e-4)
    limits = correction.stop_rule
    assert (result.gate_after[result.changed] <= limits.normal_gate_score).all()
    assert (result.manifold_after[result.changed] <= limits.normal_manifold_score).all()


def test_totals_add_up(generator, correction, latents):
    totals = corrected(generator, correction)(latents).to_dict()
    result = corrected(generator, correction)(latents)
    assert totals["n"] == 60
    assert sum(totals["n_by_rung"].values()) == totals["n_changed"] == (result.rung >= 0).sum()
    assert totals["n_by_rung"] == {int(r): int((result.rung == r).sum()) for r in set(result.rung) - {UNTOUCHED}}
    assert totals["gate_score_median_after"] < totals["gate_score_median_before"]


def test_a_mixture_of_rungs_equals_single_calls(generator, correction, latents):
    mend = corrected(generator, correction)
    whole = mend(latents)
    assert len(set(whole.rung)) >= 3
    for i in range(25, 40):
        alone = mend(latents[i : i + 1])
        assert (alone.rung[0], alone.given_up[0]) == (whole.rung[i], whole.given_up[i])
        torch.testing.assert_close(alone.images[0], whole.images[i], rtol=0, atol=SINGLE_TOLERANCE)


def test_the_model_is_as_before_after_a_call(generator, correction, latents):
    before = snapshot(generator.module)
    assert corrected(generator, correction)(latents).changed.any()
    assert snapshot(generator.module) == before


@pytest.mark.parametrize("fails_at", [1, 3])
def test_the_model_is_as_before_after_an_error_in_the_extractor(generator, correction, latents, fails_at):
    calls = []

    def failing(images):
        calls.append(len(images))
        if len(calls) > 4 * (fails_at - 1):  # four batches a pass
            raise ArithmeticError("the extractor broke")
        return toy_features(images)

    before = snapshot(generator.module)
    with pytest.raises(ArithmeticError, match="the extractor broke"):
        corrected(generator, correction, gate=False, extractor=failing)(latents)
    assert len(calls) == 4 * (fails_at - 1) + 1
    assert snapshot(generator.module) == before


def test_the_model_is_as_before_after_an_error_in_the_model(generator, correction, latents):
    mend = corrected(generator, correction, gate=False)
    calls = []

    def broken_call(module, batch):
        calls.append(1)
        if len(calls) > 3:
            raise ArithmeticError("the model broke")
        return module(batch)

    mend.generator = replace(generator, call=broken_call)
    before = snapshot(generator.module)
    with pytest.raises(ArithmeticError, match="the model broke"):
        mend(latents)
    assert len(calls) == 4  # two batches unedited, one edited, and the next breaks
    assert snapshot(generator.module) == before


def test_a_reloaded_correction_gives_the_same_bits(generator, correction, latents, tmp_path):
    save_correction(tmp_path / "toy.correction.safetensors", correction)
    loaded = load_correction(tmp_path / "toy.correction.safetensors")
    assert loaded == correction
    fresh = generator.with_module(toy_net())
    before, after = corrected(generator, correction)(latents), corrected(fresh, loaded)(latents)
    assert before.changed.any()
    for name, values in vars(before).items():
        assert np.array_equal(np.asarray(getattr(after, name)), np.asarray(values)), name


def test_an_attached_rung_gives_the_same_bits_after_reload(generator, correction, latents, tmp_path):
    save_correction(tmp_path / "c", correction)
    fresh = toy_net()
    for rung, images in enumerate(tried(generator, correction, latents)):
        with attach(fresh, load_correction(tmp_path / "c"), rung=rung):
            assert torch.equal(generator.with_module(fresh).generate(latents), images)


def test_a_correction_for_other_weights_is_refused(generator, correction, latents):
    other = toy_generator(seed=1)
    with pytest.raises(CorrectionMismatchError, match="other weights"):
        corrected(other, correction)
    assert len(corrected(other, correction, allow_other_weights=True)(latents[:3]).rung) == 3


def test_a_correction_for_another_layout_is_refused_in_any_case(generator, correction):
    other = generator.with_module(toy_net(channels=1))
    for allow in (False, True):
        with pytest.raises(CorrectionMismatchError, match=r"paint\.weight"):
            corrected(other, correction, allow_other_weights=allow)


def test_a_correction_that_cannot_choose_is_refused(generator, correction):
    for lacking in (replace(correction, gate=None), replace(correction, stop_rule=None)):
        with pytest.raises(ValueError, match=r"no gate or no stop rule.*attach\(model, correction, rung=r\)"):
            corrected(generator, lacking)


def test_bad_latents_are_refused_before_anything_runs(generator, correction, latents):
    latents[4, 2] = torch.nan
    with pytest.raises(ValueError, match="Latent 4"):
        corrected(generator, correction)(latents)


def test_an_own_extractor_takes_the_place_of_the_named_one(generator, correction, latents):
    nameless = replace(correction, gate=replace(correction.gate, extractor="own callable"))
    with pytest.raises(ValueError, match="asks for the extractor 'own callable'"):
        corrected(generator, nameless)
    by_hand = corrected(generator, nameless, extractor=toy_features)(latents)
    assert torch.equal(by_hand.images, corrected(generator, correction)(latents).images)


def test_an_extractor_of_another_width_is_refused(generator, correction, latents):
    with pytest.raises(ValueError, match=EXTRACTOR):
        corrected(generator, correction, extractor=lambda images: images.mean((2, 3)))(latents)


def test_an_empty_rung_changes_nothing(generator, correction, latents):
    lenient = replace(correction, ladder=((), *correction.ladder))
    limits = dict.fromkeys(("enough_gate_score", "normal_gate_score", "normal_manifold_score"), 1000000000.0)
    easy = replace(lenient, stop_rule=replace(lenient.stop_rule, **limits))
    result = corrected(generator, easy, gate=False)(latents)
    assert (result.rung == 0).all()
    assert torch.equal(result.images, generator.generate(latents))


def test_the_caller_s_latents_are_not_changed(generator, correction, latents):
    copy = latents.clone()
    corrected(generator, correction)(latents)
    assert torch.equal(latents, copy)


def test_from_detector_to_mended_samples(generator, latents, tmp_path):
    """The whole line on a model that is not ours: what is mended lies nearer to normal than before."""
    detector = ArtifactDetector(EXTRACTOR, n_statistics=300, n_reference=250, flagged_share=0.05, seed=5).fit(generator)
    rungs = tuple(Rung("rare", amount, LAYERS[:2]) for amount in (0.05, 0.1, 0.2, 0.4))
    correction = fit_correction(generator, detector, rungs=rungs)
    save_correction(tmp_path / "c", correction)
    mend = corrected(generator, load_correction(tmp_path / "c"))
    assert isinstance(mend, GatedGenerator)
    result = mend(generator.latents(150, 9) * torch.linspace(1, 1.8, 150)[:, None])
    assert 5 < result.changed.sum() < 100
    assert np.median(result.manifold_after[result.changed]) < np.median(result.manifold_before[result.changed])
    assert (result.gate_after <= result.gate_before + 1e-9).all()


def test_gate_and_manifold_are_those_of_the_correction(generator, latents):
    """A correction made without this package's fit: the documented parts are enough."""
    features = toy_features(generator.sample(50, 3)).numpy()
    manifold = Manifold(2).fit(features)
    correction = Correction.of(
        generator.module,
        [[AblateNeurons("widen.act", torch.ones(5, 8, 8, dtype=torch.bool))]],
        gate=Gate(EXTRACTOR, torch.zeros(48), 1.0, 0.5),  # always open
        stop_rule=stop_rule(manifold, 1.0, 1e6),
    )
    result = corrected(generator, correction)(latents)
    assert (result.gate_before == 1).all()
    np.testing.assert_allclose(
        result.manifold_before, manifold.score_samples(toy_features(generator.generate(latents)).numpy())
    )
    assert (result.rung == 0).all()


def test_other_settings_of_the_generator_are_warned_of(generator, correction, latents):
    made = replace(correction, generator_settings={"psi": 0.7, "space": "w"})
    at = replace(generator, settings={"psi": 0.7, "space": "w"})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        corrected(at, made)
        corrected(generator, correction)  # a file from before this was kept
    with pytest.warns(UserWarning, match=r"made at psi=0\.7, but the generator runs at psi=1\.0"):
        corrected(replace(generator, settings={"psi": 1.0, "space": "w"}), made)


def test_a_ladder_leaves_the_latents_as_they_were(generator, correction, latents):
    result = corrected(generator, correction)(latents)
    assert torch.equal(result.latents, latents)
