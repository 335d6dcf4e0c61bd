"""Contrast descent against gradients by differences, a planted mark, and what a file alone does."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from gans_toys import LAYERS, toy_correction, toy_features, toy_generator, written_out

from genmend.activations import LatentDescent, load_correction, save_correction
from genmend.gans import corrected
from genmend.gans.correctors.contrast import Contrast
from genmend.gans.correctors.contrast_descent import contrast_levels, descend, fit_descent

EARLY = LAYERS[:2]


@pytest.fixture(scope="module")
def generator():
    return toy_generator()


@pytest.fixture(scope="module")
def contrast(generator):
    """Far-out samples are the broken ones."""
    latents = generator.latents(300, 3)
    return Contrast.measure(generator, latents, latents.norm(dim=1).numpy(), EARLY)


@pytest.fixture(scope="module")
def descent(generator, contrast):
    return fit_descent(generator, contrast, generator.latents(200, 4), EARLY, quantiles=(0.3, 0.1))


def levels_of(generator, descent, latents):
    outputs, _ = written_out(generator.module, latents)
    weights = dict(zip(descent.layers, descent.weights, strict=True))
    return contrast_levels(outputs, {layer: weight.float() for layer, weight in weights.items()}).detach()


def test_a_level_is_the_mean_of_weight_times_positive_part(generator, descent):
    latents = generator.latents(4, 5)
    outputs, _ = written_out(generator.module, latents)
    for column, (layer, weight) in enumerate(zip(descent.layers, descent.weights, strict=True)):
        weight = weight.float()
        by_hand = [
            sum(float(w) * max(float(x), 0) for w, x in zip(weight.flatten(), maps.flatten(), strict=True))
            / int((weight > 0).sum())
            for maps in outputs[layer].detach()
        ]
        np.testing.assert_allclose(levels_of(generator, descent, latents)[:, column], by_hand, rtol=1e-5)


def test_targets_are_levels_that_this_share_of_normal_samples_is_below(generator, descent):
    levels = levels_of(generator, descent, generator.latents(200, 4)).double().numpy()
    for quantile, target in zip((0.3, 0.1), descent.targets, strict=True):
        np.testing.assert_allclose(target, np.quantile(levels, quantile, axis=0), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(descent.scales, levels.std(axis=0), rtol=1e-4)


@pytest.mark.parametrize("number", [0, 1])
def test_latents_come_down_and_keep_their_norm(generator, descent, number):
    latents = generator.latents(40, 6) * 1.2
    moved = descend(generator, descent, latents, number)
    target, scale = torch.tensor(descent.targets[number]), torch.tensor(descent.scales)
    before, after = (
        ((levels_of(generator, descent, z) - target) / scale).clamp(min=0).sum(1) for z in (latents, moved)
    )
    there = before == 0
    assert torch.equal(moved[there], latents[there])  # bit for bit
    assert float(after[~there].mean()) < 0.5 * float(before[~there].mean())
    torch.testing.assert_close(moved.norm(dim=1), latents.norm(dim=1))
    assert torch.equal(descend(generator, descent, latents[:3], number), moved[:3])  # each for itself


def test_a_step_goes_down_the_steepest_way_on_the_sphere(generator, descent):
    """Against differences of the level in the directions of the sphere's tangent plane."""
    latent = generator.latents(20, 7) * 1.2
    target, scale = torch.tensor(descent.targets[0]), torch.tensor(descent.scales)

    def excess(z):
        return ((levels_of(generator, descent, z).double() - target) / scale).clamp(min=0).sum(1)

    latent = latent[int(excess(latent).argmax())][None]
    once = replace(descent, n_steps=1, step=0.02)
    moved = descend(generator, once, latent, 0)
    step = 1e-2
    basis = torch.eye(latent.shape[1])
    slope = (excess(latent + step * basis) - excess(latent - step * basis)) / (2 * step)
    place = (latent / latent.norm())[0]
    slope = slope.float() - (slope.float() @ place) * place
    assert float(torch.cosine_similarity(moved[0] - latent[0], -slope, dim=0)) > 0.97
    angle = torch.arccos(torch.cosine_similarity(moved.double(), latent.double()))
    assert float(angle) == pytest.approx(0.02, rel=1e-3)


def test_latents_that_are_not_normal_are_moved_straight_and_keep_what_has_no_gradient(generator, descent):
    """As the number that chooses a class, at the end of a conditional model's latent."""
    wide = replace(
        generator,
        latent_shape=(generator.latent_shape[0] + 1,),
        call=lambda module, z: module(z[:, :-1]),
        draw=lambda module, normal: normal,
    )
    latents = torch.cat([generator.latents(30, 8) * 1.2, torch.full((30, 1), 7.0)], dim=1)
    moved = descend(wide, replace(descent, radius=5.0, n_steps=1), latents, 0)
    assert (moved[:, -1] == 7).all()
    lengths = (moved - latents).norm(dim=1)
    assert (lengths > 0).any()
    torch.testing.assert_close(lengths[lengths > 0], torch.full_like(lengths[lengths > 0], descent.step * 5))


def test_a_generator_that_gives_no_gradient_has_no_descent(generator, contrast):
    def call(module, latents):
        with torch.no_grad():
            return module(latents)

    assert fit_descent(replace(generator, call=call), contrast, generator.latents(50, 4), EARLY) is None


def test_nothing_that_marks_broken_samples_is_no_descent(generator, contrast):
    nothing = replace(contrast, log_ratio={layer: -ratio.abs() for layer, ratio in contrast.log_ratio.items()})
    assert fit_descent(generator, nothing, generator.latents(50, 4), EARLY) is None


def test_the_descent_is_tried_first_and_the_ladder_for_what_it_does_not_mend(generator, descent, tmp_path):
    plain = toy_correction(generator)
    made = replace(plain, descent=descent)
    latents = generator.latents(120, 9) * 1.2
    mend = corrected(generator, made, extractor=toy_features)
    done = mend(latents)
    n_rungs = len(made.ladder)
    moved = done.rung >= n_rungs
    assert moved.any()
    assert torch.equal(done.latents[~moved], latents[~moved])
    torch.testing.assert_close(done.images[moved], generator.generate(done.latents[moved]))
    torch.testing.assert_close(mend.generate_again(done.latents, done.rung), done.images)
    alone = corrected(generator, plain, extractor=toy_features)(latents)
    edited = (done.rung >= 0) & ~moved
    np.testing.assert_array_equal(done.rung[edited], alone.rung[edited])
    assert not (done.given_up & ~alone.given_up).any()
    untouched = torch.from_numpy(~done.changed)
    assert torch.equal(done.images[untouched], done.before[untouched])
    file = tmp_path / "moved.safetensors"
    save_correction(file, made)
    again = corrected(generator, load_correction(file), extractor=toy_features)(latents)
    np.testing.assert_array_equal(again.rung, done.rung)
    assert torch.equal(again.images, done.images)


def test_every_target_refused_leaves_it_to_the_ladder(generator, descent):
    """A target of far too little changes next to nothing, so that only rungs help."""
    lazy = replace(descent, step=1e-6, n_steps=1)
    made = replace(toy_correction(generator), descent=lazy)
    latents = generator.latents(120, 9) * 1.2
    done = corrected(generator, made, extractor=toy_features)(latents)
    alone = corrected(generator, replace(made, descent=None), extractor=toy_features)(latents)
    np.testing.assert_array_equal(done.rung, alone.rung)
    assert alone.changed.any()


def test_a_descent_survives_its_file_and_wrong_ones_are_refused(generator, descent, tmp_path):
    made = replace(toy_correction(generator), descent=descent)
    save_correction(tmp_path / "a.safetensors", made)
    loaded = load_correction(tmp_path / "a.safetensors")
    assert loaded == made
    assert loaded.descent == descent
    assert loaded.facts["descent"]["layers"] == list(EARLY)
    for wrong, words in (
        ({"layers": ()}, "name layers"),
        ({"scales": (1.0,)}, "as many"),
        ({"targets": ((1.0, 1.0), (2.0, 0.5))}, "rises"),
        ({"step": 0.0}, "above 0"),
        ({"radius": float("nan")}, "finite"),
        ({"n_steps": 0}, "whole number"),
        ({"weights": tuple(-weight for weight in descent.weights)}, "at least 0"),
    ):
        with pytest.raises(ValueError, match=words):
            replace(descent, **wrong)
    with pytest.raises(TypeError, match="LatentDescent"):
        replace(made, descent={"layers": []})
    assert isinstance(descent, LatentDescent)
