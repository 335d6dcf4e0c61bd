"""Causal effects and unit distances on a generator whose causes are known, against loops and the manifold's own."""

import numpy as np
import pytest
import torch
from torch import nn

from genmend.gans import Generator
from genmend.gans.dissection.alpha import optimise_alpha, top_units
from genmend.gans.dissection.artifact_units import unit_frechet, unit_kid
from genmend.gans.dissection.causal import causal_effect, prepare_probe
from genmend.manifold.metrics.kernel_distance import squared_mmd


class Painter(nn.Module):
    """8 units on 4x4; units 0 and 1 paint the red of a 16x16 image, unit 2 the green, the rest nothing."""

    def __init__(self):
        super().__init__()
        self.act = nn.ReLU()
        self.up = nn.Upsample(scale_factor=4)

    def forward(self, z):
        maps = self.act(z.view(-1, 8, 4, 4))
        paint = torch.zeros(len(z), 3, 4, 4)
        paint[:, 0] = maps[:, 0] + maps[:, 1]
        paint[:, 1] = maps[:, 2]
        return self.up(paint)


class Red:
    names = ("red", "green")

    def __call__(self, images):
        return images[:, :2] > 0.3

    def soft(self, images):
        return ((images[:, :2] - 0.3) / 0.1).sigmoid()


@pytest.fixture(scope="module")
def generator():
    return Generator(Painter().eval(), (128,), ("act",), value_range=(0, 1), batch_size=16)


@pytest.fixture(scope="module")
def latents():
    """Half of the samples have red in the upper half; all have a little of everything else."""
    draw = torch.Generator().manual_seed(0)
    z = torch.rand(60, 8, 4, 4, generator=draw) * 0.1
    z[::2, :2, :2] = 0.4
    z[:, 2] = 0.5 * (torch.rand(60, 4, 4, generator=draw) > 0.5)
    return z.flatten(1)


@pytest.fixture(scope="module")
def probe(generator, latents):
    masks = Red()(generator.generate(latents))[:, 0]
    return prepare_probe(generator, "act", latents, masks, 0, n_each=20, name="red")


def test_the_probe_finds_where_and_how_much(probe, latents):
    assert len(probe.present) == len(probe.absent) == 20
    assert torch.equal(probe.present, latents[::2][:20])
    assert probe.amount == 0.5
    assert probe.cells.tolist() == [[True] * 4] * 2 + [[False] * 4] * 2
    assert probe.place.sum() == 128
    assert probe.place_amount == 1
    assert probe.absent_amount == 0
    assert torch.allclose(probe.value[:2], torch.full((2,), 0.4))


def test_the_causing_units_have_the_whole_effect_and_random_ones_none(generator, probe):
    effect = causal_effect(generator, probe, Red(), [0, 1], n_draws=4)
    assert effect.erased == pytest.approx(1)
    assert effect.added == pytest.approx(1)
    assert effect.effect == pytest.approx(2)
    assert effect.random_effect == pytest.approx(0)
    assert len(effect.random_erased) == 4
    assert effect.to_dict()["units"] == (0, 1)
    one = causal_effect(generator, probe, Red(), [0], n_draws=1)
    assert one.erased == pytest.approx(0)  # the other paints enough
    assert one.added == pytest.approx(1)
    assert not generator.module.act._forward_hooks


def test_too_many_images_too_few_samples_and_too_few_units_are_refused(generator, probe, latents):
    with pytest.raises(ValueError, match="1240 images would be segmented"):
        causal_effect(generator, probe, Red(), [0], n_draws=30)
    with pytest.raises(ValueError, match="too few units for a random control"):
        causal_effect(generator, probe, Red(), range(5), n_draws=1)
    with pytest.raises(ValueError, match="0 samples have the concept 'red' and 5 lack it"):
        prepare_probe(generator, "act", latents, torch.zeros(60, 16, 16, dtype=torch.bool), 0, n_each=5, name="red")


@pytest.mark.parametrize("penalty", ["norm", "squared"])
def test_alpha_finds_the_causes_from_an_even_start(generator, probe, penalty):
    even = torch.full((8,), 0.3)
    even[5] = 0.6
    alpha = optimise_alpha(generator, probe, Red(), even, penalty=penalty, n_steps=60, weight=0.2)
    assert ((alpha >= 0) & (alpha <= 1)).all()
    assert set(top_units(alpha, even, 2)) == {0, 1}
    assert alpha[:2].min() > alpha[2:].max() + 0.2
    assert torch.equal(alpha, optimise_alpha(generator, probe, Red(), even, penalty=penalty, n_steps=60, weight=0.2))
    assert not generator.module.act._forward_hooks


def test_alpha_needs_a_gradient(generator, probe):
    class Hard:
        names = ("red", "green")

        def __call__(self, images):
            return Red()(images)

    class Position(Red):
        def soft(self, images):
            return torch.ones(len(images), 2, 16, 16)

    iou = torch.ones(8)
    with pytest.raises(TypeError, match=r"Hard gives bool masks alone.*soft\(images\)"):
        optimise_alpha(generator, probe, Hard(), iou)
    with pytest.raises(ValueError, match="'red' does not depend on the image"):
        optimise_alpha(generator, probe, Position(), iou)
    with pytest.raises(ValueError, match="accepted are 'norm' and 'squared'"):
        optimise_alpha(generator, probe, Red(), iou, penalty="l1")


def test_ties_go_by_iou_and_then_by_index():
    alpha, iou = torch.tensor([0.5, 1.0, 0.5, 0.5]), torch.tensor([0.1, 0.0, 0.3, 0.1])
    assert top_units(alpha, iou, 4) == [1, 2, 0, 3]


@pytest.fixture(scope="module")
def measured():
    rng = np.random.default_rng(0)
    features, reference = rng.standard_normal((700, 6)), rng.standard_normal((560, 6))
    peaks = rng.random((700, 4))
    peaks[:, 2] = features[:, 0]  # the top images of unit 2 are far out along one feature
    return peaks, features, reference


def test_unit_kid_is_the_manifold_s_distance_of_the_top_images(measured):
    peaks, features, reference = measured
    found = unit_kid(torch.from_numpy(peaks), features, reference, n_top=80)
    expected = [squared_mmd(reference, features[np.argsort(-peaks[:, unit])[:80]]) for unit in range(4)]
    assert np.allclose(found, expected, rtol=1e-9, atol=1e-12)
    assert found.argmax() == 2


def test_unit_frechet_ranks_the_far_unit_first(measured):
    pytest.importorskip("torch_fidelity")
    found = unit_frechet(*measured, [2, 0], n_top=80)
    assert found[0] > 2 * found[1]


def test_unit_kid_refuses_what_does_not_fit(measured):
    peaks, features, reference = measured
    with pytest.raises(ValueError, match="do not fit"):
        unit_kid(peaks[:-1], features, reference)
    with pytest.raises(ValueError, match="n_top is 701 of 700"):
        unit_kid(peaks, features, reference, n_top=701)
    with pytest.raises(ValueError, match="at least 2"):
        unit_kid(peaks, features, reference[:1], n_top=5)
