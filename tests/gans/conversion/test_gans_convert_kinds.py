"""Checkpoints as people have them: wrapped, prefixed, of other suites, in other files; and what is said of the rest."""

import gzip
import json
import math
import sys
import zipfile
from argparse import Namespace

import pytest
import torch
from safetensors.torch import save_file
from stylegan2_toys import WIDTHS, nvidia_state, rosinality_checkpoint, written_out_image, written_out_styles
from torch import nn

from genmend.gans import DCGAN, convert, load_generator
from genmend.gans.conversion.child import limit_resources, read_or_explain
from genmend.gans.conversion.convert import ConversionError
from genmend.gans.families import LayoutError
from genmend.gans.families.genforce import PGGAN
from genmend.gans.families.progan import DISSECTION
from genmend.workbench.commands.gans.convert import SampleSettings, run_convert

TOLERANCE = {"rtol": 0, "atol": 2e-5}


@pytest.fixture(autouse=True)
def reads_here(monkeypatch):
    def read_here(source):
        return read_or_explain(source) | {"isolation": {"process": "none"}}

    monkeypatch.setattr(sys.modules["genmend.gans.conversion.convert"], "read_in_child", read_here)


@pytest.fixture(scope="module")
def state():
    return nvidia_state()


def filled(module, seed=0):
    draw = torch.Generator().manual_seed(seed)
    for tensor in module.state_dict().values():
        if tensor.is_floating_point():
            tensor.copy_(torch.rand(tensor.shape, generator=draw) + (0.5 if tensor.ndim < 2 else -0.5))
    return module.eval()


@pytest.fixture(scope="module")
def dcgan():
    return filled(DCGAN(7, (12, 8), channels=3))


def converted(content, folder, name="x.pt", **options):
    torch.save(content, folder / name)
    return convert(folder / name, folder / "out", trusted=True, **options)


def draws_the_same(folder, module):
    generator = load_generator(str(folder / "out"))
    z = generator.latents(3, 0)
    with torch.no_grad():
        return torch.allclose(generator.run(z), module(z), atol=1e-6)


def prefixed(state, prefix):
    return {f"{prefix}{name}": tensor for name, tensor in state.items()}


@pytest.mark.parametrize("prefix", ["_orig_mod.", "generator.", "G.", "module.", "_orig_mod.module.", "model.net.G."])
def test_names_that_a_wrapper_put_something_before(prefix, dcgan, tmp_path):
    converted(prefixed(dcgan.state_dict(), prefix), tmp_path)
    assert draws_the_same(tmp_path, dcgan)


def test_a_generator_beside_its_discriminator_in_one_flat_dict(dcgan, tmp_path):
    critic = nn.Sequential(nn.Conv2d(3, 8, 4, 2, 1), nn.LeakyReLU(0.2), nn.Conv2d(8, 12, 4, 2, 1), nn.BatchNorm2d(12))
    flat = prefixed(critic.state_dict(), "discriminator.main.") | prefixed(dcgan.state_dict(), "generator.")
    done = converted({"state_dict": flat, "epoch": 3}, tmp_path)
    assert done.group == "state_dict/generator"
    assert draws_the_same(tmp_path, dcgan)


@pytest.mark.parametrize(
    "averaged", ["params_ema", "gen_ema", "model_ema", "ema", "generator_smooth", "netG_avg", "G_EMA"]
)
def test_the_averaged_generator_is_taken_where_there_is_one(averaged, dcgan, tmp_path):
    other = filled(DCGAN(7, (12, 8), channels=3), seed=1)
    done = converted({"params": other.state_dict(), averaged: dcgan.state_dict()}, tmp_path)
    assert done.group == averaged
    assert draws_the_same(tmp_path, dcgan)


def test_safetensors_are_read_without_the_flag_for_they_hold_no_code(dcgan, tmp_path):
    save_file(dcgan.state_dict(), tmp_path / "x.safetensors")
    done = convert(tmp_path / "x.safetensors", tmp_path / "out")
    assert (done.family, done.refused) == ("dcgan", ())
    assert "safetensors" in done.reader
    assert draws_the_same(tmp_path, dcgan)
    (tmp_path / "half.safetensors").write_bytes((tmp_path / "x.safetensors").read_bytes()[:-9])
    with pytest.raises(ConversionError, match="no whole safetensors file"):
        convert(tmp_path / "half.safetensors", tmp_path / "other")
    assert not (tmp_path / "other").exists()


class Blocks(nn.Module):
    """A DCGAN as many write it: blocks in a Sequential of another name, with biases."""

    def __init__(self):
        super().__init__()

        def block(before, after, stride, padding):
            return nn.Sequential(
                nn.ConvTranspose2d(before, after, 4, stride, padding), nn.BatchNorm2d(after), nn.ReLU(True)
            )

        self.gen = nn.Sequential(
            block(7, 12, 1, 0), block(12, 8, 2, 1), nn.Sequential(nn.ConvTranspose2d(8, 1, 4, 2, 1), nn.Tanh())
        )

    def forward(self, z):
        return self.gen(z[:, :, None, None])


class Biased(nn.Module):
    def __init__(self, name, last_alone):
        super().__init__()
        plain = {"bias": not last_alone}
        layers = nn.Sequential(
            nn.ConvTranspose2d(7, 12, 4, 1, 0, **plain), nn.BatchNorm2d(12), nn.ReLU(True),
            nn.ConvTranspose2d(12, 8, 4, 2, 1, **plain), nn.BatchNorm2d(8), nn.ReLU(True),
            nn.ConvTranspose2d(8, 3, 4, 2, 1), nn.Tanh(),
        )  # fmt: skip
        self.add_module(name, layers)
        self.name = name

    def forward(self, z):
        return getattr(self, self.name)(z[:, :, None, None])


@pytest.mark.parametrize(
    "module", [Biased("main", False), Biased("main", True), Biased("network", False), Blocks()], ids=range(4)
)
def test_a_dcgan_with_biases_or_of_another_name(module, tmp_path):
    module = filled(module, seed=2)
    done = converted({"model": module.state_dict()}, tmp_path)
    assert done.family == "dcgan"
    assert draws_the_same(tmp_path, module)
    bare = {name.partition(".")[2]: tensor for name, tensor in module.state_dict().items()}
    (tmp_path / "bare").mkdir()
    converted(bare, tmp_path / "bare")
    assert draws_the_same(tmp_path / "bare", module)


def test_rosinality_without_noises_gets_fixed_ones(state, tmp_path):
    checkpoint = rosinality_checkpoint(state)
    whole = checkpoint["g_ema"]
    checkpoint["g_ema"] = {name: tensor for name, tensor in whole.items() if not name.startswith("noises.")}
    converted(checkpoint, tmp_path)
    generator = load_generator(str(tmp_path / "out"))
    z = generator.latents(2, 0)
    assert torch.equal(generator.run(z), load_generator(str(tmp_path / "out")).run(z))
    noise = generator.module.synthesis.b8.conv0.noise_const
    assert 0.5 < noise.std() < 1.5
    without = load_generator(str(tmp_path / "out"), noise="none")
    ws = written_out_styles(state, z)[:, None].expand(-1, 6, -1)
    torch.testing.assert_close(without.run(z).double(), written_out_image(state, ws, noise=False)[0], **TOLERANCE)
    del checkpoint["g_ema"]["to_rgb1.bias"]
    checkpoint["g_ema"]["noises.noise_0"] = whole["noises.noise_0"]
    with pytest.raises(LayoutError, match=r"to_rgb1\.bias"):
        converted(checkpoint, tmp_path)


@pytest.mark.parametrize("channels", [1, 4])
def test_rosinality_in_grey_or_with_alpha(channels, state, tmp_path):
    checkpoint = rosinality_checkpoint(state)
    shown = [0, 1, 2, 0][:channels]
    for name, tensor in checkpoint["g_ema"].items():
        if name.startswith("to_rgb") and (name.endswith(("0.conv.weight", "1.conv.weight")) or tensor.ndim == 4):
            checkpoint["g_ema"][name] = tensor[:, shown]
    done = converted(checkpoint, tmp_path)
    assert done.config["channels"] == channels
    assert load_generator(str(tmp_path / "out")).sample(2, 0).shape == (2, 3, 16, 16)
    generator = load_generator(str(tmp_path / "out"))
    z = generator.latents(2, 0)
    ws = written_out_styles(state, z)[:, None].expand(-1, 6, -1)
    expected = written_out_image(state, ws)[0][:, shown]
    torch.testing.assert_close(generator.run(z).double(), expected, **TOLERANCE)


def test_a_rosinality_file_whose_mapping_takes_more_than_z_is_refused(state, tmp_path):
    checkpoint = rosinality_checkpoint(state)
    checkpoint["g_ema"]["style.1.weight"] = torch.randn(6, 12)
    with pytest.raises(LayoutError, match=r"takes 12 numbers and w has 6.*module:callable"):
        converted(checkpoint, tmp_path)
    assert not (tmp_path / "out").exists()


def genforce_state(state):
    """The same StyleGAN2 as GenForce stores it."""
    filters = torch.outer(torch.tensor([1.0, 3, 3, 1]), torch.tensor([1.0, 3, 3, 1]))[None, None] / 16
    found = {"truncation.w_avg": state["mapping.w_avg"], "synthesis.upsample.kernel": filters}
    for layer in range(2):
        found |= {f"mapping.dense{layer}.{part}": state[f"mapping.fc{layer}.{part}"] for part in ("weight", "bias")}
    found["synthesis.early_layer.const"] = state["synthesis.b4.const"][None]
    order = [f"synthesis.b{side}.conv{number}" for side in WIDTHS for number in (0, 1)][1:]
    layers = [(f"synthesis.layer{number}", name) for number, name in enumerate(order)]
    layers += [(f"synthesis.output{number}", f"synthesis.b{side}.torgb") for number, side in enumerate(WIDTHS)]
    for theirs, name in layers:
        weight = state[f"{name}.weight"]
        if not name.endswith("torgb"):
            weight = weight * math.sqrt(weight[0].numel())
            found[f"{theirs}.noise"] = state[f"{name}.noise_const"][None, None]
            found[f"{theirs}.noise_strength"] = state[f"{name}.noise_strength"]
        if name.endswith("conv0"):
            weight = weight.flip(2, 3)
            found[f"{theirs}.filter.kernel"] = filters
        found |= {f"{theirs}.weight": weight, f"{theirs}.bias": state[f"{name}.bias"]}
        found[f"{theirs}.style.weight"] = state[f"{name}.affine.weight"]
        found[f"{theirs}.style.bias"] = state[f"{name}.affine.bias"] - 1
    return found


def test_genforce_s_stylegan2_draws_the_same_images(state, tmp_path):
    theirs = genforce_state(state)
    done = converted({"generator": theirs, "generator_smooth": dict(theirs), "discriminator": {}}, tmp_path)
    assert (done.family, done.group) == ("stylegan2-genforce", "generator_smooth")
    generator = load_generator(str(tmp_path / "out"))
    z = generator.latents(3, 0)
    ws = written_out_styles(state, z)[:, None].expand(-1, 6, -1)
    torch.testing.assert_close(generator.run(z).double(), written_out_image(state, ws)[0], **TOLERANCE)
    theirs["mapping.label_weight"] = torch.zeros(3, 6)
    with pytest.raises(LayoutError, match="conditional GenForce StyleGAN2"):
        converted(theirs, tmp_path)


def test_genforce_s_progressive_gan_draws_the_same_images(tmp_path):
    config = {"z_width": 5, "widths": [6, 4, 3], "channels": 3, "pixel_bias": False}
    module = filled(DISSECTION.build(config), seed=3)
    ours = module.state_dict()
    theirs = {"lod": torch.zeros(())}
    for number in range(6):
        theirs[f"layer{number}.weight"] = ours[f"layer{number + 1}.conv.weight"]
        theirs[f"layer{number}.bias"] = ours[f"layer{number + 1}.wscale.b"]
    for number, width in enumerate(config["widths"]):
        theirs |= {f"output{number}.weight": torch.zeros(3, width, 1, 1), f"output{number}.bias": torch.zeros(3)}
    theirs |= {"output2.weight": ours["output_16x16.conv.weight"], "output2.bias": ours["output_16x16.wscale.b"]}
    done = converted(theirs, tmp_path)
    assert done.family == PGGAN.name
    assert draws_the_same(tmp_path, module)
    with pytest.raises(LayoutError, match="stopped growing at lod 2"):
        converted(theirs | {"lod": torch.tensor(2.0)}, tmp_path)


OTHERS = {
    "StyleGAN3": ["mapping.fc0.weight", "synthesis.input.freqs", "synthesis.L0_36_512.weight"],
    "BigGAN-PyTorch": ["shared.weight", "linear.weight", "blocks.0.0.bn1.gain.weight", "output_layer.2.weight"],
    "StudioGAN": ["linear0.weight_orig", "blocks.0.0.conv2d1.weight_orig", "conv2d5.weight_orig"],
    "FastGAN": ["init.init.0.weight_orig", "feat_8.1.weight_orig", "se_64.main.1.weight_orig"],
}


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.parametrize("prefix", ["", "module."])
def test_a_known_model_that_is_not_read_is_called_by_its_name(name, prefix, tmp_path):
    state = {f"{prefix}{key}": torch.zeros(2, 2) for key in OTHERS[name]}
    with pytest.raises(LayoutError, match=f"those of {name}, which convert does not read.*MODEL as module:callable"):
        converted({"state_dict": state}, tmp_path)


def test_any_other_model_is_told_the_way_too(tmp_path):
    with pytest.raises(LayoutError, match=r"Build any other model with its own code.*module:callable"):
        converted(nn.Linear(2, 2).state_dict(), tmp_path)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"<!DOCTYPE html><html><title>Quota exceeded</title></html>", "it is a web page"),
        (b"\n <HTML lang=en>", "it is a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3\n", "it is a Git LFS pointer"),
        (gzip.compress(b"x", mtime=0), "compressed by gzip"),
        (b"\x89HDF\r\n\x1a\n", "an HDF5 file, as Keras writes them"),
        (b"404: Not Found", "it is a text that begins '404: Not Found'"),
        (b'{"message": "Not Found"}', "it is a text that begins"),
        (b"\x97\x98 no opcode of a checkpoint", "another kind of file, or damaged"),
    ],
)
def test_a_file_of_another_kind_is_called_what_it_is(content, words, tmp_path):
    (tmp_path / "x.pt").write_bytes(content)
    with pytest.raises(ConversionError, match=words):
        convert(tmp_path / "x.pt", tmp_path / "out", trusted=True)
    assert not (tmp_path / "out").exists()


def test_a_zip_of_something_else_lists_what_is_in_it(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.pt", "w") as archive:
        archive.writestr("model/network.pth", b"x")
    with pytest.raises(ConversionError, match=r"a zip archive of model/network\.pth, and none of torch\.save's"):
        convert(tmp_path / "x.pt", tmp_path / "out", trusted=True)


@pytest.mark.parametrize(
    ("tensor", "words"),
    [
        (torch.zeros(1).expand(2**40), r"'w' of size \(1099511627776,\) is made of 4 bytes"),
        (torch.zeros(3, 3).to_sparse(), "'w' is sparse coo, and convert reads plain dense ones"),
        (torch.zeros(3, 3).to_sparse_csr(), "'w' is sparse csr"),
        (torch.zeros(3, device="meta"), "on the device meta"),
        (torch.zeros(3, dtype=torch.complex64), r"'w' holds torch\.complex64"),
        (torch.quantize_per_tensor(torch.zeros(3), 0.1, 0, torch.qint8), "'w' is quantised"),
    ],
)
@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("beside", [{}, {"args": Namespace()}])  # a class makes torch's own loader refuse the file
def test_tensors_that_no_checkpoint_has_are_refused_by_name(tensor, words, beside, tmp_path):
    torch.save({"w": tensor} | beside, tmp_path / "x.pt")
    with pytest.raises(ConversionError, match=r"x\.pt (can't be read|holds no arrays)" if beside else words):
        convert(tmp_path / "x.pt", tmp_path / "out", trusted=True)
    assert not (tmp_path / "out").exists()


def test_two_runs_and_a_resumed_one_write_the_same_bytes(dcgan, tmp_path, monkeypatch):
    """What the reading process had in memory before, and whether a run is the first, are no part of the result."""
    torch.save(dcgan.state_dict(), tmp_path / "x.pt")
    place = tmp_path / "here"

    def run(**options):
        run_convert(tmp_path / "x.pt", place, trusted=True, samples=SampleSettings(), **options)
        return {file.name: file.read_bytes() for file in place.iterdir()}

    whole = run()
    assert run() == whole  # resumed
    assert run(resume=False) == whole
    for last in ("summary.json", "generator.json", "samples.png"):  # killed before it was written
        (place / last).unlink()
        assert run() == whole
    assert json.loads(whole["summary.json"])["family"] == "dcgan"


def test_the_limits_that_are_told_do_not_depend_on_the_process(monkeypatch):
    resource = pytest.importorskip("resource")
    monkeypatch.setattr(resource, "setrlimit", lambda *_: None)
    told = []
    for in_use in (2**28, 2**31 + 12345):
        monkeypatch.setattr("genmend.gans.conversion.child._memory_in_use", lambda in_use=in_use: in_use)
        told.append(limit_resources(2**20))
    assert told[0] == told[1]
    assert "1030 MiB more than it began with" in told[0]
