"""Pipelines on a device draw, are amplified and are looked into as on the CPU, in float32 and in half precision."""

from contextlib import nullcontext

import diffusion_toys
import pytest
import torch
from labelled_device import labelled_device

from genmend.diffusion import AmplifyLowFrequencies, Novelty, SigmaWindow, amplified, cads, draw, freeu
from genmend.diffusion.amplification.control_bands import AmplifyBand
from genmend.diffusion.baselines.boosted_noise import boosted_latents
from genmend.diffusion.inspection.attention_maps import attention_maps
from genmend.diffusion.inspection.band_energy import band_energy
from genmend.diffusion.inspection.capture import capture
from genmend.diffusion.search.scorers import class_probability
from genmend.diffusion.search.trials import make_measure

pytestmark = pytest.mark.all  # half a minute of CPU

FAST = {"num_inference_steps": 2, "height": 32, "width": 32}


def drawn(pipe, **settings):
    return draw(pipe, "a red chair", range(2), **FAST | settings)


def amplified_unet(pipe):
    with amplified(pipe, down=(1.5,), mid=2.0, cutoff=2, schedule=SigmaWindow(0.0, 100.0)):
        return drawn(pipe)


def amplified_by_every_form(pipe):
    forms = (
        {"mean_gain": 1.0},
        {"keep_energy": True},
        {"rows": "conditional"},
        {"where": torch.ones(2, 2)},
        {"as_published": True},
        {"cutoff": 6},  # by the Fourier transform
    )
    edits = [AmplifyLowFrequencies("mid_block", **{"gain": 1.5, "cutoff": 1} | form) for form in forms]
    with amplified(pipe, edits=edits):
        return drawn(pipe)


def amplified_in_other_bands(pipe):
    bands = [AmplifyBand("mid_block", 1.5, 1, band=band) for band in ("full", "high", "noise", "random")]
    with amplified(pipe, edits=bands):
        return drawn(pipe)


def baselines(pipe):
    with cads(pipe, 0.1), freeu(pipe, 1.2, 1.4, 0.9, 0.2, stage_channels=(64, 32)):
        with_both = drawn(pipe)
    with freeu(pipe, 1.2, 1.4, 0.9, 0.2, stage_channels=(64, 32), form="authors"):
        return torch.cat([with_both, drawn(pipe)])


def from_boosted_noise(pipe):
    latents = boosted_latents(pipe, 1.1, seeds=range(2), height=32, width=32)
    return pipe(["a red chair"] * 2, latents=latents, output_type="pt", **FAST).images


def looked_into(pipe):
    with attention_maps(pipe) as maps, band_energy(pipe, 1) as energies, capture(pipe, ["mid"]) as features:
        drawn(pipe)
    words = maps.result("a red chair")
    shown = energies.result()
    return words.for_word("chair"), features.stacked("mid"), shown.shares_before


JOBS = (amplified_unet, amplified_by_every_form, amplified_in_other_bands, baselines, from_boosted_noise, looked_into)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("job", JOBS)
def test_a_pipeline_draws_on_the_device_as_on_the_cpu(job, dtype, tmp_path):
    expected = job(diffusion_toys.sd15(tmp_path).to(dtype))
    pipe = diffusion_toys.sd15(tmp_path)
    with labelled_device() as device:
        same(job(pipe.to(device, dtype)), expected)


def same(found, expected):
    if isinstance(found, tuple):
        for one, other in zip(found, expected, strict=True):
            same(one, other)
    else:
        torch.testing.assert_close(found.cpu(), expected, rtol=0, atol=0)


def test_gains_are_measured(tmp_path):
    def found(pipe):
        images = draw(pipe, "a", range(6), **FAST)
        novelty = Novelty(lambda images: images.mean((2, 3)), k=2).fit({"a": images})
        network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 32 * 32, 2)).requires_grad_(False)
        torch.nn.init.ones_(network[1].weight)
        network.to(pipe.device)
        measure = make_measure(pipe, "a", {"class": class_probability(network, {"a": 0})}, novelty, **FAST)
        scores = measure((AmplifyLowFrequencies("mid_block", 2.0, 1),), range(2))
        return torch.from_numpy(scores.novelty), torch.from_numpy(scores.usability["class"])

    expected = found(diffusion_toys.sd15(tmp_path))
    pipe = diffusion_toys.sd15(tmp_path)
    with labelled_device() as device:
        same(found(pipe.to(device)), expected)


@pytest.mark.parametrize("family", ["pixart", "sd3", "flux"])
def test_tokens_of_a_transformer_are_amplified_on_the_device(family, tmp_path):
    def drawn_by(pipe):
        draw = torch.Generator().manual_seed(1)
        texts = {"prompt": None, "prompt_embeds": torch.randn(1, 6, 32, generator=draw)}
        if family == "pixart":
            mask = torch.ones(1, 6)
            texts |= {"prompt_attention_mask": mask, "negative_prompt_attention_mask": mask}
            texts |= {"negative_prompt": None, "use_resolution_binning": False}
        else:
            texts["pooled_prompt_embeds"] = torch.randn(1, {"sd3": 64, "flux": 32}[family], generator=draw)
        if family == "sd3":
            texts["negative_pooled_prompt_embeds"] = torch.zeros(1, 64)
        if family != "flux":
            texts["negative_prompt_embeds"] = torch.zeros(1, 6, 32)
        there = {name: one.to(pipe.device) if isinstance(one, torch.Tensor) else one for name, one in texts.items()}
        noise = nullcontext() if family == "flux" else cads(pipe, 0.1)
        with amplified(pipe, blocks={0: 1.5, 1: 1.5}), noise:
            return pipe(generator=torch.Generator().manual_seed(0), output_type="pt", **FAST | there).images

    expected = drawn_by(getattr(diffusion_toys, family)(tmp_path))
    pipe = getattr(diffusion_toys, family)(tmp_path)
    with labelled_device() as device:
        same(drawn_by(pipe.to(device)), expected)
