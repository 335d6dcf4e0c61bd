"""What the figures on attributions and interactions rest on, where the answer is known."""

import numpy as np
import pytest
import torch
from torch import nn

from experiments.concepts import attributions, default_passes, interactions
from genmend.concepts.loop.methods import METHODS


def test_crops_of_a_photograph_count_as_one():
    values = np.array([1.0, 2.0, 5.0, 5.0])
    np.testing.assert_allclose(attributions.by_photograph(values, np.array([0, 1, 1, 2])), [1, 3.5, 5])


def found_of(name, morf, lerf):
    ends = np.ones((8, 1)), np.zeros((8, 1))
    curves = {"MoRF": morf, "LeRF": lerf}
    return {
        f"{name} {fill} {measure}": np.hstack([ends[0], np.full((8, 2), value), ends[1]])
        for fill in attributions.FILLS
        for measure, value in curves.items()
    }


def test_a_method_is_compared_photograph_by_photograph():
    found = {**found_of("ours", 0.1, 0.8), **found_of("other", 0.3, 0.6)}
    rows = {
        (row["method"], row["fill"]): row
        for row in attributions.summary(found, np.arange(8), ["ours", "other"], "ours")
    }
    row = rows["other", "blur"]
    assert row["AbPC"] == pytest.approx((0.3, 0.3, 0.3))
    assert row["AbPC of ours less this"] == pytest.approx((0.4, 0.4, 0.4))
    assert row["MoRF of ours less this"] == pytest.approx((-0.1, -0.1, -0.1))


def test_the_variant_is_chosen_without_the_held_out_images():
    names = ["distilled-gradient", *attributions.VARIANTS, attributions.JOINED]
    found = {key: value for name in names for key, value in found_of(name, 0.5, 0.5).items()}
    best = found_of("31 passes", 0.1, 0.9)
    for key, values in best.items():
        values[:4] = 0.5  # on the held-out ones it is no better
        found[key] = values
    rows = attributions.variants(found, np.arange(8), 4)
    assert rows["chosen"] == "31 passes"
    assert rows["held out"]["31 passes"]["gain"] == pytest.approx((0, 0, 0))


def test_every_method_has_as_many_backward_passes():
    single = {"full-gradient", "random"}
    for name, settings in default_passes.PEERS.items():
        passes = METHODS[name].passes({**METHODS[name].settings, **settings})
        assert passes == default_passes.PASSES or name in single
    assert METHODS["distilled-gradient"].passes(METHODS["distilled-gradient"].settings) == default_passes.PASSES
    backward = []

    class Watched(nn.Module):
        def __init__(self):
            super().__init__()
            self.maps, self.gate = nn.Conv2d(3, 2, 3), nn.ReLU()

        def forward(self, images):
            seen = self.gate(self.maps(images))
            if seen.requires_grad:
                seen.register_hook(lambda gradient: backward.append(len(gradient)))
            return seen.mean((2, 3))

    images = torch.rand(2, 3, 8, 8)
    found = default_passes.smoothed_full_gradient(Watched().eval(), images, torch.tensor([0, 1]))
    assert backward == [2] * default_passes.PASSES
    assert found.shape == (2, 1, 8, 8)


def test_sampled_values_of_a_table_are_those_of_every_set():
    rng = np.random.default_rng(0)
    row = interactions.against_exact(rng.standard_normal(2**5))
    assert row["API z"] < 4.5
    assert row["Shapley z"] < 4.5
    assert row["API held"] > 0.8
    assert row["API bias"] < 0.1


def test_parts_are_shown_until_the_class_is_back():
    class Corner(nn.Module):
        """Class 1 as soon as the last two patches of the first row are there."""

        def forward(self, images):
            seen = images[:, 0, 0, 8] + images[:, 0, 0, 12]
            return torch.stack([torch.full_like(seen, 1.5), seen], 1)

    values = np.zeros(16)
    values[[2, 3, 5]] = 3, 1, 2
    parts = interactions.square_patches(torch.ones(3, 16, 16), 4)
    needed, _ = interactions.restored(Corner(), torch.ones(1, 3, 16, 16), 1, parts, values)
    assert needed == 3
