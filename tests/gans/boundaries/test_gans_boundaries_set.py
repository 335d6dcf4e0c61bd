"""Supporting sets: they meet the tolerance when the rest is really off, and are smaller than simpler choices."""

import pytest
import torch
from gans_toys import snapshot, toy_generator, written_out

from genmend.gans.boundaries import compare_with_rankings, supporting_set
from genmend.gans.boundaries.boundary_set import expected_open, sample_gates
from genmend.gans.settings import GateSettings

FAST = GateSettings(n_rounds=6, n_steps=30)


# Of the toy's 5 units each one matters at the tolerance that suits its 320 neurons.
@pytest.mark.parametrize(("granularity", "tolerance"), [("neuron", 0.05), ("unit", 0.2)])
def test_the_set_alone_supports_the_image(granularity, tolerance):
    generator = toy_generator()
    before, latent = snapshot(generator.module), generator.latents(1, 5)
    found = supporting_set(generator, latent, "widen.act", tolerance=tolerance, granularity=granularity, settings=FAST)
    mask = found.mask if granularity == "neuron" else found.mask[:, None, None]
    _, whole = written_out(generator.module, latent)
    _, kept = written_out(generator.module, latent, lambda layer, x: x * mask if layer == "widen.act" else x)
    rmse = float((kept - whole).square().mean().sqrt())
    assert rmse == pytest.approx(found.rmse, abs=1e-6)
    assert found.rmse <= tolerance
    assert 0 < found.n < found.n_candidates
    assert snapshot(generator.module) == before
    again = supporting_set(generator, latent, "widen.act", tolerance=tolerance, granularity=granularity, settings=FAST)
    assert torch.equal(again.mask, found.mask)


def test_only_active_relu_neurons_are_members_and_controls_need_more():
    generator = toy_generator()
    latent = generator.latents(1, 6)
    found = supporting_set(generator, latent, "stem.act", settings=FAST)
    active = written_out(generator.module, latent)[0]["stem.act"][0] > 0
    assert found.n_candidates == int(active.sum())
    assert not (found.mask & ~active).any()
    controls = compare_with_rankings(generator, found, n_random=4)
    assert controls["random"]["n_needed"] > found.n
    assert controls["random"]["rmse_at_n"] > found.tolerance


def test_gates_open_as_often_as_the_formula_says():
    log_alpha = torch.tensor([-2.0, 0.0, 1.5])
    gates = sample_gates(log_alpha, 20_000, torch.Generator().manual_seed(0))
    torch.testing.assert_close((gates > 0).float().mean(0), expected_open(log_alpha), atol=0.012, rtol=0)
    assert gates.min() == 0
    assert gates.max() == 1


def test_refusals():
    generator = toy_generator()
    with pytest.raises(ValueError, match="belongs to one"):
        supporting_set(generator, generator.latents(2, 5), "stem.act")
    with pytest.raises(ValueError, match="tolerance is 0"):
        supporting_set(generator, generator.latents(1, 5), "stem.act", tolerance=0)
    with pytest.raises(ValueError, match="granularity"):
        supporting_set(generator, generator.latents(1, 5), "stem.act", granularity="layer")
