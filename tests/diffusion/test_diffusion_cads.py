"""CADS: what the denoiser gets, at which noise level, in which rows; and that nothing stays."""

import diffusion_toys
import pytest
import torch

from genmend.diffusion import cads
from genmend.diffusion.baselines.cads import annealing, noised_condition

TEXT = torch.randn(2, 5, 32, generator=torch.Generator().manual_seed(3)) + 2


class Denoiser(torch.nn.Module):
    """Returns its arguments."""

    def forward(self, sample, timestep, encoder_hidden_states, added_cond_kwargs=None, pooled_projections=None):
        return encoder_hidden_states, added_cond_kwargs, pooled_projections


def given(timestep, text=TEXT, denoiser=None, **settings):
    denoiser = denoiser or Denoiser()
    with cads(denoiser, **settings):
        return denoiser(torch.zeros(1), timestep, text)[0]


def definition(y, noise, gamma, scale, psi):
    """One sample at a time, in float64."""
    rows = []
    for one, n in zip(y.double(), noise.double(), strict=True):
        noised = gamma**0.5 * one + scale * (1 - gamma) ** 0.5 * n
        rescaled = (noised - noised.mean()) / noised.std() * one.std() + one.mean()
        rows.append(psi * rescaled + (1 - psi) * noised)
    return torch.stack(rows)


@pytest.mark.parametrize("psi", [0.0, 0.4, 1.0])
def test_equals_the_definition(psi):
    noise = torch.randn(2, 5, 32)
    made = noised_condition(TEXT, noise, 0.3, 0.5, psi)
    torch.testing.assert_close(made.double(), definition(TEXT, noise, 0.3, 0.5, psi), atol=1e-5, rtol=1e-5)


def test_the_denoiser_gets_it():
    rows = [torch.randn(5, 32, generator=torch.Generator().manual_seed(7 + i)) for i in range(2)]
    expected = definition(TEXT, torch.stack(rows), annealing(0.75, 0.6, 0.9), 0.25, 1.0)
    torch.testing.assert_close(given(750, scale=0.25, seed=7).double(), expected, atol=1e-5, rtol=1e-5)
    assert given(600) is TEXT
    assert given(torch.tensor([100, 100])) is TEXT


def test_fixed_noise_and_noise_redrawn():
    denoiser = Denoiser()
    for redraw in (True, False):
        with cads(denoiser, redraw=redraw):
            first, second = (denoiser(None, 950, TEXT)[0] for _ in range(2))
        assert torch.equal(first, second) is not redraw
        torch.testing.assert_close(given(950, redraw=redraw), first)
    assert not torch.equal(given(950, seed=2), first)


def test_batch_independence_and_half_precision():
    torch.testing.assert_close(given(800)[:1], given(800, TEXT[:1]))
    for dtype in (torch.float16, torch.bfloat16):
        half = given(800, TEXT.to(dtype))
        assert half.dtype == dtype
        torch.testing.assert_close(half.float(), given(800), atol=0.03, rtol=0.02)


def test_pooled_embeddings_change_and_arguments_do_not():
    denoiser, pooled = Denoiser(), torch.randn(2, 8)
    more, before = {"text_embeds": pooled, "time_ids": torch.ones(2, 6)}, TEXT.clone()
    with cads(denoiser, guided=True):
        text, made, projections = denoiser(None, timestep=950, encoder_hidden_states=TEXT, added_cond_kwargs=more,
                                           pooled_projections=pooled)  # fmt: skip
    for now, then in ((text, TEXT), (made["text_embeds"], pooled), (projections, pooled)):
        assert torch.equal(now[:1], then[:1])
        assert (now[1:] - then[1:]).abs().min() > 0
    assert torch.equal(made["time_ids"], more["time_ids"])
    assert more["text_embeds"] is pooled
    assert torch.equal(TEXT, before)


@pytest.mark.parametrize("family", ["sd15", "sdxl"])
def test_pipelines(family, tmp_path):
    pipe = getattr(diffusion_toys, family)(tmp_path)

    def draw():
        return pipe(
            "a chair",
            num_inference_steps=2,
            height=32,
            width=32,
            output_type="latent",
            generator=torch.Generator().manual_seed(0),
        ).images

    plain, seen = draw(), []
    with cads(pipe, 0.25, tau1=0.2):
        spy = pipe.unet.register_forward_pre_hook(lambda _, inputs, named: seen.append(named), with_kwargs=True)
        made = draw()
        spy.remove()
    assert (made - plain).abs().max() > 1e-5
    assert torch.equal(draw(), plain)
    assert not pipe.unet._forward_pre_hooks
    noisy, clean = (call["encoder_hidden_states"] for call in (seen[0], seen[-1]))
    assert torch.equal(noisy[:1], clean[:1])
    assert not torch.equal(noisy[1:], clean[1:])
    if family == "sdxl":
        noisy, clean = (call["added_cond_kwargs"]["text_embeds"] for call in (seen[0], seen[-1]))
        assert torch.equal(noisy[:1], clean[:1])
        assert not torch.equal(noisy[1:], clean[1:])


def test_transformers(tmp_path):
    """Flux's pipeline gives timesteps in 0..1 and says by another name whether it is guided."""
    pipe = diffusion_toys.flux(tmp_path)
    words = {"prompt_embeds": torch.randn(1, 4, 32), "pooled_prompt_embeds": torch.randn(1, 32),
             "num_inference_steps": 2, "height": 16, "width": 16, "output_type": "latent"}  # fmt: skip

    def draw():
        return pipe(generator=torch.Generator().manual_seed(0), **words).images

    plain = draw()
    with cads(pipe, 0.25, guided=False):
        assert (draw() - plain).abs().max() > 1e-5
    with cads(pipe, 0.25):
        assert (draw() - plain).abs().max() > 1e-5
    assert torch.equal(draw(), plain)


@pytest.mark.parametrize(
    ("settings", "words"),
    [({"scale": -1}, "scale is -1"), ({"psi": 1.5}, "from 0 to 1"), ({"tau1": 0.8, "tau2": 0.5}, "swap them"),
     ({"scale": float("nan")}, "scale is nan")],
)  # fmt: skip
def test_numbers_out_of_range(settings, words):
    denoiser = Denoiser()
    with pytest.raises(ValueError, match=words), cads(denoiser, **settings):
        pass
    assert not denoiser._forward_pre_hooks


def test_a_denoiser_without_text():
    with pytest.raises(TypeError, match="needs text embeddings"):
        given(950, text=None)
