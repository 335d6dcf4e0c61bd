"""What holds for every corrector: model unchanged, same seed same result, no strength no change, batches alike."""

import pytest
import torch
from gans_toys import LAYERS, snapshot, toy_features, toy_generator, written_out
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from genmend.activations import Correction, load_correction, save_correction
from genmend.gans.correctors import (
    DefectiveUnits,
    LatentOptimisation,
    LocallyActiveUnits,
    RandomNeurons,
    RandomUnits,
    RareNeurons,
    Truncation,
)
from genmend.gans.families.pretrained import load_faces

OWN = {"n_samples": 100, "seed": 3}
DEFECTIVE = {
    "sequential": DefectiveUnits(share=0.5),
    "rescored": DefectiveUnits(share=0.5, rescore=True, layers=LAYERS),
    "global": DefectiveUnits("global", n_units=2),
    "pull": DefectiveUnits("pull", share=0.5, per="neuron"),
    "cap": DefectiveUnits("cap", share=0.5, quantile=0.6, unit_mask="quantile", unit_threshold=0.9),
    "contrast": DefectiveUnits(share=0.5, contrast=True),
}
LOCAL = {
    f"{estimator} {action}": LocallyActiveUnits(estimator, n_units=2, action=action, n_neighbours=8, **OWN)
    for estimator in ("contrast", "support", "differential")
    for action in ("neighbourhood", "scale", "zero")
}
RARE = {"rare": RareNeurons(0.4, **OWN), "rare, normal": RareNeurons(0.4, n_samples=None)}
CONTROLS = {f"random for {name}": RandomUnits(corrector) for name, corrector in {**DEFECTIVE, **LOCAL}.items()}
CONTROLS["random for rare"] = RandomNeurons(RARE["rare"])
MOVING = {
    "truncation": Truncation(0.5),
    "truncation of an inner layer": Truncation(0.5, layer="stem", n_samples=100),
    "optimisation": LatentOptimisation(toy_features, n_steps=3),
}
STRONG = {**DEFECTIVE, **LOCAL, **RARE}
ALL = {**STRONG, **CONTROLS, **MOVING}


@pytest.fixture(scope="module")
def samples():
    generator = toy_generator(batch_size=7)
    masks = torch.rand(20, 32, 32, generator=torch.Generator().manual_seed(0))
    return generator, generator.latents(40, 1), generator.latents(20, 2), masks


def fitted(corrector, samples):
    generator, normal, broken, masks = samples
    return clone(corrector).fit(generator, normal, broken, masks=masks)


@pytest.mark.parametrize("name", ALL)
def test_every_corrector_keeps_the_contract(name, samples):
    generator, _, broken, _ = samples
    before = snapshot(generator.module)
    corrector = clone(ALL[name])
    with pytest.raises(NotFittedError):
        corrector.correct(generator, broken)
    found = fitted(corrector, samples)
    assert found.get_params(deep=False).keys() == corrector.get_params(deep=False).keys()
    images = found.correct(generator, broken)
    assert snapshot(generator.module) == before
    assert images.shape == (20, 3, 32, 32)
    assert images.min() >= 0
    assert images.max() <= 1
    assert not torch.equal(images, generator.generate(broken))
    assert torch.equal(images, fitted(corrector, samples).correct(generator, broken))
    # In the toy a sample's image does not depend on the batch, so neither may its correction.
    torch.testing.assert_close(found.correct(generator, broken[5:9]), images[5:9], atol=1e-5, rtol=0)
    torch.testing.assert_close(found.correct(generator, broken.flip(0)), images.flip(0), atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", STRONG)
def test_no_strength_changes_no_bit(name, samples):
    generator, _, broken, _ = samples
    corrector = fitted(clone(STRONG[name]).set_params(strength=0.0), samples)
    assert torch.equal(corrector.correct(generator, broken), generator.generate(broken))


@pytest.mark.parametrize("corrector", [Truncation(1.0), LatentOptimisation(toy_features, n_steps=0)])
def test_latents_that_need_not_move_stay(corrector, samples):
    generator, _, broken, _ = samples
    assert torch.equal(fitted(corrector, samples).correct(generator, broken), generator.generate(broken))


@pytest.mark.parametrize("name", [*DEFECTIVE, "rare"])
def test_static_edits_fit_into_a_correction_file(name, samples, tmp_path):
    generator, _, broken, _ = samples
    made = Correction.of(generator.module, [fitted(STRONG[name], samples).edits(broken)])
    save_correction(tmp_path / "c.safetensors", made)
    assert load_correction(tmp_path / "c.safetensors") == made


def test_rare_neurons_by_hand(samples):
    generator, normal, broken, _ = samples
    rates = {layer: (out > 0).double().mean(0) for layer, out in written_out(generator.module, normal)[0].items()}
    masks = {layer: (rates[layer] > 0) & (rates[layer] <= 0.4) for layer in LAYERS[:2]}

    def change(layer, x):
        return torch.where((x > 0) & masks[layer], 0.0, x) if layer in masks else x

    images = fitted(RARE["rare, normal"], samples).correct(generator, broken)
    torch.testing.assert_close(images, written_out(generator.module, broken, change)[1], atol=1e-6, rtol=0)


def test_truncation_by_hand(samples):
    generator, _, broken, _ = samples
    for psi in (0.5, 0.3):
        images = fitted(Truncation(psi), samples).correct(generator, broken)
        torch.testing.assert_close(images, generator.generate(broken * psi))


def test_optimisation_brings_features_nearer_to_normal_ones(samples):
    generator, normal, broken, _ = samples
    corrector = fitted(LatentOptimisation(toy_features, n_steps=20, prior_weight=0.0), samples)
    features = [toy_features(generator.generate(latents)) for latents in (normal, broken, corrector.move(broken))]
    before, after = (torch.cdist(found, features[0]).topk(3, largest=False).values.mean(1) for found in features[1:])
    assert (after < before).all()
    heavy = fitted(LatentOptimisation(toy_features, n_steps=20, prior_weight=10.0), samples).move(broken)
    assert (heavy.norm(dim=1) < corrector.move(broken).norm(dim=1)).all()


@pytest.mark.parametrize("name", [name for name in CONTROLS if "neighbourhood" not in name and "rare" not in name])
def test_random_units_are_as_many_as_strong_and_others(name, samples):
    generator, _, broken, _ = samples
    control = fitted(CONTROLS[name], samples)
    there, here = control.corrector_.edits(broken), control.edits(broken)
    shapes = {layer: out.shape[1:] for layer, out in written_out(generator.module, broken)[0].items()}
    for edit, other in zip(there, here, strict=True):
        assert (type(edit), edit.layer, edit.strength) == (type(other), other.layer, other.strength)
        one, two = (affected(each, shapes[edit.layer]) for each in (edit, other))
        assert one.sum() == two.sum()
        if one.dim() == 1 and 2 * one.sum() <= len(one):
            assert not (one & two).any()


def affected(edit, shape):
    if hasattr(edit, "scale") and not isinstance(edit.scale, float) and edit.scale.dim() == 2:
        return edit.scale != 1
    chosen = torch.zeros(shape[0], dtype=torch.bool)
    if hasattr(edit, "ceiling"):
        return edit.mask.flatten(1).any(1)
    chosen[list(edit.units)] = True
    return chosen


def test_random_neurons_are_as_many(samples):
    control = fitted(CONTROLS["random for rare"], samples)
    for edit, other in zip(control.corrector_.edits_, control.edits(samples[2]), strict=True):
        assert edit.mask.sum() == other.mask.sum()
        assert not torch.equal(edit.mask, other.mask)


def test_a_control_of_another_kind_is_refused(samples):
    broken = samples[2]
    with pytest.raises(TypeError, match="RandomNeurons"):
        fitted(RandomUnits(RARE["rare"]), samples).edits(broken)
    with pytest.raises(TypeError, match="RandomUnits"):
        fitted(RandomNeurons(DEFECTIVE["global"]), samples).edits(broken)


@pytest.mark.parametrize(
    "corrector",
    [
        DefectiveUnits("other"),
        DefectiveUnits(keep=1.5),
        DefectiveUnits(share=0.0),
        DefectiveUnits(strength=2.0),
        DefectiveUnits("global", n_units=0),
        DefectiveUnits("global", layers=LAYERS[:2]),
        DefectiveUnits(layers=[]),
        DefectiveUnits(layers=["nowhere"]),
        DefectiveUnits(unit_threshold=1.0),
        RareNeurons(0.0),
        RareNeurons(strength=-1.0),
        Truncation(1.5),
        Truncation(layer="nowhere"),
        LocallyActiveUnits(action="other"),
        LocallyActiveUnits("other"),
        LocallyActiveUnits(eps=0.0),
        LocallyActiveUnits(n_units=0),
        LatentOptimisation(toy_features, k=0),
        LatentOptimisation(toy_features, k=40),
    ],
)
def test_parameters_out_of_range_are_refused(corrector, samples):
    with pytest.raises((ValueError, LookupError), match=r"\w{3}"):
        fitted(corrector, samples)


def test_defective_units_need_broken_samples_and_masks_that_fit(samples):
    generator, normal, broken, masks = samples
    with pytest.raises(ValueError, match="broken="):
        DefectiveUnits().fit(generator, normal)
    for wrong in (masks[:3], masks + 1, masks * torch.nan, masks * 0):
        with pytest.raises(ValueError, match=r"mask"):
            DefectiveUnits().fit(generator, normal, broken, masks=wrong)


@pytest.mark.real("faces")
@pytest.mark.parametrize(
    "corrector",
    [
        *(DefectiveUnits(mode) for mode in ("sequential", "global", "pull", "cap")),
        RareNeurons(n_samples=200),
        LocallyActiveUnits(n_samples=100, n_neighbours=4),
        RandomUnits(DefectiveUnits("global")),
        RandomNeurons(RareNeurons(n_samples=200)),
        Truncation(),
    ],
)
def test_on_the_real_faces(corrector):
    generator = load_faces()
    latents = generator.latents(12, 5)
    masks = torch.zeros(6, 64, 64)
    masks[:, 20:50, 15:40] = 1
    images = corrector.fit(generator, latents[:6], latents[6:], masks=masks).correct(generator, latents[6:])
    change = (images - generator.generate(latents[6:])).abs().flatten(1).mean(1)
    assert (change > 1e-4).all()
    assert (change < 0.4).all()
