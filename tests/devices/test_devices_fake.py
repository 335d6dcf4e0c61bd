"""The tensor paths under torch's own FakeTensorMode on a fake cuda device, which raises where devices mix.

Without values and gradients: what looks at values (a check for NaN, a gate, an attention window, a search) cannot run
here, nor can a backward pass without a driver. Those run on the labelled device of the other files.
"""

import diffusion_toys
import numpy as np
import pytest
import torch
from gans_toys import LAYERS, toy_net
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode, unset_fake_temporarily
from torch.utils._pytree import tree_map
from voice_toys import toy_tacotron

from genmend.activations import AblateNeurons, CapNeurons, PullToMean, ScaleUnits, edited, record
from genmend.diffusion import AmplifyLowFrequencies, amplified, freeu
from genmend.diffusion.amplification import control_bands, low_pass
from genmend.diffusion.amplification.control_bands import AmplifyBand
from genmend.diffusion.amplification.token_update import AmplifyTokenUpdate
from genmend.diffusion.baselines import freeu as freeu_module
from genmend.diffusion.inspection.capture import capture
from genmend.gans import Generator
from genmend.gans.correctors.contrast_descent import contrast_levels
from genmend.gans.correctors.defective_score import unit_masks
from genmend.gans.correctors.sample_edits import ScaleEachSample
from genmend.gans.families import LAYOUTS
from genmend.gans.families.dcgan import DCGAN
from genmend.gans.families.progan import ProGAN
from genmend.gans.families.stylegan2_adapter import stylegan2_generator
from genmend.manifold.engine.torch_screen import TorchScreen
from genmend.manifold.features import ImageExtractor
from genmend.manifold.features.resizing import MODES, resize
from genmend.manifold.regions.manifold import nearest_ball_distance
from genmend.tts.voices.replace_vectors import ReplaceVectors


@pytest.fixture(autouse=True)
def no_fake_tensors_are_kept():
    """Tables that the library keeps by size would be fake ones for the tests that come after."""
    yield
    for kept in (freeu_module._block_weights, control_bands._random_frequencies, low_pass._matrices):
        kept.cache_clear()


HALVES = (torch.float32, torch.float16, torch.bfloat16)


@pytest.fixture
def mode():
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        yield mode


def on_cuda(module, dtype=None):
    """The module with fake weights there; they have no values."""
    for part in module.modules():
        for table in (part._parameters, part._buffers):
            for name, values in table.items():
                if values is not None:
                    kind = dtype if dtype and values.is_floating_point() else values.dtype
                    there = torch.empty(values.shape, dtype=kind, device="cuda")
                    table[name] = nn.Parameter(there, requires_grad=False) if table is part._parameters else there
    return module


def lies_there(*tensors, dtype=torch.float32):
    assert {one.device.type for one in tensors} == {"cuda"}
    assert {one.dtype for one in tensors} == {dtype}


NEURONS = torch.ones(6, 4, 4, dtype=torch.bool)
EDITS = {
    "scaled": ScaleUnits(LAYERS[0], [1, 2], 0.5),
    "scaled each": ScaleUnits(LAYERS[0], [1, 2], torch.tensor([0.5, 2.0])),
    "ablated": AblateNeurons(LAYERS[0], NEURONS, strength=0.5),
    "capped": CapNeurons(LAYERS[0], torch.ones(6, 4, 4), NEURONS),
    "pulled": PullToMean(LAYERS[0], torch.ones(6), NEURONS),
    "pulled units": PullToMean(LAYERS[0], torch.ones(6, 4, 4), units=[1]),
    "each sample": ScaleEachSample(LAYERS[0], torch.ones(3, 6)),
}


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("name", EDITS)
def test_a_generator_is_recorded_and_edited(name, dtype, mode):
    net = on_cuda(toy_net(), dtype)
    generator = Generator(net, (16,), LAYERS, known_layers=LAYERS)
    with edited(net, EDITS[name]), record(net, LAYERS) as seen:
        images = generator.images(torch.zeros(3, 16))
    lies_there(images)
    lies_there(*(seen[layer] for layer in LAYERS), dtype=dtype)


FAMILIES = {
    "dcgan": lambda: Generator(DCGAN(7, (6, 5)).eval(), (7,)),
    "progan": lambda: Generator(ProGAN(7, (6, 5)).eval(), (7,)),
    "stylegan2": lambda: stylegan2_generator(
        LAYOUTS["stylegan2-nvidia"].build(
            {"z_width": 8, "w_width": 8, "widths": {"4": 8, "8": 6}, "n_mapping": 2, "n_classes": 0, "embedded": 0,
             "channels": 3, "clamp": None, "mapping_rate": 0.01}
        ).eval(),
        psi=0.7,
    ),
}  # fmt: skip


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("dtype", HALVES)
def test_each_family_generates(family, dtype):
    generator = FAMILIES[family]()
    with FakeTensorMode(allow_non_fake_inputs=True):
        generator = generator.with_module(on_cuda(generator.module, dtype))
        lies_there(generator.images(torch.zeros(2, *generator.latent_shape)))


def test_contrast_levels_and_masks_of_units(mode):
    maps = {layer: torch.empty(3, 6, 4, 4, device="cuda") for layer in LAYERS[:2]}
    weights = {layer: torch.empty(6, 4, 4, device="cuda") for layer in LAYERS[:2]}
    lies_there(contrast_levels(maps, weights))
    for threshold in (0.5, torch.ones(6)):
        lies_there(unit_masks(maps[LAYERS[0]], (8, 8), threshold), dtype=torch.bool)


@pytest.mark.parametrize("mode_name", MODES)
def test_an_extractor_prepares_and_runs(mode_name, mode):
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    extractor = on_cuda(ImageExtractor("toy", network, 16, (0.5,) * 3, (0.2,) * 3, mode=mode_name))
    lies_there(extractor(torch.empty(2, 3, 24, 20, device="cuda")))
    with pytest.raises(Exception, match="device"):
        extractor(torch.empty(2, 3, 24, 20))
    lies_there(resize(torch.empty(2, 3, 24, 20, device="cuda"), (16, 16), mode_name, False))


def test_distances_to_balls(mode):
    features, reference = torch.empty(5, 8, device="cuda"), torch.empty(9, 8, device="cuda")
    lies_there(nearest_ball_distance(features, reference, torch.empty(9, device="cuda")))


def test_the_screen():
    x = np.random.default_rng(0).normal(size=(40, 8)).astype(np.float32)
    with FakeTensorMode(allow_non_fake_inputs=True):
        screen = TorchScreen.of(x, "cuda", half=False)
        bounds = screen.bounds(screen.encode(x[:7]), slice(0, 40), np.empty(0))
    assert bounds.shape == (7, 40)
    lies_there(screen.codes, bounds)


FORMS = (
    {},
    {"mean_gain": 1.0},
    {"keep_energy": True},
    {"rows": "conditional"},
    {"where": torch.ones(4, 4)},
    {"as_published": True},
    {"cutoff": 7},  # by the Fourier transform
)


@pytest.fixture
def matrices(monkeypatch):
    """Those of the low band, which are made on the CPU, by which frequencies lie in it, and then moved."""
    made = low_pass._matrices

    def moved(height, width, band, dtype, device):
        with unset_fake_temporarily():
            found = made(height, width, band, dtype, torch.device("cpu"))
        return tree_map(lambda values: values.to(device), found)

    monkeypatch.setattr(low_pass, "_matrices", moved)


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("form", FORMS)
def test_low_frequencies_are_amplified(form, dtype, matrices):
    edit = AmplifyLowFrequencies("0", **{"gain": 2.0, "cutoff": 2} | form)
    with FakeTensorMode(allow_non_fake_inputs=True):
        maps = torch.empty(2, 3, 16, 12, dtype=dtype, device="cuda")
        lies_there(edit.apply(maps), dtype=dtype)


@pytest.mark.parametrize("dtype", HALVES)
def test_other_bands_and_tokens_are_amplified(dtype, matrices, mode):
    maps = torch.empty(2, 3, 16, 12, dtype=dtype, device="cuda")
    lies_there(*(AmplifyBand("0", 2.0, 2, band=band).apply(maps) for band in ("full", "high")), dtype=dtype)
    tokens = torch.empty(2, 12, 8, dtype=dtype, device="cuda")
    lies_there(AmplifyTokenUpdate("0", 2.0, 0.5, height=3, width=4).apply(tokens), dtype=dtype)


def test_a_u_net_is_amplified_among_its_companions(matrices):
    dtype, unet = torch.bfloat16, diffusion_toys.sd15_unet().eval()
    with FakeTensorMode(allow_non_fake_inputs=True), torch.no_grad():
        on_cuda(unet, dtype)
        x, text = (torch.empty(2, *shape, dtype=dtype, device="cuda") for shape in ((4, 16, 16), (5, 32)))
        settings = {"stage_channels": (64, 32), "form": "diffusers"}
        gains = {"down": (1.5, 1.2), "mid": 2.0, "cutoff": 2}
        with (
            amplified(unet, **gains),
            freeu(unet, 1.2, 1.4, 0.9, 0.2, **settings),
            capture(unet, ["mid"]) as features,
        ):
            lies_there(unet(x, 300, text).sample, dtype=dtype)
    lies_there(*features["mid"], dtype=dtype)


@pytest.mark.parametrize("dtype", HALVES)
def test_the_encoder_of_a_tacotron_is_edited(dtype):
    model, replaced = toy_tacotron(), ReplaceVectors("embedding", [1, 2], torch.ones(2, 12))
    edit = ScaleUnits("encoder.convolutions.0", [1, 2], 0.5)
    with FakeTensorMode(allow_non_fake_inputs=True):
        on_cuda(model, dtype)
        with edited(model, edit, replaced):
            embedded = model.embedding(torch.zeros(1, 9, dtype=torch.int64, device="cuda"))
            lies_there(embedded, model.encoder.convolutions[0](embedded.transpose(1, 2)), dtype=dtype)
