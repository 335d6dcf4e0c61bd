"""Networks that amplification fits, and those it is not for: said at enabling, never while a pipeline runs."""

import copy

import diffusers
import diffusion_toys
import pytest
import torch
from tiny_transformers import TINY

from genmend.activations.correction import CorrectionMismatchError
from genmend.activations.digests import weights_digests
from genmend.diffusion import (
    AmplifyLowFrequencies,
    SigmaWindow,
    amplified,
    disable_amplification,
    enable_amplification,
    save_amplification,
)
from genmend.diffusion.amplification.control_bands import AmplifyBand
from genmend.diffusion.amplification.plug_in import read_amplification
from genmend.diffusion.pipeline_parts import denoiser_of, sigma_of

GAINS = {"down": (1.5,), "mid": 2.0, "cutoff": 2}


class TestOtherLayouts:
    def test_a_preset_of_another_family(self, tmp_path):
        sd15, sdxl = diffusion_toys.sd15_unet(), diffusion_toys.sdxl(tmp_path).unet
        for unet, preset, words in (
            (sd15, "sdxl-turbo", "presets of its layout are sd-1.5, sd-2.1"),
            (sdxl, "sd-1.5", "presets of its layout are sdxl-turbo"),
            (diffusers.UNet2DModel(block_out_channels=(8, 8), down_block_types=("DownBlock2D",) * 2,
                                   up_block_types=("UpBlock2D",) * 2, norm_num_groups=4, attention_head_dim=4),
             "sdxl", "give gains"),
        ):  # fmt: skip
            with pytest.raises(ValueError, match=words):
                enable_amplification(unet, preset)

    def test_sound_has_no_maps(self):
        unet = diffusers.UNet1DModel(
            sample_size=64, extra_in_channels=16, block_out_channels=(8, 8, 16),
            down_block_types=("DownBlock1DNoSkip", "DownBlock1D", "AttnDownBlock1D"), mid_block_type="UNetMidBlock1D",
            up_block_types=("AttnUpBlock1D", "UpBlock1D", "UpBlock1DNoSkip"),
        )  # fmt: skip
        for gains in ({"down": (1.0, 1.5)}, {"mid": 1.5}):
            with pytest.raises(TypeError, match="no 2-D convolution"):
                enable_amplification(unet, **gains)

    def test_blocks_that_are_lists_are_never_called(self):
        unet = diffusers.models.unets.StableCascadeUNet(
            in_channels=4, out_channels=4, conditioning_dim=8, block_out_channels=(8, 16), num_attention_heads=(0, 2),
            down_num_layers_per_block=(1, 1), up_num_layers_per_block=(1, 1), down_blocks_repeat_mappers=(1, 1),
            up_blocks_repeat_mappers=(1, 1), patch_size=1, timestep_ratio_embedding_dim=8,
            block_types_per_layer=(("SDCascadeResBlock",), ("SDCascadeResBlock",)),
        )  # fmt: skip

        class Cascade:
            decoder, scheduler = unet, None

        assert denoiser_of(Cascade()) is unet
        with pytest.raises(TypeError, match="list of layers, which is never called"):
            enable_amplification(Cascade(), down=(1.5,))
        with pytest.raises(TypeError, match="list of layers, which is never called"):
            enable_amplification(unet, edits=[AmplifyLowFrequencies("down_blocks.1", 1.5, 2)])
        with amplified(unet, edits=[AmplifyLowFrequencies("down_blocks.0.0", 1.5, 2)]) as active:
            assert active.edits

    def test_what_is_neither_a_u_net_nor_a_transformer(self):
        class Original(torch.nn.Module):
            """Block names of before diffusers."""

            def __init__(self):
                super().__init__()
                self.input_blocks = torch.nn.ModuleList([torch.nn.Conv2d(4, 4, 1)])

        for gains, error, words in (
            ({"blocks": {0: 1.1}}, ValueError, "Original is neither one that is known nor a U-Net"),
            ({"down": (1.1,)}, TypeError, "Original has no down_blocks"),
            ({"preset": "sdxl"}, ValueError, "this Original has 0"),
        ):
            with pytest.raises(error, match=words):
                enable_amplification(Original(), **gains)

    def test_within_a_wrapper_from_the_start(self):
        unet = diffusion_toys.sd15_unet()
        wrapped = torch.nn.DataParallel(unet)
        with amplified(wrapped, **GAINS) as active:
            assert [edit.layer for edit in active.edits] == ["down_blocks.0", "mid_block"]
            assert unet.mid_block._forward_hooks
        assert not unet.mid_block._forward_hooks


class TestTwoDenoisers:
    """Wan 2.2: one for high noise, one for low noise."""

    def test_refused_until_each_is_named(self):
        pipe, _ = TINY["Wan"].made(4, 6, 1)
        pipe.register_modules(transformer_2=copy.deepcopy(pipe.transformer))
        with pytest.raises(ValueError, match=r"2 denoisers, transformer and transformer_2; enable on each by itself"):
            enable_amplification(pipe, blocks={0: 1.2})
        both = (pipe.transformer, pipe.transformer_2)
        for network in both:
            enable_amplification(network, blocks={0: 1.2})
        disable_amplification(pipe)
        assert not any(network._forward_pre_hooks or network.blocks[0]._forward_hooks for network in both)
        pipe.register_modules(transformer=None)  # low noise alone
        assert denoiser_of(pipe) is both[1]


class TestAdapters:
    """A T2I-Adapter's residual is added in place to what the first block returned, which is a skip too."""

    def residuals(self):
        draw = torch.Generator().manual_seed(5)
        return [torch.randn(1, *shape, generator=draw) for shape in ((32, 8, 8), (64, 8, 8), (64, 4, 4))]

    def test_nothing_at_strength_0_and_the_skips_whole(self, tmp_path):
        unet = diffusion_toys.sdxl(tmp_path).unet
        given = (torch.randn(1, 4, 16, 16), 5, torch.randn(1, 4, 64))
        more = {"added_cond_kwargs": {"text_embeds": torch.randn(1, 32), "time_ids": torch.zeros(1, 6)}}
        skips = []
        unet.up_blocks[-1].register_forward_pre_hook(
            lambda _, inputs, named: skips.append(named["res_hidden_states_tuple"]), with_kwargs=True
        )

        @torch.no_grad()
        def run(name="down_intrablock_additional_residuals"):
            return unet(*given, **more, **{name: self.residuals()}).sample

        plain = run()
        with amplified(unet, down=(2.0,), cutoff=2) as active:
            whole = run()
            assert torch.equal(skips[1][-1], skips[0][-1])
            assert (whole - plain).abs().max() > 1e-3
            active.set(strength=0.0)
            assert torch.equal(run(), plain)
            assert torch.equal(run("down_block_additional_residuals"), plain)  # its former name
            with torch.no_grad():
                without = unet(*given, **more).sample
        with torch.no_grad():
            assert torch.equal(unet(*given, **more).sample, without)
        assert torch.equal(run(), plain)
        assert not any(block._forward_hooks for block in unet.down_blocks)


@pytest.mark.parametrize("edit", [
    AmplifyLowFrequencies("0", 2.0, 2),
    AmplifyLowFrequencies("0", 2.0, 2, rows="conditional"),
    AmplifyLowFrequencies("0", 2.0, 9, keep_energy=True),
    AmplifyBand("0", 2.0, 2, "high"),
], ids=["plain", "rows", "energy", "band"])  # fmt: skip
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_the_memory_format_is_kept(edit, dtype):
    maps = torch.randn(2, 3, 8, 10).to(dtype)
    last = maps.contiguous(memory_format=torch.channels_last)
    for strength in (0.0, 1.0):
        made = edit.apply(last, torch.tensor(strength))
        assert made.is_contiguous(memory_format=torch.channels_last)
        torch.testing.assert_close(made, edit.apply(maps, torch.tensor(strength)))
        assert edit.apply(maps, torch.tensor(strength)).is_contiguous()


class TestNoiseLevels:
    @pytest.mark.parametrize("name", ["DDIM", "DDPM", "LCM", "TCD"])
    def test_zero_terminal_snr(self, name):
        scheduler = getattr(diffusers, f"{name}Scheduler")(rescale_betas_zero_snr=True)
        scheduler.set_timesteps(4)
        assert sigma_of(scheduler, 999) == float("inf")
        assert SigmaWindow(1.0)(float("inf")) == 1
        assert SigmaWindow(1.0, 1e9)(float("inf")) == 0

    def test_a_step_that_is_none_of_the_schedulers(self, tmp_path):
        euler = diffusers.EulerDiscreteScheduler()
        euler.set_timesteps(4)
        with pytest.raises(ValueError, match="none of Euler"):
            sigma_of(euler, 500)
        with pytest.raises(ValueError, match="none of DDIM"):
            sigma_of(diffusers.DDIMScheduler(), 1000)
        pipe = diffusion_toys.flux(tmp_path)
        pipe.scheduler.set_timesteps(4)
        given = {
            "hidden_states": torch.randn(1, 4, 4),
            "img_ids": torch.tensor([[0, 0, 0], [0, 0, 1], [0, 1, 0], [0, 1, 1]]),
        }
        with amplified(pipe, blocks={0: 1.5}, schedule=SigmaWindow()), pytest.raises(ValueError, match="a share of"):
            pipe.transformer(**given, timestep=torch.tensor([1.0]))

    def test_flux_is_told_its_schedulers_levels(self, tmp_path):
        """Its denoiser gets the timestep / 1000."""
        pipe, asked = diffusion_toys.flux(tmp_path), []
        with amplified(pipe, blocks={0: 1.5}, schedule=lambda sigma: asked.append(sigma) or 1.0):
            pipe(prompt_embeds=torch.randn(1, 4, 32), pooled_prompt_embeds=torch.randn(1, 32), height=16, width=16,
                 num_inference_steps=3, output_type="latent")  # fmt: skip
        assert asked == pytest.approx([float(sigma) for sigma in pipe.scheduler.sigmas[:-1]])


class TestFiles:
    @pytest.fixture
    def written(self, tmp_path):
        torch.manual_seed(0)
        unet = diffusion_toys.sd15_unet()
        enable_amplification(unet, **GAINS)
        save_amplification(tmp_path / "a.safetensors", unet)
        disable_amplification(unet)
        return unet, tmp_path / "a.safetensors"

    @pytest.mark.parametrize("fused", [False, True])
    def test_lora_is_no_other_model(self, written, fused):
        peft = pytest.importorskip("peft")
        unet, path = written
        digests = weights_digests(unet)
        unet.add_adapter(peft.LoraConfig(r=2, target_modules=["to_q", "to_v"], init_lora_weights="gaussian"))
        assert fused or weights_digests(unet) == digests
        if fused:
            unet.fuse_lora()
        with pytest.warns(UserWarning, match="adapters"):
            assert len(read_amplification(unet, path)[0]) == 2
        enable_amplification(unet, **GAINS)
        save_amplification(path, unet)  # of the model with adapters: for the model without them too
        if not fused:
            torch.manual_seed(0)
            assert len(read_amplification(diffusion_toys.sd15_unet(), path)[0]) == 2

    def test_a_mask_beside_the_latents(self, written):
        with pytest.warns(UserWarning, match="conv_in.weight"):
            edits, _ = read_amplification(diffusion_toys.sd15_unet(in_channels=9), written[1])
        assert len(edits) == 2

    def test_another_family_is_refused_with_both_names(self, written, tmp_path):
        (flux, _), (pixart, _) = TINY["FLUX.1"].made(4, 6, 1), TINY["PixArt-sigma"].made(4, 6, 1)
        enable_amplification(flux, blocks={0: 1.2})
        save_amplification(tmp_path / "flux", flux, any_weights=True)
        sdxl = diffusion_toys.sdxl(tmp_path)
        enable_amplification(sdxl, **GAINS)
        save_amplification(tmp_path / "sdxl", sdxl, any_weights=True)
        disable_amplification(sdxl)
        for pipe, path, made_for, this in (
            (pixart, "flux", "FluxTransformer2DModel of a FluxPipeline", "PixArtTransformer2DModel of a PixArtSigmaP"),
            (sdxl, "flux", "FluxTransformer2DModel of a FluxPipeline", "UNet2DConditionModel of a StableDiffusionXL"),
            (flux, "sdxl", "UNet2DConditionModel of a StableDiffusionXLPipeline", "FluxTransformer2DModel of a FluxPi"),
            (written[0], "sdxl", "UNet2DConditionModel of a StableDiffusionXLPipeline", "the UNet2DConditionModel, "),
        ):
            with pytest.raises(CorrectionMismatchError, match=f"was made for another layout, the {made_for}, and this"):
                enable_amplification(pipe, correction=tmp_path / path)
            with pytest.raises(CorrectionMismatchError, match=f"and this is .*{this}"):
                read_amplification(pipe, tmp_path / path)
        with pytest.raises(ValueError, match="preset 'sdxl' is for U-Nets, and FluxTransformer2DModel is"):
            enable_amplification(flux, "sdxl")

    def test_another_class_that_looks_alike_is_refused(self, written):
        other = diffusion_toys.sd15_unet(in_channels=9)
        other.__class__ = type("AnotherUNet", (diffusers.UNet2DModel,), {})
        with pytest.raises(CorrectionMismatchError, match="the UNet2DConditionModel, and this is the AnotherUNet, whe"):
            read_amplification(other, written[1])

    def test_another_network_is_still_refused(self, written, tmp_path):
        with pytest.raises(CorrectionMismatchError, match="another layout"):
            read_amplification(diffusion_toys.sdxl(tmp_path).unet, written[1])
        with pytest.raises(CorrectionMismatchError, match="other weights"):
            read_amplification(diffusion_toys.sd15_unet(), written[1])

    def test_offloaded_weights_are_read_where_they_are(self, written):
        accelerate = pytest.importorskip("accelerate")
        unet, path = written
        digests = weights_digests(unet)
        accelerate.cpu_offload(unet, execution_device=torch.device("cpu"))
        assert next(unet.parameters()).is_meta
        assert weights_digests(unet) == digests
        enable_amplification(unet, correction=path)
        save_amplification(path, unet)

    def test_weights_in_files_of_diffusers_are_said_to_be_there(self, written, tmp_path):
        unet, path = written
        here = torch.device("cpu")
        unet.enable_group_offload(onload_device=here, offload_device=here, offload_type="leaf_level",
                                  offload_to_disk_path=str(tmp_path / "weights"))  # fmt: skip
        with pytest.raises(ValueError, match="offloaded to files by diffusers"):
            enable_amplification(unet, correction=path)
        enable_amplification(unet, correction=path, allow_other_weights=True)
        with pytest.raises(ValueError, match="offloaded to files by diffusers"):
            save_amplification(path, unet)
        save_amplification(path, unet, any_weights=True)

    def test_weights_that_are_nowhere(self):
        with torch.device("meta"):
            unet = diffusion_toys.sd15_unet()
        with pytest.raises(ValueError, match="are offloaded and"):
            weights_digests(unet)
