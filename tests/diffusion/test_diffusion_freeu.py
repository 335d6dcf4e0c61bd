"""FreeU against its definition in float64, against diffusers' own, and as a guest on a U-Net."""

import diffusion_toys
import pytest
import torch

from genmend.diffusion import amplified, freeu
from genmend.diffusion.baselines.freeu import FREEU_SETTINGS, backbone_gain, scaled_block

SETTINGS = {"b1": 1.3, "b2": 1.5, "s1": 0.9, "s2": 0.2}


@pytest.fixture(scope="module")
def unet():
    torch.manual_seed(0)
    return diffusion_toys.sd15_unet().eval()


def run(unet, size=(16, 24), dtype=torch.float32):
    draw = torch.Generator().manual_seed(1)
    x, text = torch.randn(2, 4, *size, generator=draw), torch.randn(2, 5, 32, generator=draw)
    with torch.no_grad():
        return unet(x.to(dtype), 300, text.to(dtype)).sample


def n_hooks(unet):
    return sum(len(part._forward_pre_hooks) + len(part._forward_hooks) for part in unet.modules())


def authors_skip(skip, s):
    """Their ``Fourier_filter`` in float64."""
    spectrum = torch.fft.fftshift(torch.fft.fft2(skip.double()), dim=(-2, -1))
    row, column = skip.shape[-2] // 2, skip.shape[-1] // 2
    spectrum[..., row - 1 : row + 1, column - 1 : column + 1] *= s
    return torch.fft.ifft2(torch.fft.ifftshift(spectrum, dim=(-2, -1))).real


def paper_skip(skip, s, cutoff):
    """The paper's spectral scaling in float64, by the full complex transform."""
    height, width = skip.shape[-2:]
    radius = torch.hypot(*torch.meshgrid(
        torch.fft.fftfreq(height, 1 / height).double(), torch.fft.fftfreq(width, 1 / width).double(), indexing="ij"
    ))  # fmt: skip
    return torch.fft.ifft2(torch.fft.fft2(skip.double()) * torch.where(radius < cutoff, s, 1.0)).real


def authors_backbone(hidden, b):
    mean = hidden.double().mean(1, keepdim=True)
    flat = mean.flatten(1)
    low, high = (end(1).values[:, None, None, None] for end in (flat.min, flat.max))
    boosted = hidden.double().clone()
    half = hidden.shape[1] // 2
    boosted[:, :half] *= (b - 1) * (mean - low) / (high - low) + 1
    return boosted


class TestDefinition:
    @pytest.mark.parametrize("size", [(8, 8), (7, 9), (2, 6), (12, 5), (1, 4)])
    @pytest.mark.parametrize("s", [0.0, 0.2])
    def test_the_block_of_the_authors_code(self, size, s):
        skip = torch.randn(2, 3, *size)
        torch.testing.assert_close(scaled_block(skip, s).double(), authors_skip(skip, s), atol=1e-5, rtol=1e-5)
        assert torch.equal(scaled_block(skip, 1.0), skip)

    def test_true_gains_of_the_block_are_uneven(self):
        rows, columns = torch.meshgrid(torch.arange(8.0), torch.arange(8.0), indexing="ij")
        gains = {}
        for u, v in ((0, 0), (0, 1), (1, 0), (1, 1), (1, -1), (0, 2)):
            wave = torch.cos(2 * torch.pi / 8 * (u * rows + v * columns))[None, None]
            gains[u, v] = round(float((scaled_block(wave, 0.2) * wave).sum() / (wave * wave).sum()), 5)
        assert gains == {(0, 0): 0.2, (0, 1): 0.6, (1, 0): 0.6, (1, 1): 0.6, (1, -1): 1.0, (0, 2): 1.0}

    def test_structure_map(self):
        hidden = torch.randn(2, 6, 5, 7)
        boosted = hidden[:, :3] * backbone_gain(hidden, 1.6)
        torch.testing.assert_close(boosted.double(), authors_backbone(hidden, 1.6)[:, :3], atol=1e-6, rtol=1e-6)
        assert torch.equal(backbone_gain(torch.ones(1, 2, 3, 3), 1.6), torch.ones(1, 1, 3, 3))


class TestOnAUNet:
    def test_diffusers_form_is_enable_freeu(self, unet):
        plain = run(unet)
        unet.enable_freeu(**SETTINGS)
        theirs = run(unet)
        with pytest.raises(ValueError, match="on already"), freeu(unet, **SETTINGS):
            pass
        unet.disable_freeu()
        with freeu(unet, form="diffusers", **SETTINGS):
            ours = run(unet)
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)
        assert (theirs - plain).abs().max() > 1e-3
        assert torch.equal(run(unet), plain)

    @pytest.mark.parametrize("form", ["paper", "authors"])
    def test_each_resnet_gets_what_the_definition_says(self, unet, form):
        """What enters a ResNet inside the block, against the definition applied to what would have entered."""
        stages = {64: (1.3, 0.9), 32: (1.5, 0.2)}
        hidden_of = {"up_blocks.0.resnets.0": 64, "up_blocks.2.resnets.0": 64, "up_blocks.2.resnets.1": 32}
        for name, n_hidden in hidden_of.items():
            seen, layer = [], unet.get_submodule(name)
            first = layer.register_forward_pre_hook(lambda _, inputs, seen=seen: seen.append(inputs[0].clone()))
            with freeu(unet, form=form, **SETTINGS):
                last = layer.register_forward_pre_hook(lambda _, inputs, seen=seen: seen.append(inputs[0].clone()))
                run(unet)
                last.remove()
            first.remove()
            before, after = seen
            b, s = stages[n_hidden]
            skip = before[:, n_hidden:]
            expected = torch.cat(
                [
                    authors_backbone(before[:, :n_hidden], b),
                    paper_skip(skip, s, 1.5) if form == "paper" else authors_skip(skip, s),
                ],
                1,
            )
            torch.testing.assert_close(after.double(), expected, atol=1e-5, rtol=1e-5)

    def test_neutral_numbers_change_nothing_and_zero_works(self, unet):
        plain = run(unet)
        for form in ("paper", "authors", "diffusers"):
            with freeu(unet, 1, 1, 1, 1, form=form):
                assert torch.equal(run(unet), plain)
            with freeu(unet, 1.2, 1.2, 0.0, 0.0, form=form):
                without = run(unet)
            assert without.isfinite().all()
            assert (without - plain).abs().max() > 1e-4

    @pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
    def test_half_precision(self, dtype):
        torch.manual_seed(0)
        unet = diffusion_toys.sd15_unet().eval()
        with freeu(unet, **SETTINGS):
            exact = run(unet)
            unet.to(dtype)
            made = run(unet, dtype=dtype)
        assert made.dtype == dtype
        assert (made.float() - exact).abs().max() < 0.1 * exact.abs().max()

    def test_nothing_stays_and_no_input_changes(self, unet):
        plain, n_before = run(unet), n_hooks(unet)
        kept = []
        spy = unet.mid_block.register_forward_hook(lambda _, __, output: kept.append((output, output.clone())))
        with freeu(unet, **SETTINGS):
            run(unet)
        spy.remove()
        with pytest.raises(KeyError), freeu(unet, **SETTINGS):
            raise KeyError
        assert torch.equal(*kept[0])
        assert n_hooks(unet) == n_before
        assert torch.equal(run(unet), plain)

    def test_with_amplification(self, unet):
        gains = {"mid": 2.0, "cutoff": 2}
        with freeu(unet, **SETTINGS), amplified(unet, **gains):
            both = run(unet)
        with amplified(unet, **gains), freeu(unet, **SETTINGS):
            torch.testing.assert_close(run(unet), both)
            unet_only_freeu = both
        with freeu(unet, **SETTINGS):
            assert (run(unet) - unet_only_freeu).abs().max() > 1e-4

    def test_pipeline_of_another_layout(self, tmp_path):
        pipe = diffusion_toys.sdxl(tmp_path)
        words = {"num_inference_steps": 1, "height": 32, "width": 32, "output_type": "latent"}
        embeds = {
            "prompt_embeds": torch.randn(1, 4, 64),
            "pooled_prompt_embeds": torch.randn(1, 32),
            "guidance_scale": 1.0,
        }

        def draw():
            return pipe(**embeds, **words, generator=torch.Generator().manual_seed(0)).images

        plain = draw()
        pipe.enable_freeu(**SETTINGS)
        theirs = draw()
        pipe.disable_freeu()
        with freeu(pipe, form="diffusers", **SETTINGS):
            torch.testing.assert_close(draw(), theirs, atol=1e-4, rtol=1e-4)
        with freeu(pipe, **FREEU_SETTINGS["sdxl"]):
            assert (draw() - plain).abs().max() > 1e-4


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"b1": -1.0}, ValueError, "b1 is -1"),
        ({"s2": "x"}, TypeError, "s2 is 'x'"),
        ({"form": "ours"}, ValueError, "form is 'ours'"),
        ({"cutoff": 0.0}, ValueError, "cutoff is 0"),
        ({"stage_channels": (64, 64)}, ValueError, r"are \(64,\)"),
        ({"stage_channels": (1280, 640)}, ValueError, r"backbone are \[32, 64\]"),
    ],
)
def test_bad_settings(unet, change, error, words):
    n_before = n_hooks(unet)
    with pytest.raises(error, match=words), freeu(unet, **(SETTINGS | change)):
        pass
    assert n_hooks(unet) == n_before


def test_no_unet():
    with pytest.raises(TypeError, match="up blocks"), freeu(torch.nn.Linear(2, 2), **SETTINGS):
        pass


def test_a_compiled_one_that_has_run_is_refused():
    module = diffusion_toys.sd15_unet().eval()
    torch._dynamo.reset()
    try:
        resnet = module.up_blocks[0].resnets[0]
        compiled = torch.compile(resnet, backend="eager")
        compiled(torch.randn(1, 128, 4, 4), torch.randn(1, 128))
        with pytest.raises(RuntimeError, match="already run"), freeu(module, **SETTINGS):
            pass
    finally:
        torch._dynamo.reset()
