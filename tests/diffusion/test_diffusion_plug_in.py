"""The plug-in on pipelines of real layouts: it attaches, detaches, and lives with what users switch on beside it."""

import gc

import diffusion_toys
import numpy as np
import pytest
import torch
from diffusers import ControlNetModel, StableDiffusionControlNetPipeline

from genmend.activations import Correction, load_correction, record
from genmend.activations.correction import CorrectionMismatchError
from genmend.diffusion import (
    PRESETS,
    AmplifyLowFrequencies,
    SigmaWindow,
    amplification_of,
    amplified,
    disable_amplification,
    enable_amplification,
    save_amplification,
)
from genmend.diffusion.amplification.control_bands import AmplifyBand
from genmend.diffusion.amplification.gains import amplification_edits
from genmend.diffusion.pipeline_parts import block_layers, sigma_of

GAINS = {"down": (1.2, 1.5, 2.0), "mid": 2.5, "cutoff": 2}


def draw(pipe, seed=0, **settings):
    words = {"prompt": "a creative chair", "num_inference_steps": 2, "height": 32, "width": 32, "output_type": "np"}
    return pipe(generator=torch.Generator().manual_seed(seed), **(words | settings)).images


@pytest.fixture
def pipe(tmp_path):
    return diffusion_toys.sd15(tmp_path)


class TestFamilies:
    @pytest.mark.parametrize("family", ["sd15", "sdxl"])
    def test_unet_pipelines(self, tmp_path, family):
        pipe = getattr(diffusion_toys, family)(tmp_path)
        plain = draw(pipe)
        with amplified(pipe, **GAINS):
            assert np.abs(draw(pipe) - plain).max() > 0.01
        np.testing.assert_array_equal(draw(pipe), plain)
        with amplified(pipe, down=(1.0, 1.0), mid=1.0):
            np.testing.assert_array_equal(draw(pipe), plain)

    @pytest.mark.parametrize("family", ["pixart", "sd3", "flux"])
    @pytest.mark.parametrize("size", [(32, 48), (32, 32)])
    def test_transformer_pipelines(self, tmp_path, family, size):
        pipe = getattr(diffusion_toys, family)(tmp_path)
        torch.manual_seed(1)
        texts = {"prompt": None, "prompt_embeds": torch.randn(1, 6, 32), "height": size[0], "width": size[1]}
        if family == "pixart":
            mask = torch.ones(1, 6)
            texts |= {"prompt_attention_mask": mask, "negative_prompt_attention_mask": mask}
            texts |= {"negative_prompt": None, "use_resolution_binning": False}
        else:
            texts["pooled_prompt_embeds"] = torch.randn(1, {"sd3": 64, "flux": 32}[family])
        if family == "sd3":
            texts["negative_pooled_prompt_embeds"] = torch.zeros(1, 64)
        if family != "flux":
            texts["negative_prompt_embeds"] = torch.zeros(1, 6, 32)
        plain = draw(pipe, **texts)
        with amplified(pipe, blocks={0: 1.5, 1: 1.5}):
            assert np.abs(draw(pipe, **texts) - plain).max() > 1e-3
        np.testing.assert_array_equal(draw(pipe, **texts), plain)

    def test_slots(self, pipe):
        assert list(block_layers(pipe.unet)) == [*(f"down{i}" for i in range(4)), "mid", *(f"up{i}" for i in range(4))]

    def test_presets_fit_their_layouts(self, tmp_path):
        for make, family in ((diffusion_toys.sd15, "sd-"), (diffusion_toys.sdxl, "sdxl")):
            (tmp_path / family).mkdir()
            pipe = make(tmp_path / family)
            plain = draw(pipe)
            for name in (name for name in PRESETS if name.startswith(family)):
                edits = amplification_edits(pipe.unet, name)
                assert [edit.gain for edit in edits] == [*PRESETS[name].down, PRESETS[name].mid]
                assert [edit.cutoff for edit in edits] == list(PRESETS[name].cutoffs)
                assert PRESETS[name].published == ("Ours" not in PRESETS[name].source)
                with amplified(pipe, name):
                    drawn = draw(pipe)
                assert np.isfinite(drawn).all()
                assert np.abs(drawn - plain).max() > 1e-3
        assert all(name.startswith(("sd-", "sdxl")) for name in PRESETS)


class TestWhatIsEdited:
    def test_only_the_hidden_stream_and_not_the_skips(self, pipe):
        inputs = (torch.randn(1, 4, 16, 16), 5, torch.randn(1, 4, 32))
        seen = {}

        def watch(name, argument):
            return lambda block, _, named: seen.__setitem__(name, named[argument])

        pipe.unet.down_blocks[1].register_forward_pre_hook(watch("next block", "hidden_states"), with_kwargs=True)
        pipe.unet.up_blocks[-1].register_forward_pre_hook(watch("skips", "res_hidden_states_tuple"), with_kwargs=True)
        with torch.no_grad():
            pipe.unet(*inputs)
            plain = dict(seen)
            with amplified(pipe, down=(3.0,), cutoff=100):
                pipe.unet(*inputs)
        torch.testing.assert_close(seen["next block"], 3 * plain["next block"], atol=1e-4, rtol=1e-4)
        for mine, before in zip(seen["skips"], plain["skips"], strict=True):
            torch.testing.assert_close(mine, before, atol=0, rtol=0)

    def test_rows_follow_the_guidance_of_each_call(self, pipe):
        amplify = {"mid": 3.0, "cutoff": 100}
        plain = {scale: draw(pipe, guidance_scale=scale) for scale in (0.0, 5.0)}
        with amplified(pipe, **amplify):
            both = {scale: draw(pipe, guidance_scale=scale) for scale in (0.0, 5.0)}
        with amplified(pipe, **amplify, rows="conditional"):
            # No guidance: all rows are conditional.
            np.testing.assert_allclose(draw(pipe, guidance_scale=0.0), both[0.0], atol=1e-6)
            guided = draw(pipe, guidance_scale=5.0)
            assert np.abs(guided - both[5.0]).max() > 1e-4
            np.testing.assert_allclose(draw(pipe, guidance_scale=0.0), both[0.0], atol=1e-6)
        with amplified(pipe, **amplify, rows="unconditional"):
            np.testing.assert_allclose(draw(pipe, guidance_scale=0.0), plain[0.0], atol=1e-6)
            assert np.abs(draw(pipe, guidance_scale=5.0) - guided).max() > 1e-4

    def test_a_conditional_edit_leaves_the_unconditional_row(self, pipe):
        x, text = torch.randn(2, 4, 16, 16), torch.randn(2, 4, 32)
        with torch.no_grad():
            plain = pipe.unet(x, 5, text).sample
            with amplified(pipe.unet, mid=3.0, cutoff=100, rows="conditional"):
                made = pipe.unet(x, 5, text).sample
        torch.testing.assert_close(made[0], plain[0], atol=1e-5, rtol=0)
        assert (made[1] - plain[1]).abs().max() > 1e-4

    def test_a_batch_is_drawn_as_its_images_alone(self, pipe):
        with amplified(pipe, **GAINS):
            pair = draw(pipe, prompt=["a chair", "a lamp"], latents=torch.ones(2, 4, 16, 16))
            alone = draw(pipe, prompt="a lamp", latents=torch.ones(1, 4, 16, 16))
        np.testing.assert_allclose(pair[1], alone[0], atol=1e-4)

    def test_a_window_of_noise_levels(self, pipe):
        plain = draw(pipe, num_inference_steps=4)
        with amplified(pipe, **GAINS, schedule=SigmaWindow(1e6, 1e7)):
            np.testing.assert_array_equal(draw(pipe, num_inference_steps=4), plain)
        with amplified(pipe, **GAINS):
            everywhere = draw(pipe, num_inference_steps=4)
        with amplified(pipe, **GAINS, schedule=SigmaWindow()):
            np.testing.assert_array_equal(draw(pipe, num_inference_steps=4), everywhere)
        asked = []
        with amplified(pipe, **GAINS, schedule=lambda sigma: asked.append(sigma) or float(sigma > 1)):
            part = draw(pipe, num_inference_steps=4)
        assert asked == sorted(asked, reverse=True)
        assert len(asked) == 4
        assert min(np.abs(part - plain).max(), np.abs(part - everywhere).max()) > 1e-6

    def test_strength(self, pipe):
        plain = draw(pipe)
        with amplified(pipe, **GAINS) as active:
            whole = draw(pipe)
            active.set(strength=0.0)
            np.testing.assert_array_equal(draw(pipe), plain)
            active.set(strength=1.0)
            np.testing.assert_array_equal(draw(pipe), whole)
            active.set(strength=0.5, edit=0)
            assert [edit.strength for edit in active.edits] == [0.5, 1.0, 1.0, 1.0]

    def test_strength_outlives_edits_that_are_attached_anew(self, pipe):
        """Where guidance comes and goes, rows are fitted by attaching again."""
        with amplified(pipe, mid=3.0, cutoff=100) as active:
            active.set(strength=0.5)
            expected = draw(pipe, guidance_scale=0.0)
        with amplified(pipe, mid=3.0, cutoff=100, rows="conditional") as active:
            active.set(strength=0.5)
            np.testing.assert_allclose(draw(pipe, guidance_scale=0.0), expected, atol=1e-6)

    def test_strengths_multiply_and_come_back_after_a_block(self, pipe):
        edit = AmplifyLowFrequencies("mid_block", 3.0, 100, strength=0.5)
        half = enable_amplification(pipe, edits=[edit])
        expected = draw(pipe)
        half.set(strength=1.0)
        np.testing.assert_array_equal(draw(pipe), expected)
        with amplified(pipe, edits=[]):
            plain = draw(pipe)
        np.testing.assert_array_equal(draw(pipe), expected)
        assert np.abs(plain - expected).max() > 1e-4

    def test_controls_go_the_same_way(self, pipe):
        plain = draw(pipe)
        with amplified(pipe, edits=[AmplifyBand("mid_block", 3.0, 1, "high")]):
            assert np.abs(draw(pipe) - plain).max() > 1e-4


class TestNeighbours:
    def test_freeu(self, pipe):
        pipe.enable_freeu(s1=0.9, s2=0.2, b1=1.2, b2=1.4)
        plain = draw(pipe)
        with amplified(pipe, **GAINS):
            assert np.abs(draw(pipe) - plain).max() > 1e-3
        np.testing.assert_array_equal(draw(pipe), plain)

    def test_controlnet_residuals_are_not_amplified(self, pipe):
        net = ControlNetModel.from_unet(pipe.unet, conditioning_embedding_out_channels=(16, 32))
        for weight in net.parameters():
            torch.nn.init.normal_(weight, std=0.05)
        both = StableDiffusionControlNetPipeline(**pipe.components, controlnet=net, requires_safety_checker=False)
        both.set_progress_bar_config(disable=True)
        image = torch.rand(1, 3, 32, 32)
        plain = draw(both, image=image)
        with amplified(both, mid=2.0, cutoff=100), record(pipe.unet, ["mid_block"]) as seen:
            made = draw(both, image=image, num_inference_steps=1)
            amplified_mid = seen["mid_block"]
        with record(pipe.unet, ["mid_block"]) as seen:
            draw(both, image=image, num_inference_steps=1)
        torch.testing.assert_close(amplified_mid, 2 * seen["mid_block"], atol=1e-4, rtol=1e-4)
        assert np.isfinite(made).all()
        np.testing.assert_array_equal(draw(both, image=image), plain)

    def test_offloading(self, pipe, monkeypatch):
        accelerate = pytest.importorskip("accelerate")
        with amplified(pipe, **GAINS):
            expected = draw(pipe)
        accelerate.cpu_offload(pipe.unet, execution_device=torch.device("cpu"))
        with amplified(pipe, **GAINS):
            np.testing.assert_allclose(draw(pipe), expected, atol=1e-6)

    def test_lora(self, pipe):
        peft = pytest.importorskip("peft")
        pipe.unet.add_adapter(peft.LoraConfig(r=2, target_modules=["to_q", "to_v"], init_lora_weights="gaussian"))
        for name, weight in pipe.unet.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(weight, std=0.1)
        plain = draw(pipe)
        with amplified(pipe, **GAINS):
            assert np.abs(draw(pipe) - plain).max() > 1e-3
        np.testing.assert_array_equal(draw(pipe), plain)

    def test_half_precision(self, pipe):
        pipe.to(torch.bfloat16)
        with amplified(pipe, **GAINS):
            assert np.isfinite(draw(pipe)).all()

    def test_callbacks_are_passed_on(self, pipe):
        steps = []

        def note(pipe, step, timestep, values):
            steps.append(step)
            return values

        with amplified(pipe, **GAINS, schedule=SigmaWindow()):
            draw(pipe, callback_on_step_end=note)
        assert steps == [0, 1]

    @pytest.mark.all
    def test_compiled(self, pipe):
        graphs = []

        def counting(graph, _):
            graphs.append(graph)
            return graph.forward

        x, text = torch.randn(1, 4, 16, 16), torch.randn(1, 4, 32)
        with torch.no_grad():
            plain = pipe.unet(x, 5, text).sample
            with amplified(pipe, **GAINS):
                expected = pipe.unet(x, 5, text).sample
            active = enable_amplification(pipe, **GAINS)
            active.set(strength=0.0)
            compiled = torch.compile(pipe.unet, backend=counting)
            torch.testing.assert_close(compiled(x, 5, text).sample, plain, atol=1e-5, rtol=1e-5)
            n_graphs = len(graphs)
            active.set(strength=1.0)
            torch.testing.assert_close(compiled(x, 5, text).sample, expected, atol=1e-5, rtol=1e-5)
            assert len(graphs) == n_graphs
            disable_amplification(pipe)
            with pytest.raises(RuntimeError, match="already run"):
                enable_amplification(pipe, **GAINS)
        torch._dynamo.reset()


class TestEnablingAndSaving:
    def test_a_second_one_replaces_the_first_and_a_block_gives_it_back(self, pipe):
        plain = draw(pipe)
        enable_amplification(pipe, mid=3.0, cutoff=2)
        first = draw(pipe)
        with amplified(pipe, mid=1.0, down=(2.0,), cutoff=2):
            assert np.abs(draw(pipe) - first).max() > 1e-4
        np.testing.assert_array_equal(draw(pipe), first)
        disable_amplification(pipe)
        disable_amplification(pipe)
        np.testing.assert_array_equal(draw(pipe), plain)

    def test_an_exception_takes_it_off(self, pipe):
        plain = draw(pipe)
        with pytest.raises(KeyError), amplified(pipe, **GAINS):
            raise KeyError
        np.testing.assert_array_equal(draw(pipe), plain)

    def test_nothing_is_kept_alive(self, pipe, tmp_path):
        import weakref

        other = diffusion_toys.sd15(tmp_path)
        enable_amplification(other, **GAINS)
        gone = weakref.ref(other.unet)
        del other
        gc.collect()
        assert gone() is None

    def test_a_file_gives_the_same_images(self, pipe, tmp_path):
        active = enable_amplification(pipe, **GAINS, schedule=SigmaWindow(0.5, 100.0))
        active.set(strength=0.8)
        made = draw(pipe)
        save_amplification(tmp_path / "a.safetensors", pipe, info={"prompts": 8})
        shared = amplification_of(pipe, info={"prompts": 8})
        shared.save_pretrained(tmp_path / "shared", licence="openrail++")
        assert (tmp_path / "shared" / "amplification.safetensors").is_file()
        assert Correction.from_pretrained(tmp_path / "shared") == load_correction(tmp_path / "a.safetensors")
        disable_amplification(pipe)
        again = diffusion_toys.sd15(tmp_path)
        with amplified(again, correction=tmp_path / "a.safetensors"):
            np.testing.assert_allclose(draw(again), made, atol=1e-6)
        torch.nn.init.normal_(again.unet.conv_in.weight)
        with pytest.raises(CorrectionMismatchError):
            enable_amplification(again, correction=tmp_path / "a.safetensors")
        enable_amplification(pipe, **GAINS)
        save_amplification(tmp_path / "b.safetensors", pipe, any_weights=True)
        with amplified(again, correction=tmp_path / "b.safetensors"):
            assert np.isfinite(draw(again)).all()

    def test_what_cannot_be_saved(self, pipe, tmp_path):
        with pytest.raises(ValueError, match="enable_amplification first"):
            save_amplification(tmp_path / "a.safetensors", pipe)
        enable_amplification(pipe, **GAINS, schedule=lambda sigma: 1.0)
        with pytest.raises(ValueError, match="SigmaWindow"):
            save_amplification(tmp_path / "a.safetensors", pipe)
        assert not (tmp_path / "a.safetensors").exists()

    def test_bad_settings_change_nothing(self, pipe):
        enable_amplification(pipe, mid=3.0, cutoff=2)
        before = draw(pipe)
        for settings, error, words in (
            ({}, ValueError, "one of"),
            ({"preset": "sdxl-turbo", "edits": []}, ValueError, "one of"),
            ({"preset": "sdxl-turbo-2"}, ValueError, "accepted are sdxl-turbo"),
            ({"down": (1.1,) * 5}, ValueError, "down4"),
            ({"mid": -1.0}, ValueError, "gain is -1.0"),
            ({"mid": 2.0, "cutof": 3}, TypeError, "cutof"),
            ({"mid": 2.0, "cutoff": (1, 2)}, ValueError, "2 cutoffs"),
            ({"mid": 2.0, "cutoff": {"down0": 3}}, ValueError, "no entry for mid"),
            ({"blocks": {1: 1.1}}, ValueError, "for transformers"),
        ):
            with pytest.raises(error, match=words):
                enable_amplification(pipe, **settings)
        np.testing.assert_array_equal(draw(pipe), before)

    def test_bad_settings_of_a_transformer(self, tmp_path):
        pipe = diffusion_toys.sd3(tmp_path)
        for settings, words in (
            ({"mid": 2.0}, "give blocks"),
            ({"blocks": {7: 1.1}}, "0 to 2"),
            ({"blocks": {1: 1.1}, "cutoff": (1, 2)}, "one cutoff"),
        ):
            with pytest.raises(ValueError, match=words):
                enable_amplification(pipe, **settings)

    def test_what_has_no_blocks(self):
        with pytest.raises(TypeError, match="unet"):
            enable_amplification(object(), mid=2.0)
        with pytest.raises(TypeError, match="down_blocks"):
            enable_amplification(torch.nn.Linear(1, 1), mid=2.0)
        with pytest.raises(ValueError, match="no scheduler"):
            enable_amplification(diffusion_toys.sd15_unet(), mid=2.0, schedule=SigmaWindow())

    def test_an_edit_object_by_layer_name(self, pipe):
        plain = draw(pipe)
        with amplified(pipe, edits=[AmplifyLowFrequencies("down_blocks.1.attentions.0", 2.0, 2)]):
            assert np.abs(draw(pipe) - plain).max() > 1e-4


def test_a_file_may_stand_where_a_preset_does(pipe, tmp_path):
    enable_amplification(pipe, **GAINS)
    save_amplification(tmp_path / "amplification.safetensors", pipe)
    enable_amplification(pipe, tmp_path / "amplification.safetensors")
    changed = draw(pipe)
    disable_amplification(pipe)
    with amplified(pipe, str(tmp_path / "amplification.safetensors")) as active:
        np.testing.assert_array_equal(draw(pipe), changed)
        active.set(strength=0.0)
        assert np.abs(draw(pipe) - changed).max() > 0.01
    with pytest.raises(ValueError, match="preset is 'sdxl-9'; accepted are"):
        enable_amplification(pipe, "sdxl-9")


def test_noise_levels():
    from diffusers import DDIMScheduler, EulerDiscreteScheduler, FlowMatchEulerDiscreteScheduler

    euler = EulerDiscreteScheduler()
    euler.set_timesteps(5)
    assert [round(sigma_of(euler, t), 4) for t in euler.timesteps] == [round(float(s), 4) for s in euler.sigmas[:-1]]
    ddim = DDIMScheduler()
    ddim.set_timesteps(5)
    kept = float(ddim.alphas_cumprod[800])
    assert sigma_of(ddim, torch.tensor(800)) == pytest.approx(((1 - kept) / kept) ** 0.5)
    flow = FlowMatchEulerDiscreteScheduler()
    flow.set_timesteps(4)
    assert 0 < sigma_of(flow, flow.timesteps[-1]) < sigma_of(flow, flow.timesteps[0]) <= 1
    with pytest.raises(ValueError, match="alphas_cumprod"):
        sigma_of(object(), 3)
    with pytest.raises(ValueError, match="low <= high"):
        SigmaWindow(2, 1)
