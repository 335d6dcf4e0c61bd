"""``genmend convert`` as a user runs it."""

import json
import os
import sys
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from PIL import Image
from scratch_commands import genmend

from genmend.activations.digests import weights_digest
from genmend.gans import DCGAN, load_generator
from genmend.gans.conversion.child import read_or_explain
from genmend.manifold.figures.image_grid import to_pixels
from genmend.storage.digests import sha256_of_file


@pytest.fixture(autouse=True)
def reads_here(monkeypatch):
    """Without the reading process, but for the module's first conversion, which comes before this."""

    def read_here(source):
        contents = read_or_explain(source) | {"isolation": {"process": "none"}}
        if "arrays" in contents:  # a safetensors file has them in this order
            contents["arrays"] = dict(sorted(contents["arrays"].items()))
        return contents

    monkeypatch.setattr(sys.modules["genmend.gans.conversion.convert"], "read_in_child", read_here)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("convert")
    torch.manual_seed(0)
    module = DCGAN(7, (8, 6)).eval()
    other = {"weight": torch.zeros(2, 2)}
    torch.save({"g": module.state_dict(), "d": other}, folder / "own.pth")
    return folder


def convert(folder, *arguments, file="own.pth", out="out"):
    return genmend(folder, "convert", file, "--out", out, "--i-trust-this-file", *arguments)


@pytest.fixture(scope="module")
def converted(folder):
    done = convert(folder, "--json")
    assert done.returncode == 0, done.stderr
    return done


def test_convert_writes_a_folder_that_is_a_model(folder, converted):
    out = folder / "out"
    result = json.loads(converted.stdout)
    assert result == json.loads((out / "summary.json").read_text())
    assert "SHA-256" in converted.stderr
    assert "Refused names: none" in converted.stderr
    saved = torch.load(folder / "own.pth", weights_only=True)
    module = DCGAN(7, (8, 6)).eval()
    module.load_state_dict(saved["g"])
    generator = load_generator(str(out))
    z = generator.latents(2, 0)
    with torch.no_grad():
        assert torch.equal(generator.run(z), module(z))
    assert result["source_sha256"] == sha256_of_file(folder / "own.pth")
    assert result["generator_sha256"] == sha256_of_file(out / "generator.safetensors")
    assert result["other_groups"] == {"d": 1}
    loaded = result["loaded"]
    assert loaded["weights_sha256"] == weights_digest(module)
    assert loaded["layers"] == {"main.2": [8, 4, 4], "main.5": [6, 8, 8]}
    assert (loaded["latent_shape"], loaded["image_shape"]) == ([7], [3, 16, 16])


def test_the_page_shows_samples_of_the_seed(folder, converted):
    images = to_pixels(load_generator(str(folder / "out")).sample(16, 0))
    grid = np.asarray(Image.open(folder / "out" / "samples.png"))[::4, ::4]  # each pixel is enlarged to 4
    assert grid.shape == (2 * 20, 8 * 20, 3)  # a gap of 2 on each side
    for n, image in enumerate(images):
        row, column = divmod(n, 8)
        assert np.array_equal(grid[20 * row + 2 : 20 * row + 18, 20 * column + 2 : 20 * column + 18], image)
    page = (folder / "out" / "report.html").read_text()
    first, _, _ = page.partition("<section")
    assert "which draws images of 16 x 16 pixels" in first
    assert f"{len(load_generator(str(folder / 'out')).module.state_dict())} of" in first
    assert "16 samples of seed 0" in first
    assert "main.5" in page
    assert convert(folder, "--seed", "1", out="seeded").returncode == 0
    assert (folder / "seeded" / "samples.png").read_bytes() != (folder / "out" / "samples.png").read_bytes()
    summaries = [json.loads((folder / name / "summary.json").read_text()) for name in ("out", "seeded")]
    assert summaries[0]["generator_sha256"] == summaries[1]["generator_sha256"]


def test_what_was_converted_before_is_not_read_again(folder, converted, monkeypatch):
    refuse = Mock(side_effect=AssertionError("the file was read again"))
    monkeypatch.setattr("genmend.workbench.commands.gans.convert.convert", refuse)
    again = convert(folder, "--json")
    assert json.loads(again.stdout) == json.loads(converted.stdout)
    assert "Converted before; nothing was read again." in again.stderr
    for arguments in (["--no-resume"], ["--group", "g"], ["--n-classes", "1"]):
        with pytest.raises(AssertionError, match="read again"):
            convert(folder, *arguments)
    with pytest.raises(AssertionError, match="read again"):  # no shortcut round the flag of trust
        genmend(folder, "convert", "own.pth", "--out", "out")


def test_another_file_or_a_damaged_result_is_converted_anew(folder, converted):
    assert convert(folder, out="changing").returncode == 0
    arrays = folder / "changing" / "generator.safetensors"
    whole = arrays.read_bytes()
    arrays.write_bytes(whole[:-4] + os.urandom(4))
    done = convert(folder, out="changing")
    assert "Converted before" not in done.stderr
    assert arrays.read_bytes() == whole
    torch.manual_seed(1)
    torch.save(DCGAN(7, (8, 6)).state_dict(), folder / "second.pth")
    done = convert(folder, out="changing", file="second.pth")
    assert "Converted before" not in done.stderr
    assert arrays.read_bytes() != whole


def test_no_samples_loads_nothing(folder, converted, monkeypatch):
    assert convert(folder, out="huge").returncode == 0
    assert (folder / "huge" / "samples.png").is_file()

    def refuse(*arguments, **options):
        raise AssertionError("the model was loaded")

    monkeypatch.setattr("genmend.workbench.commands.gans.convert.sample_converted", refuse)
    done = convert(folder, "--no-samples", "--json", out="huge")
    assert done.returncode == 0
    assert json.loads(done.stdout)["loaded"] == {}
    assert not (folder / "huge" / "samples.png").exists()
    assert "nothing was drawn, as asked for" in (folder / "huge" / "report.html").read_text()


def test_samples_with_nan_are_an_error(folder):
    torch.manual_seed(0)
    state = DCGAN(7, (8, 6)).state_dict()
    state["main.0.weight"].fill_(torch.nan)
    torch.save(state, folder / "nan.pth")
    done = convert(folder, file="nan.pth", out="nan")
    assert done.returncode == 2
    assert "draws images with NaN" in done.stderr


def test_without_the_flag_it_explains_and_writes_nothing(folder):
    (folder / "x.pkl").write_bytes(b"\x80\x04N.")
    done = genmend(folder, "convert", "x.pkl", "--out", "untrusted")
    assert done.returncode == 2
    assert "--i-trust-this-file" in done.stderr
    assert not (folder / "untrusted").exists()


def test_what_does_not_fit_is_listed_on_a_page_too(folder):
    saved = torch.load(folder / "own.pth", weights_only=True)
    state = dict(saved["g"])
    state["main.1.weight"] = state["main.1.weight"][:3]
    state["main.99.bias"] = state.pop("main.4.bias")
    torch.save(state, folder / "other.pth")
    done = convert(folder, "--family", "dcgan", file="other.pth", out="misfit")
    assert done.returncode == 2
    page = (folder / "misfit" / "misfit.html").read_text(encoding="utf-8")
    for name in ("main.1.weight", "main.99.bias", "main.4.bias"):
        assert name in done.stderr
        assert name in page
    assert [path.name for path in (folder / "misfit").iterdir()] == ["misfit.html"]
    assert convert(folder, out="misfit").returncode == 0
    assert not (folder / "misfit" / "misfit.html").exists()
