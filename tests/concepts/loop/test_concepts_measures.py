import math

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from torch import nn

from genmend.concepts.loop import mu_fidelity, pixel_flipping, robustness
from genmend.concepts.loop.measure import Case

WEIGHTS = torch.randn(1, 3, 8, 8, generator=torch.Generator().manual_seed(0))
IMAGES = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(1)) + 0.1


class Linear(nn.Module):
    """Two classes, of opposite scores: what a pixel gives is known exactly."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(WEIGHTS.clone())

    def forward(self, images):
        score = (images * self.weight).sum((1, 2, 3))
        return torch.stack([score, -score], 1)


def true_parts(images, targets):
    return images * WEIGHTS * (1 - 2 * targets.reshape(-1, 1, 1, 1))


def case(attributions=None, model=None, targets=None, attribute=true_parts, **options):
    targets = torch.tensor([0, 1, 0, 1]) if targets is None else targets
    attributions = attribute(IMAGES, targets) if attributions is None else attributions
    return Case(model or Linear().eval(), IMAGES, targets, attributions, attribute, **options)


def noise():
    return torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(2))


def scores(measure, **options):
    return measure.evaluate(case(**options)).numpy()


def test_flipping_is_removing_pixels_in_order():
    """Against a loop over pixels."""
    given = case()
    curve = pixel_flipping.flipping_curves(given, most_first=True, n_points=5)
    model = Linear()
    for i in range(4):
        order = given.attributions[i].sum(0).flatten().argsort(descending=True)
        for point in range(5):
            image = IMAGES[i : i + 1].clone().flatten(2)
            image[..., order[: round(point / 4 * 64)]] = 0
            with torch.no_grad():
                expected = model(image.reshape(1, 3, 8, 8)).softmax(1)[0, given.targets[i]]
            torch.testing.assert_close(curve[i, point], expected)


def test_shares_are_what_is_removed():
    given = case()
    tenths = [step / 10 for step in range(9)] + [1]
    curve = pixel_flipping.flipping_curves(given, most_first=True, shares=tenths)
    whole = pixel_flipping.flipping_curves(given, most_first=True, n_points=11)
    torch.testing.assert_close(curve[:, :9], whole[:, :9])
    torch.testing.assert_close(curve[:, 9], whole[:, 10])
    with pytest.raises(ValueError, match="from 0 to 1"):
        pixel_flipping.flipping_curves(given, most_first=True, shares=[0, 10])


def test_the_true_parts_are_the_most_faithful():
    """Removing the largest parts of a linear score first is the fastest fall there is."""
    for measure in (*pixel_flipping.measures(), mu_fidelity.measure(60)):
        sign = 1 if measure.higher_is_better else -1
        true, random, wrong = (
            sign * scores(measure, attributions=each)
            for each in (None, noise(), -true_parts(IMAGES, torch.tensor([0, 1, 0, 1])))
        )
        assert (true > random).all(), measure.name
        assert (random > wrong).all(), measure.name
        assert measure.low <= measure.evaluate(case()).min() <= measure.evaluate(case()).max() <= measure.high


def test_equal_attributions_go_in_random_order_and_by_the_seed():
    flat = torch.zeros(4, 1, 8, 8)
    first, other = (
        pixel_flipping.flipping_curves(case(attributions=flat, seed=seed), most_first=True) for seed in (0, 1)
    )
    again = pixel_flipping.flipping_curves(case(attributions=flat, seed=0), most_first=True)
    torch.testing.assert_close(first, again, rtol=0, atol=0)
    assert (first[:, 1:-1] != other[:, 1:-1]).any()
    least = pixel_flipping.flipping_curves(case(attributions=flat), most_first=False)
    torch.testing.assert_close(first, least)


def test_the_order_of_attributions_alone_counts():
    true = true_parts(IMAGES, torch.tensor([0, 1, 0, 1])).sum(1, keepdim=True)
    for measure in pixel_flipping.measures():
        np.testing.assert_allclose(scores(measure, attributions=true), scores(measure, attributions=true * 7 + 3))


def test_every_cell_is_drawn_alike_and_nothing_but_the_fill_replaces():
    seen = []

    class Watched(Linear):
        def forward(self, images):
            seen.append(images)
            return super().forward(images)

    mu_fidelity.measure(40, cells=4, share=0.25).evaluate(case(model=Watched(), fill=-5.0))
    removed = torch.cat([images == -5 for images in seen[1:]])
    assert (removed[:, 0].flatten(1).sum(1) == 16).all(), "4 of 16 cells of 4 pixels"
    assert (removed[:, :1] == removed).all()
    kept = torch.cat(seen[1:])[~removed]
    assert np.isin(kept.unique().numpy(), IMAGES.unique().numpy()).all()


def test_rank_correlation_is_scipys():
    rng = np.random.default_rng(0)
    one, other = rng.integers(0, 5, (6, 40)).astype(float), rng.standard_normal((6, 40))
    found = mu_fidelity.rank_correlation(torch.tensor(one), torch.tensor(other))
    np.testing.assert_allclose(found, [spearmanr(a, b).statistic for a, b in zip(one, other, strict=True)])
    assert mu_fidelity.rank_correlation(torch.ones(1, 9), torch.rand(1, 9)) == 0


def test_sensitivity_compares_like_with_like():
    """A method that adds a constant map is steady; one that doubles with the input's sum is not."""
    steady = lambda images, targets: torch.ones(len(images), 1, 8, 8) * 3  # noqa: E731
    assert scores(robustness.sensitivity(), attribute=steady).max() == 0
    shaky = lambda images, targets: images.sum((1, 2, 3), keepdim=True).expand(-1, 1, 8, 8) ** 3  # noqa: E731
    assert scores(robustness.sensitivity(), attribute=shaky).min() > 0.02
    zero = lambda images, targets: torch.zeros(len(images), 1, 8, 8)  # noqa: E731
    np.testing.assert_array_equal(scores(robustness.sensitivity(), attribute=zero), 1)
    scaled = lambda images, targets: true_parts(images, targets) * 1e-3  # noqa: E731
    np.testing.assert_allclose(
        scores(robustness.sensitivity()), scores(robustness.sensitivity(), attribute=scaled), rtol=1e-4
    )


def test_complexity_is_the_entropy_of_shares():
    one = torch.zeros(4, 1, 8, 8)
    one[..., 3, 3] = -5
    assert scores(robustness.complexity(), attributions=one).max() == pytest.approx(0)
    np.testing.assert_allclose(scores(robustness.complexity(), attributions=torch.ones(4, 1, 8, 8)), 1)
    half = torch.zeros(4, 1, 8, 8)
    half[..., :4, :] = 2
    np.testing.assert_allclose(scores(robustness.complexity(), attributions=half), math.log(32) / math.log(64))


def test_what_does_not_depend_on_class_or_weights_is_seen():
    edges = lambda images, targets: images.diff(dim=3, append=images[..., :1])  # noqa: E731
    np.testing.assert_allclose(scores(robustness.target_sensitivity(), attribute=edges), 1)
    np.testing.assert_allclose(scores(robustness.target_sensitivity()), -1)

    def by(model):
        return lambda images, targets: images * model.weight * (1 - 2 * targets.reshape(-1, 1, 1, 1))

    assert np.abs(scores(robustness.weight_sensitivity(by))).max() < 0.5
    np.testing.assert_allclose(scores(robustness.weight_sensitivity(lambda model: edges), attribute=edges), 1)


def test_a_randomised_copy_keeps_the_sizes_and_leaves_the_model_alone():
    model = Linear()
    copy = robustness.randomised_copy(model, 3)
    torch.testing.assert_close(model.weight.detach(), WEIGHTS)
    assert (copy.weight != WEIGHTS).float().mean() > 0.9
    torch.testing.assert_close(copy.weight.detach().flatten().sort().values, WEIGHTS.flatten().sort().values)
