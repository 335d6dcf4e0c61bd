"""What the figures on attributions and interactions rest on, where the answer is known."""

import numpy as np
import pytest
import torch
from torch import nn

from experiments.concepts import attributions, interactions


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
    needed, _ = interactions.restored(Corner(), torch.ones(1, 3, 16, 16), 1, values)
    assert needed == 3
