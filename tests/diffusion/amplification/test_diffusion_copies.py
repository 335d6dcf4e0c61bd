"""What becomes of an amplification when the network is compiled, copied, replaced, or shared while it is on."""

import copy
import gc

import diffusion_toys
import numpy as np
import pytest
import torch
from diffusers import StableDiffusionImg2ImgPipeline, StableDiffusionPipeline, UNet2DConditionModel
from tiny_transformers import TINY

from genmend.diffusion import SigmaWindow, amplified, disable_amplification, enable_amplification
from genmend.diffusion.amplification.attached import enabled_by, enabled_on

GAINS = {"down": (1.5,), "mid": 3.0, "cutoff": 2}


def draw(pipe, n=1, **settings):
    words = {"prompt": ["a chair"] * n, "num_inference_steps": 1, "height": 16, "width": 16, "output_type": "latent"}
    return pipe(generator=[torch.Generator().manual_seed(i) for i in range(n)], **(words | settings)).images


def no_hooks(network):
    return not any(part._forward_hooks or part._forward_pre_hooks for part in network.modules())


@pytest.fixture
def pipe(tmp_path):
    return diffusion_toys.sd15(tmp_path)


@pytest.fixture
def small(pipe):
    """With a network that is quickly compiled."""
    torch._dynamo.reset()
    pipe.unet = UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(8, 8),
        layers_per_block=1,
        down_block_types=("DownBlock2D",) * 2,
        up_block_types=("UpBlock2D",) * 2,
        cross_attention_dim=32,
        attention_head_dim=4,
        norm_num_groups=4,
    )
    yield pipe
    torch._dynamo.reset()


@pytest.mark.all
class TestCompiledWhileOn:
    @pytest.mark.parametrize("how", ["wrapped", "in place"])
    def test_disabling_and_enabling_again(self, small, how):
        pipe, plain = small, draw(small)
        with amplified(pipe, **GAINS):
            expected = draw(pipe)
        with amplified(pipe, mid=2.0, cutoff=100):
            other = draw(pipe)
        enable_amplification(pipe, **GAINS, schedule=SigmaWindow(0, 1e6) if how == "wrapped" else None)
        if how == "wrapped":
            pipe.unet = torch.compile(pipe.unet, backend="eager")
        else:
            pipe.unet.compile(backend="eager")
        torch.testing.assert_close(draw(pipe), expected)
        enable_amplification(pipe, mid=2.0, cutoff=100)  # in the place of the first, not on top
        torch.testing.assert_close(draw(pipe), other)
        disable_amplification(pipe)
        torch.testing.assert_close(draw(pipe), plain)

    @pytest.mark.parametrize("before", [False, True])
    def test_rows_follow_the_guidance_of_a_compiled_network(self, small, before):
        pipe, settings = small, {"mid": 3.0, "cutoff": 100, "rows": "unconditional"}
        plain = draw(pipe, guidance_scale=0.0)
        with amplified(pipe, **settings):
            expected = draw(pipe)
        if before:  # then the wrapper watches, and the graph stays whole
            pipe.unet = torch.compile(pipe.unet, backend="eager", fullgraph=True)
            enable_amplification(pipe, **settings)
        else:
            enable_amplification(pipe, **settings)
            pipe.unet = torch.compile(pipe.unet, backend="eager")
        torch.testing.assert_close(draw(pipe), expected)
        torch.testing.assert_close(draw(pipe, guidance_scale=0.0), plain)
        torch.testing.assert_close(draw(pipe), expected)


@pytest.mark.all
@pytest.mark.parametrize("before", [False, True])
def test_a_compiled_transformer(before):
    torch._dynamo.reset()
    pipe, given = TINY["FLUX.1"].made(3, 12, 1)

    def drawn():
        return pipe(**given, num_inference_steps=1, output_type="latent", generator=torch.Generator().manual_seed(0))[0]

    plain = drawn()
    with amplified(pipe, blocks={0: 3.0}):
        expected = drawn()
    if before:
        pipe.transformer = torch.compile(pipe.transformer, backend="eager")
    active = enable_amplification(pipe, blocks={0: 3.0})
    if not before:
        pipe.transformer = torch.compile(pipe.transformer, backend="eager")
    torch.testing.assert_close(drawn(), expected)
    active.set(strength=0.0)
    torch.testing.assert_close(drawn(), plain)
    disable_amplification(pipe)
    torch.testing.assert_close(drawn(), plain)
    with pytest.raises(RuntimeError, match="already run"):  # what hooks there were is in the graph
        enable_amplification(pipe, blocks={0: 3.0})
    torch._dynamo.reset()


class TestCopied:
    def test_a_copy_has_its_own(self, pipe):
        plain = draw(pipe)
        active = enable_amplification(pipe, **GAINS, rows="conditional")
        expected = draw(pipe)
        other = copy.deepcopy(pipe)
        assert torch.equal(draw(other), expected)
        (theirs,) = enabled_by(other)
        assert theirs is not active
        theirs.set(strength=0.0)
        assert torch.equal(draw(other), plain)
        assert torch.equal(draw(pipe), expected)
        disable_amplification(other)
        assert torch.equal(draw(other), plain)
        assert no_hooks(other.unet)
        assert torch.equal(draw(pipe), expected)
        disable_amplification(pipe)
        assert no_hooks(pipe.unet)
        assert enabled_on(pipe.unet) is None

    def test_of_the_network_alone_and_of_the_bytes(self, pipe, tmp_path):
        enable_amplification(pipe, **GAINS, rows="conditional")
        torch.save(pipe.unet, tmp_path / "unet.pt")
        for other in (copy.deepcopy(pipe.unet), torch.load(tmp_path / "unet.pt", weights_only=False)):
            disable_amplification(other)
            assert no_hooks(other)
        assert not no_hooks(pipe.unet)

    def test_in_the_place_of_the_network(self, pipe):
        plain = draw(pipe)
        enable_amplification(pipe, **GAINS)
        first = pipe.unet
        pipe.unet = copy.deepcopy(first)
        disable_amplification(pipe)
        assert torch.equal(draw(pipe), plain)
        assert no_hooks(first)


class TestReplaced:
    @pytest.mark.parametrize("again", [False, True])
    def test_the_old_network_is_cleared(self, pipe, again):
        old, new = pipe.unet, diffusion_toys.sd15_unet()
        enable_amplification(pipe, **GAINS)
        pipe.unet = new
        plain = draw(pipe)
        if again:
            enable_amplification(pipe, **GAINS)
            assert no_hooks(old)
            assert not torch.equal(draw(pipe), plain)
        disable_amplification(pipe)
        assert no_hooks(old)
        assert no_hooks(new)
        assert torch.equal(draw(pipe), plain)

    def test_taken_out_or_wrapped(self, pipe):
        old = pipe.unet
        enable_amplification(pipe, **GAINS)
        pipe.unet = None
        disable_amplification(pipe)
        assert no_hooks(old)
        pipe.unet = old
        enable_amplification(pipe, **GAINS)
        pipe.unet = torch.nn.DataParallel(old)
        disable_amplification(pipe)
        assert no_hooks(old)

    def test_within_a_block(self, pipe):
        old, new = pipe.unet, diffusion_toys.sd15_unet()
        with amplified(pipe, **GAINS):
            pipe.unet = new
        assert no_hooks(old)
        assert no_hooks(new)


class TestShared:
    def pair(self, pipe):
        other = StableDiffusionPipeline(**pipe.components, requires_safety_checker=False)
        other.set_progress_bar_config(disable=True)
        return other

    @pytest.mark.parametrize("settings", [{"rows": "conditional"}, {"schedule": SigmaWindow(0.0, 1e6)}])
    def test_the_pipeline_that_enabled_it_is_gone(self, pipe, settings):
        other = self.pair(pipe)
        enable_amplification(pipe, **GAINS, **settings)
        expected = draw(pipe)
        name = pipe.unet
        del pipe
        gc.collect()
        assert torch.equal(draw(other), expected)
        disable_amplification(other)
        assert no_hooks(name)

    def test_the_guidance_is_that_of_the_pipeline_that_runs(self, pipe):
        other = self.pair(pipe)
        settings = {"mid": 3.0, "cutoff": 100, "rows": "unconditional"}
        with amplified(pipe, **settings):
            guided = draw(pipe, n=2)
        plain = draw(other, n=2, guidance_scale=0.0)
        enable_amplification(pipe, **settings)
        draw(pipe, n=2)
        assert torch.equal(draw(other, n=2, guidance_scale=0.0), plain)
        draw(pipe, n=2, guidance_scale=0.0)
        assert torch.equal(draw(other, n=2), guided)

    def test_the_noise_level_is_that_of_the_pipeline_that_runs(self, pipe):
        from diffusers import EulerDiscreteScheduler

        other = StableDiffusionImg2ImgPipeline(**pipe.components, requires_safety_checker=False)
        other.set_progress_bar_config(disable=True)
        other.scheduler = EulerDiscreteScheduler()
        asked = []
        enable_amplification(pipe, **GAINS, schedule=lambda sigma: asked.append(sigma) or 1.0)
        other("a", torch.rand(1, 3, 32, 32), num_inference_steps=4, strength=0.5, output_type="latent")
        assert asked == pytest.approx([float(sigma) for sigma in other.scheduler.sigmas[2:4]])

    def test_outside_any_pipeline_rows_are_refused(self, pipe):
        enable_amplification(pipe, mid=3.0, rows="conditional")
        with pytest.raises(ValueError, match="outside any pipeline"), torch.no_grad():
            pipe.unet(torch.randn(2, 4, 16, 16), 5, torch.randn(2, 4, 32))


class TestHandles:
    def test_alive_after_an_inner_block(self, pipe):
        plain = draw(pipe)
        outer = enable_amplification(pipe, **GAINS)
        whole = draw(pipe)
        with amplified(pipe, mid=2.0):
            outer.set(strength=0.5)
        half = draw(pipe)
        outer.set(strength=1.0)
        assert torch.equal(draw(pipe), whole)
        assert not torch.equal(half, whole)
        with amplified(pipe, mid=2.0):
            outer.remove()
        assert torch.equal(draw(pipe), plain)

    def test_after_a_refused_one(self, pipe):
        outer = enable_amplification(pipe, **GAINS)
        whole = draw(pipe)
        with pytest.raises(ValueError, match="values outside"):
            enable_amplification(pipe, mid=2.0, where=torch.full((2, 2), 3.0))
        with pytest.raises(LookupError), amplified(pipe, edits=[type(outer.edits[0])("nowhere", 2.0, 2)]):
            pass
        assert torch.equal(draw(pipe), whole)
        outer.set(strength=0.0)
        assert not np.array_equal(draw(pipe), whole)


def test_a_traced_network_keeps_what_was_on(pipe):
    enable_amplification(pipe, **GAINS)
    network = pipe.unet
    pipe.unet = torch.jit.trace(torch.nn.Conv2d(4, 4, 1), torch.randn(1, 4, 2, 2))
    with pytest.warns(UserWarning, match="make it anew"):
        disable_amplification(pipe)
    assert no_hooks(network)
