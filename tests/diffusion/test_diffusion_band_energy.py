"""Band energies against Parseval's sums, and before and after the edits."""

import json

import diffusion_toys
import pytest
import torch

from genmend.activations import record
from genmend.diffusion import amplified
from genmend.diffusion.inspection.band_energy import band_energy


@pytest.fixture(scope="module")
def unet():
    torch.manual_seed(0)
    return diffusion_toys.sd15_unet().eval()


def run(unet, timestep=300, n=2, size=(16, 24), dtype=torch.float32):
    draw = torch.Generator().manual_seed(1)
    x, text = torch.randn(n, 4, *size, generator=draw), torch.randn(n, 5, 32, generator=draw)
    with torch.no_grad():
        return unet(x.to(dtype), timestep, text.to(dtype)).sample


def n_hooks(module):
    return sum(len(part._forward_pre_hooks) + len(part._forward_hooks) for part in module.modules())


def by_parseval(x, cutoff):
    """Mean, low, high in float64, from the full spectrum."""
    height, width = x.shape[-2:]
    power = torch.fft.fft2(x.double()).abs().square().mean((0, 1)) / (height * width) ** 2
    rows, columns = (torch.fft.fftfreq(size, 1 / size).double() for size in (height, width))
    radius = torch.hypot(rows[:, None], columns[None])
    mean, low = power[0, 0], power[radius < cutoff].sum()
    return torch.stack((mean, low - mean, power[radius >= cutoff].sum()))


def test_equals_parseval_and_changes_nothing(unet):
    plain, n_before = run(unet), n_hooks(unet)
    with record(unet, ["down_blocks.0", "mid_block"]) as maps:
        run(unet)
    with band_energy(unet, 2.5, blocks=["down0", "mid_block"]) as energies:
        assert torch.equal(run(unet), plain)
    found = energies.result()
    expected = torch.stack([by_parseval(maps[layer], 2.5) for layer in ("down_blocks.0", "mid_block")])
    torch.testing.assert_close(found.before[0], expected, atol=1e-8, rtol=1e-4)
    assert torch.equal(found.before, found.after)
    torch.testing.assert_close(found.shares_before.sum(-1), torch.ones(1, 2, dtype=torch.float64))
    assert n_hooks(unet) == n_before


def test_before_and_after_amplification(unet):
    with amplified(unet, down=(2.0,), mid=3.0, cutoff=2), band_energy(unet, 2) as energies:
        for timestep in (900, 100):
            run(unet, timestep)
    found = energies.result()
    assert found.timesteps == (900.0, 100.0)
    assert found.blocks == ("down0", "down1", "down2", "down3", "mid", "up0", "up1", "up2", "up3")
    for block, gain in ((0, 2.0), (1, 1.0), (4, 3.0), (5, 1.0)):
        expected = found.before[:, block] * torch.tensor([gain**2, gain**2, 1.0], dtype=torch.float64)
        torch.testing.assert_close(found.after[:, block], expected, atol=1e-9, rtol=1e-4)
    assert (found.shares_after[:, 0, 2] < found.shares_before[:, 0, 2]).all()


def test_runs_with_the_same_timesteps_are_averaged(unet):
    with band_energy(unet, 2, blocks=["mid"]) as energies:
        run(unet, n=1)
        one = energies.result().before
        run(unet, n=3, size=(8, 8))
    with band_energy(unet, 2, blocks=["mid"]) as other:
        run(unet, n=3, size=(8, 8))
    weights = torch.tensor([1 * 2 * 3, 3 * 1 * 1]) / 9
    expected = weights[0] * one + weights[1] * other.result().before
    torch.testing.assert_close(energies.result().before, expected)


def test_in_a_guided_pipeline_with_conditional_edits(tmp_path):
    """Such edits are attached anew when an unguided run begins, and yet they are seen."""
    pipe = diffusion_toys.sd15(tmp_path)
    words = {"height": 32, "width": 32, "output_type": "latent"}
    with amplified(pipe, mid=3.0, cutoff=1, rows="conditional"), band_energy(pipe, 1, blocks=["mid"]) as energies:
        pipe("a chair", num_inference_steps=1, guidance_scale=5.0, **words)
        growth = (energies.result().after / energies.result().before)[0, 0, 0]
        assert 1.5 < growth < 8.5
        pipe("a chair", num_inference_steps=2, guidance_scale=1.0, **words)
    found = energies.result()
    assert found.timesteps == (1.0, 501.0)
    assert float(found.after[1, 0, 0] / found.before[1, 0, 0]) == pytest.approx(9.0, abs=1e-3)


def test_half_precision_does_not_overflow():
    torch.manual_seed(0)
    half = diffusion_toys.sd15_unet().eval().half()
    with torch.no_grad():
        half.mid_block.resnets[-1].conv2.bias.fill_(3e4)
    with band_energy(half, 1, blocks=["mid"]) as energies:
        run(half, dtype=torch.float16)
    assert energies.result().before[0, 0, 0] == pytest.approx(9e8, rel=0.02)


def test_dictionary_and_picture(unet):
    with band_energy(unet, 0.5, cutoff_unit="nyquist", blocks=["down0", "mid"]) as energies:
        run(unet, 900)
        run(unet, 100)
    result = energies.result()
    found = json.loads(json.dumps(result.to_dict()))
    assert found["share_after"]["mid"]["low"] == pytest.approx(result.shares_after[:, 1, 1].tolist())
    assert found["timesteps"] == [900.0, 100.0]
    first, second = result.plot().axes
    assert [line.get_xdata().tolist() for line in first.lines] == [[1, 2]] * 6
    assert second.get_title() == "mid"


def test_what_does_not_fit(unet):
    with pytest.raises(ValueError, match="cutoff is 0"), band_energy(unet, 0):
        pass
    with pytest.raises(TypeError, match="no down_blocks"), band_energy(torch.nn.Linear(2, 2), 1):
        pass
    with band_energy(unet, 1, blocks=["time_embedding"]) as energies:
        with pytest.raises(RuntimeError, match="not run yet"):
            energies.result()
        with pytest.raises(ValueError, match="maps"):
            run(unet)
    assert n_hooks(unet) == 0
