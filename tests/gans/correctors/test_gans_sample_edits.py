"""Edits of each sample on its own: against loops, through files, and with gradients."""

import numpy as np
import pytest
import torch
from gans_toys import snapshot, toy_generator

from genmend.activations import Correction, edited, load_correction, save_correction
from genmend.gans.correctors.sample_edits import ReplaceUnits, ScaleEachSample

LAYER, SHAPE = "widen.act", (3, 5, 8, 8)


@pytest.fixture
def output():
    return torch.randn(SHAPE, generator=torch.Generator().manual_seed(0))


def random(*shape, seed=1):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("shape", [(3, 5), (3, 5, 1, 1), (3, 5, 1, 8), (3, 5, 8, 8)])
@pytest.mark.parametrize("strength", [1.0, 0.3])
def test_every_sample_is_scaled_by_its_own_factors(output, shape, strength):
    scale = random(*shape)
    found = ScaleEachSample(LAYER, scale, strength).apply(output).numpy()
    for n, c, y, x in np.ndindex(SHAPE):
        row = scale.numpy().reshape(shape if len(shape) == 4 else (3, 5, 1, 1))[n, c]
        factor = row[min(y, len(row) - 1), min(x, len(row[0]) - 1)]
        assert found[n, c, y, x] == pytest.approx(output[n, c, y, x].item() * (1 + strength * (factor - 1)), abs=1e-6)


@pytest.mark.parametrize("shape", [(3, 2), (3, 2, 1, 1), (3, 2, 8, 8)])
@pytest.mark.parametrize("strength", [1.0, 0.3])
def test_listed_units_are_replaced_and_no_others(output, shape, strength):
    units, values = torch.tensor([[0, 4], [3, -1], [-1, -1]]), random(*shape)
    found = ReplaceUnits(LAYER, units, values, strength).apply(output)
    expected = output.clone()
    for n in range(3):
        for place, unit in enumerate(units[n].tolist()):
            if unit < 0:
                continue
            expected[n, unit] = (1 - strength) * output[n, unit] + strength * values[n, place]
    torch.testing.assert_close(found, expected)
    for n in range(3):
        others = [unit for unit in range(5) if unit not in units[n].tolist()]
        assert torch.equal(found[n, others], output[n, others])


def test_identity_keeps_every_bit(output):
    odd = output.clone()
    odd[0, 0, 0, :2] = torch.tensor([-0.0, torch.inf])
    for edit in (
        ScaleEachSample(LAYER, torch.ones(3, 5)),
        ScaleEachSample(LAYER, random(3, 5), strength=0.0),
        ReplaceUnits(LAYER, torch.tensor([[0], [0], [0]]), random(3, 1), strength=0.0),
        ReplaceUnits(LAYER, torch.zeros(3, 0, dtype=torch.int64), random(3, 0)),
        ReplaceUnits(LAYER, torch.full((3, 2), -1), random(3, 2)),
    ):
        assert edit.apply(odd).numpy().tobytes() == odd.numpy().tobytes()


def test_gradients_reach_the_factors_also_of_an_attached_edit():
    generator = toy_generator()
    latents, before = generator.latents(3, 5), snapshot(generator.module)
    scale = torch.ones(3, 5, dtype=torch.float64, requires_grad=True)
    with edited(generator.module, ScaleEachSample(LAYER, scale)):
        generator.run(latents).square().sum().backward()
    assert snapshot(generator.module) == before
    step = 1e-3
    for sample, unit in ((0, 0), (2, 3)):
        losses = []
        for sign in (1, -1):
            moved = scale.detach().clone()
            moved[sample, unit] += sign * step
            with edited(generator.module, ScaleEachSample(LAYER, moved)):
                losses.append(generator.run(latents).double().square().sum().item())
        assert scale.grad[sample, unit].item() == pytest.approx((losses[0] - losses[1]) / (2 * step), rel=0.05)


def test_half_precision_stays_half(output):
    half = output.half()
    assert ScaleEachSample(LAYER, random(3, 5)).apply(half).dtype == torch.float16
    assert ReplaceUnits(LAYER, torch.tensor([[0]] * 3), random(3, 1)).apply(half).dtype == torch.float16


def test_through_a_correction_file(tmp_path):
    generator = toy_generator()
    edits = [ScaleEachSample(LAYER, random(3, 5)), ReplaceUnits(LAYER, torch.tensor([[0]] * 3), random(3, 1, 8, 8))]
    made = Correction.of(generator.module, [edits])
    save_correction(tmp_path / "c.safetensors", made)
    assert load_correction(tmp_path / "c.safetensors") == made


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda: ScaleEachSample(LAYER, torch.ones(3)), ValueError),
        (lambda: ScaleEachSample(LAYER, torch.ones(3, 5, dtype=torch.int64)), TypeError),
        (lambda: ScaleEachSample(LAYER, torch.full((3, 5), torch.nan)), ValueError),
        (lambda: ReplaceUnits(LAYER, torch.ones(3, 2), torch.ones(3, 2)), TypeError),
        (lambda: ReplaceUnits(LAYER, torch.tensor([[1, 1]]), torch.ones(1, 2)), ValueError),
        (lambda: ReplaceUnits(LAYER, torch.tensor([[-2, 1]]), torch.ones(1, 2)), ValueError),
        (lambda: ReplaceUnits(LAYER, torch.tensor([[0, 1]]), torch.ones(2, 2)), ValueError),
        (lambda: ScaleEachSample(LAYER, torch.ones(2, 5)).apply(torch.ones(SHAPE)), ValueError),
        (lambda: ScaleEachSample(LAYER, torch.ones(3, 4)).apply(torch.ones(SHAPE)), ValueError),
        (lambda: ScaleEachSample(LAYER, torch.ones(3, 5, 4, 8)).apply(torch.ones(SHAPE)), ValueError),
        (lambda: ReplaceUnits(LAYER, torch.tensor([[7]] * 3), torch.ones(3, 1)).apply(torch.ones(SHAPE)), ValueError),
        (lambda: ReplaceUnits(LAYER, torch.tensor([[0]] * 2), torch.ones(2, 1)).apply(torch.ones(SHAPE)), ValueError),
    ],
)
def test_what_does_not_fit_is_refused(make, error):
    with pytest.raises(error, match=r"\w+.*[;:]"):
        make()
