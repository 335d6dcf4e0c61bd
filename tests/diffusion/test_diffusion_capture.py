"""Captured block features: those of the right step, of the right rows, copies, in any precision."""

import diffusion_toys
import pytest
import torch

from genmend.activations import record
from genmend.activations.layers import UnknownLayerError
from genmend.diffusion import amplified
from genmend.diffusion.inspection.capture import capture


@pytest.fixture(scope="module")
def unet():
    torch.manual_seed(0)
    return diffusion_toys.sd15_unet().eval()


def run(unet, timestep=300, n=2, dtype=torch.float32):
    draw = torch.Generator().manual_seed(1)
    x, text = torch.randn(n, 4, 16, 16, generator=draw), torch.randn(n, 5, 32, generator=draw)
    with torch.no_grad():
        return unet(x.to(dtype), timestep, encoder_hidden_states=text.to(dtype)).sample


def n_hooks(module):
    return sum(len(part._forward_pre_hooks) + len(part._forward_hooks) for part in module.modules())


def test_each_step_of_each_block(unet):
    plain, n_before = run(unet), n_hooks(unet)
    with capture(unet, ["down1", "mid", "mid_block.resnets.0"]) as features:
        assert torch.equal(run(unet), plain)
        run(unet, timestep=torch.tensor(20))
    assert features.timesteps == [300.0, 20.0]
    for step, timestep in enumerate((300, 20)):
        with record(unet, ["down_blocks.1", "mid_block", "mid_block.resnets.0"]) as expected:
            run(unet, timestep)
        for name, layer in (("down1", "down_blocks.1"), ("mid", "mid_block"), ("mid_block.resnets.0",) * 2):
            assert torch.equal(features[name][step], expected[layer])
    assert features.stacked("mid").shape == (2, 2, 64, 2, 2)
    assert n_hooks(unet) == n_before


def test_chosen_steps_and_rows(unet):
    with capture(unet, ["mid"], steps={1}, rows="conditional", guided=True) as features:
        for timestep in (900, 500, 100):
            run(unet, timestep, n=4)
    assert features.timesteps == [500.0]
    with record(unet, ["mid_block"]) as expected:
        run(unet, 500, n=4)
    assert torch.equal(features.stacked("mid"), expected["mid_block"][None, 2:])


def test_reduced_in_half_precision(unet):
    torch.manual_seed(0)
    half = diffusion_toys.sd15_unet().eval().half()
    with torch.no_grad():
        half.mid_block.resnets[-1].conv2.bias.fill_(3e4)
    with capture(half, ["mid"], reduce=lambda x: x.square().sum((-2, -1))) as energy:
        run(half, dtype=torch.float16)
    assert energy["mid"][0].dtype == torch.float32
    assert energy["mid"][0].isfinite().all()
    assert energy["mid"][0].min() > 1e9
    with capture(half.bfloat16(), ["mid"], device="cpu") as features:
        run(half, dtype=torch.bfloat16)
    assert features["mid"][0].dtype == torch.bfloat16


def test_copies_survive_changes_in_place(unet):
    """Diffusers' FreeU multiplies the middle block's output in place."""
    with capture(unet, ["mid"]) as expected:
        run(unet)
    unet.enable_freeu(s1=0.9, s2=0.2, b1=1.5, b2=1.6)
    with capture(unet, ["mid"]) as features:
        run(unet)
    unet.disable_freeu()
    assert torch.equal(features["mid"][0], expected["mid"][0])


def test_inside_amplification_the_amplified_output_is_seen(unet):
    with capture(unet, ["mid"]) as plain:
        run(unet)
    with amplified(unet, mid=2.0, cutoff=1), capture(unet, ["mid"]) as inside:
        run(unet)
    torch.testing.assert_close(inside["mid"][0].mean((-2, -1)), 2 * plain["mid"][0].mean((-2, -1)))


def test_blocks_of_a_transformer_by_name(tmp_path):
    transformer = diffusion_toys.pixart(tmp_path).transformer
    with torch.no_grad(), capture(transformer, ["transformer_blocks.1"]) as features:
        transformer(
            torch.randn(1, 4, 8, 8),
            encoder_hidden_states=torch.randn(1, 5, 32),
            timestep=torch.tensor([5]),
            added_cond_kwargs={"resolution": None, "aspect_ratio": None},
        )
    assert features.stacked("transformer_blocks.1").shape == (1, 1, 16, 24)
    assert features.timesteps == [5.0]


def test_what_does_not_fit(unet):
    for blocks, error, words in (
        ("mid", TypeError, r"write \['mid'\]"),
        (["mid", "mid_block"], ValueError, "twice"),
        (["middle"], UnknownLayerError, "middle"),
    ):
        with pytest.raises(error, match=words), capture(unet, blocks):
            pass
    with pytest.raises(ValueError, match="rows is 'odd'"), capture(unet, ["mid"], rows="odd"):
        pass
    with capture(unet, ["mid"]) as features:
        with pytest.raises(ValueError, match="has not run"):
            features.stacked("mid")
        with pytest.raises(KeyError, match="accepted are mid"):
            features.stacked("up0")
    assert n_hooks(unet) == 0
