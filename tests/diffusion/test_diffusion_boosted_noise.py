"""Boosted noise: the pipeline's own draw at gamma 1, the right shape, and the run that begins later."""

import diffusion_toys
import pytest
import torch
from diffusers import DDPMScheduler, EulerDiscreteScheduler

from genmend.diffusion.baselines.boosted_noise import boosted_latents, later_timesteps


@pytest.fixture(scope="module")
def pipe(tmp_path_factory):
    return diffusion_toys.sd15(tmp_path_factory.mktemp("sd15"))


def draw(pipe, **settings):
    words = {"num_inference_steps": 2, "height": 32, "width": 48, "output_type": "latent", "guidance_scale": 1.0}
    return pipe("a chair", num_images_per_prompt=2, **(words | settings)).images


def test_gamma_one_is_what_the_pipeline_draws(pipe):
    latents = boosted_latents(pipe, 1.0, seeds=[5, 6], height=32, width=48)
    expected = draw(pipe, generator=[torch.Generator().manual_seed(seed) for seed in (5, 6)])
    assert torch.equal(draw(pipe, latents=latents), expected)
    boosted = boosted_latents(pipe, 1.5, seeds=[5, 6], height=32, width=48)
    assert torch.equal(boosted, 1.5 * latents)
    assert (draw(pipe, latents=boosted) - expected).abs().max() > 1e-3


def test_shape_and_deviation(pipe):
    latents = boosted_latents(pipe, 2.0, seeds=range(8))
    assert latents.shape == (8, 4, 32, 32)
    assert latents.std() == pytest.approx(2.0, rel=0.03)
    assert torch.equal(latents[3:4], boosted_latents(pipe, 2.0, seeds=[3]))


@pytest.mark.parametrize("scheduler", [EulerDiscreteScheduler, DDPMScheduler])
def test_the_run_begins_later(pipe, monkeypatch, scheduler):
    monkeypatch.setattr(pipe, "scheduler", scheduler())
    steps, seen = later_timesteps(pipe, 4, 1), []
    spy = pipe.unet.register_forward_pre_hook(lambda _, inputs: seen.append(float(inputs[1])))
    draw(pipe, num_inference_steps=4, generator=torch.Generator().manual_seed(0))
    whole = seen.copy()
    seen.clear()
    latents = boosted_latents(pipe, 1.1, seeds=[0, 1], height=32, width=48)
    assert draw(pipe, latents=latents, timesteps=steps).isfinite().all()
    spy.remove()
    assert len(whole) == 4
    assert seen == steps == whole[1:]


def test_what_does_not_fit(pipe, tmp_path):
    for settings, words in (
        ({"gamma": 0.0}, "gamma is 0"),
        ({"gamma": float("inf")}, "gamma is inf"),
        ({"seeds": []}, "seeds is empty"),
        ({"height": 33}, "multiples of 2"),
    ):
        with pytest.raises(ValueError, match=words):
            boosted_latents(pipe, **({"gamma": 1.0, "seeds": [0]} | settings))
    with pytest.raises(TypeError, match="packs its latents"):
        boosted_latents(diffusion_toys.flux(tmp_path), 1.1, seeds=[0])
    with pytest.raises(TypeError, match="DDIMScheduler does not take timesteps"):
        later_timesteps(pipe, 4, 1)
    with pytest.raises(ValueError, match="skip is 4"):
        later_timesteps(pipe, 4, 4)
