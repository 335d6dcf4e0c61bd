"""Which rows of a call are conditional: two groups or three, in any order, in one call or in calls of their own."""

import warnings
from inspect import signature

import diffusers
import diffusion_toys
import pytest
import torch
from tiny_transformers import TINY

from genmend.diffusion import amplified, cads
from genmend.diffusion.inspection.attention_maps import attention_maps
from genmend.diffusion.inspection.capture import capture

EVERYWHERE = {"mid": 3.0, "cutoff": 100}


class Rows:
    """What the middle block returns, call by call, before (`plain`) and after the edits (`made`)."""

    def __init__(self, pipe):
        self.pipe = pipe

    def __call__(self, *arguments, **settings):
        outputs = []
        hook = self.pipe.unet.mid_block.register_forward_hook(lambda block, inputs, out: outputs.append(out.clone()))
        self.pipe(*arguments, num_inference_steps=1, generator=torch.Generator().manual_seed(0), output_type="latent",
                  **settings)  # fmt: skip
        hook.remove()
        return outputs[0]

    def changed(self, rows, *arguments, **settings):
        plain = self(*arguments, **settings)
        with amplified(self.pipe, **EVERYWHERE, rows=rows):
            made = self(*arguments, **settings)
        return [bool(row) for row in ((made - plain).abs().amax((1, 2, 3)) > 1e-4)]


def pag(folder):
    return diffusion_toys.quiet(
        diffusers.StableDiffusionPAGPipeline(**diffusion_toys.sd15(folder).components, requires_safety_checker=False)
    )


def pix2pix(folder):
    parts = diffusion_toys.sd15(folder).components
    parts["unet"] = diffusion_toys.sd15_unet(in_channels=8)
    return diffusion_toys.quiet(
        diffusers.StableDiffusionInstructPix2PixPipeline(**parts, requires_safety_checker=False)
    )


def pix2pix_xl(folder):
    parts = diffusion_toys.sdxl(folder, in_channels=8).components
    taken = signature(diffusers.StableDiffusionXLInstructPix2PixPipeline).parameters
    parts = {name: part for name, part in parts.items() if name in taken}
    return diffusion_toys.quiet(diffusers.StableDiffusionXLInstructPix2PixPipeline(**parts, add_watermarker=False))


@pytest.mark.parametrize("n", [1, 2])
class TestThreeGroups:
    def test_perturbed_attention(self, tmp_path, n):
        rows = Rows(pag(tmp_path))
        settings = {"prompt": ["a chair"] * n, "height": 16, "width": 16, "pag_scale": 2.0}
        groups = {"unconditional": (1, 0, 0), "conditional": (0, 1, 1)}
        for name, expected in groups.items():
            assert rows.changed(name, **settings) == [bool(one) for one in expected for _ in range(n)]
        assert rows.changed("conditional", **settings | {"guidance_scale": 0.0}) == [True] * 2 * n
        assert rows.changed("unconditional", **settings | {"guidance_scale": 0.0}) == [False] * 2 * n
        assert rows.changed("conditional", **settings | {"pag_scale": 0.0}) == [False] * n + [True] * n

    @pytest.mark.parametrize("made", [pix2pix, pix2pix_xl])
    def test_instruct_pix2pix(self, tmp_path, n, made):
        rows = Rows(made(tmp_path))
        settings = {"prompt": ["a chair"] * n, "image": torch.rand(n, 3, 16, 16), "image_guidance_scale": 1.5,
                    "height": 16, "width": 16}  # fmt: skip
        assert rows.changed("conditional", **settings) == [True] * n + [False] * 2 * n
        assert rows.changed("unconditional", **settings) == [False] * n + [True] * 2 * n

    def test_an_order_that_is_not_known_is_refused(self, tmp_path, n):
        pipe = diffusion_toys.sd15(tmp_path)

        class Loop:
            """A pipeline of somebody else's."""

            def __init__(self):
                self.unet, self.scheduler = pipe.unet, pipe.scheduler
                self.do_classifier_free_guidance = True

            def __call__(self):
                latents = torch.randn(n, 4, 16, 16)
                with torch.no_grad():
                    self.unet(latents.repeat(3, 1, 1, 1), 5, torch.randn(3 * n, 4, 32))

        with amplified(pipe, **EVERYWHERE, rows="conditional"), pytest.raises(ValueError, match="is not known"):
            Loop()()


def test_the_negative_text_tells_the_order(tmp_path):
    """Of a pipeline that nobody knows, with its conditional rows first."""
    unet = diffusion_toys.sd15_unet().eval()

    class Loop:
        def __init__(self):
            self.unet, self.scheduler, self.do_classifier_free_guidance = unet, object(), True

        def __call__(self, n):
            latents, negative_prompt_embeds = torch.randn(n, 4, 16, 16), torch.zeros(n, 4, 32)
            text = torch.cat([torch.randn(n, 4, 32), negative_prompt_embeds])
            with torch.no_grad():
                self.unet(torch.cat([latents] * 2), 5, encoder_hidden_states=text)

    loop = Loop()
    with capture(loop, ["mid"]) as whole, capture(loop, ["mid"], rows="conditional") as half:
        loop(2)
    assert torch.equal(half.stacked("mid")[0], whole.stacked("mid")[0, :2])


def test_maps_of_perturbed_attention_have_one_row_for_each_image(tmp_path):
    pipe = pag(tmp_path)
    with attention_maps(pipe) as maps:
        pipe(["a", "b"], num_inference_steps=1, height=16, width=16, output_type="latent", pag_scale=2.0)
    assert maps.result().maps.shape[0] == 2


@pytest.mark.parametrize(("family", "more", "expected"), [
    ("Z-Image", {}, [[0, 1]]),  # its conditional rows come first
    ("Z-Image", {"guidance_scale": 0.0}, [[0, 1]]),
    ("Z-Image", {"cfg_truncation": 0.5}, [[0, 1]]),
    ("FLUX.1", {}, [[0, 1]]),
    ("Qwen-Image", {}, [[0, 1]]),
    ("Qwen-Image", {"true_cfg_scale": 4.0, "negative_prompt_embeds": torch.zeros(2, 24, 8),
                    "negative_prompt_embeds_mask": torch.ones(2, 24).long()}, [[0, 1], []]),
])  # fmt: skip
def test_which_rows_of_a_transformer_are_conditional(family, more, expected):
    pipe, given = TINY[family].made(4, 6, 2)
    layer = f"{next(iter(TINY[family].blocks))}.0"
    with capture(pipe, [layer], rows="conditional") as half, capture(pipe, [layer]) as whole:
        pipe(**given | more, num_inference_steps=1, output_type="latent", generator=torch.Generator().manual_seed(0))
    for found, everything, rows in zip(half[layer], whole[layer], expected, strict=True):
        assert torch.equal(found, everything[rows])


class Separate:
    """Wan: the conditional and the unconditional rows come in calls of their own."""

    def __init__(self):
        torch.manual_seed(0)
        self.transformer = diffusers.WanTransformer3DModel(
            in_channels=4, out_channels=4, text_dim=8, freq_dim=8, ffn_dim=8, num_layers=1, rope_max_seq_len=32,
            num_attention_heads=2, attention_head_dim=12,
        )  # fmt: skip
        self.pipe = diffusion_toys.quiet(
            diffusers.WanPipeline(tokenizer=None, text_encoder=None, vae=None, transformer=self.transformer,
                                  scheduler=diffusers.FlowMatchEulerDiscreteScheduler())
        )  # fmt: skip

    def run(self, n=2, steps=2, guidance_scale=5.0):
        draw = torch.Generator().manual_seed(1)
        self.text, self.negative = (torch.randn(n, 6, 8, generator=draw) for _ in range(2))
        heard = []
        spy = self.transformer.register_forward_pre_hook(
            lambda _, inputs, named: heard.append(named["encoder_hidden_states"].clone()), with_kwargs=True
        )
        self.pipe(
            prompt_embeds=self.text, negative_prompt_embeds=self.negative, num_inference_steps=steps, height=32,
            width=32, num_frames=1, output_type="latent", guidance_scale=guidance_scale, generator=draw,
        )  # fmt: skip
        spy.remove()
        return heard


class TestSeparateCalls:
    def test_noise_on_each_conditional_row_and_on_no_other(self):
        wan = Separate()
        with cads(wan.pipe, 0.5, tau1=0.1, tau2=1.0, redraw=False):
            first, against, *_ = wan.run()
        assert torch.equal(against, wan.negative)
        for row in range(2):
            assert (first[row] - wan.text[row]).abs().max() > 0.1
        with cads(wan.pipe, 0.5, tau1=0.1, tau2=1.0, redraw=False):
            (alone, *_) = wan.run(guidance_scale=1.0)
        assert torch.equal(alone, first)

    def test_features_of_the_conditional_calls(self):
        wan = Separate()
        with capture(wan.pipe, ["blocks.0"], rows="conditional") as half, capture(wan.pipe, ["blocks.0"]) as whole:
            wan.run(steps=1)
        assert [len(rows) for rows in half["blocks.0"]] == [2, 0]
        assert torch.equal(half["blocks.0"][0], whole["blocks.0"][0])

    def test_a_prompt_that_is_never_heard_is_said(self):
        wan = Separate()
        with pytest.warns(UserWarning, match="in place of the prompt at all 2 steps"), cads(wan.pipe, 0.5):
            wan.run(steps=1)
        with warnings.catch_warnings(action="error", category=UserWarning), cads(wan.pipe, 0.5):
            wan.run(steps=4)


def test_the_prompt_of_perturbed_rows_has_the_same_noise(tmp_path):
    pipe, heard = pag(tmp_path), []
    with cads(pipe, 0.5, tau1=0.1, tau2=1.0):
        pipe.unet.register_forward_pre_hook(
            lambda _, inputs, named: heard.append(named["encoder_hidden_states"]), with_kwargs=True
        )
        pipe(["a", "b"], num_inference_steps=1, height=16, width=16, output_type="latent", pag_scale=2.0)
    unconditional, conditional, perturbed = heard[0].split(2)
    assert torch.equal(conditional, perturbed)
    assert not torch.equal(conditional[0], conditional[1])
    assert torch.equal(unconditional[0], unconditional[1])
