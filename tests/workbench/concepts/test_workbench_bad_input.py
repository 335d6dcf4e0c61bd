"""What explain, regions and circuit say, on the command line, of a model or images that they can't serve."""

import json

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from genmend.concepts.scalar_target import NotDeterministicWarning
from genmend.workbench.cli.main import app

OWN = """
import torch
from torch import nn


class Noise(nn.Module):
    def forward(self, maps):
        return maps + 0.1 * torch.randn_like(maps)


class Never(nn.Module):
    def __init__(self):
        super().__init__()
        self.net, self.spare = build(), nn.ReLU()

    def forward(self, images):
        return self.net(images)


def build(*more, gate=True):
    torch.manual_seed(0)
    maps = [nn.Conv2d(3, 4, 3), *more, nn.ReLU() if gate else nn.Identity()]
    return nn.Sequential(*maps, nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(64, 3))


def gateless():
    return build(gate=False)


def noisy():
    return build(Noise())


def never():
    return Never()
"""
EXPLAIN = ["explain", "--side", "12", "--methods", "saliency", "--model"]
REGIONS = ["regions", "--side", "12", "--query", "1", "--k", "4", "--slice-points", "3", "--model"]
CIRCUIT = ["circuit", "--side", "12", "--n-images", "1", "--model"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bad")
    (folder / "owns.py").write_text(OWN)
    (folder / "images").mkdir()
    images = np.random.default_rng(0).random((24, 3, 14, 12)).astype(np.float32)
    for number, image in enumerate(images):
        Image.fromarray((image.transpose(1, 2, 0) * 255).astype(np.uint8)).save(folder / "images" / f"{number:02d}.png")
    np.save(folder / "good.npy", images)
    images[1, 0, 0, 0] = np.nan
    np.save(folder / "nan.npy", images)
    return folder


@pytest.fixture
def run(folder, monkeypatch):
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(folder)
    return lambda *arguments: CliRunner().invoke(app, arguments)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([*EXPLAIN, "owns:build", "nan.npy"], "image 1 cannot be used: its values go from nan to nan"),
        ([*REGIONS, "owns:build", "nan.npy"], "image 1 cannot be used: its values go from nan to nan"),
        (
            [*REGIONS, "owns:gateless", "images"],
            "No nonlinearity of this model is a module of its own: name a layer (--l",
        ),
        (
            [*REGIONS, "owns:never", "images", "--layer", "spare"],
            "layer 'spare' never ran when the model was called: na",
        ),
        (
            [*REGIONS, "owns:build", "images", "--k", "24"],
            "There are 24 samples, but regions of the k = 24 nearest nee",
        ),
        ([*CIRCUIT, "owns:gateless", "images"], "No three modules of the model follow one another"),
        (
            [*CIRCUIT, "owns:never", "images", "--layers", "net.0,spare"],
            "block 'spare' ran 0 times in one call of the m",
        ),
    ],
)
def test_it_is_one_sentence(run, folder, arguments, says):
    done = run(*arguments, "--out", "bad")
    assert isinstance(done.exception, ValueError), done.output
    assert says in str(done.exception)
    assert not (folder / "bad" / "report.html").exists()


def test_an_array_of_images_has_regions_too(run, folder):
    assert run(*REGIONS, "owns:build", "good.npy", "--out", "array").exit_code == 0
    totals = json.loads((folder / "array" / "summary.json").read_text())
    assert (totals["n"], totals["query"]["query"]) == (24, 1)


def test_that_two_runs_differ_is_said_with_the_spread(run, folder):
    with pytest.warns(NotDeterministicWarning, match=r"Two runs of the model on one input differ by 0\.\d+: what"):
        assert run(*EXPLAIN, "owns:noisy", "images", "--out", "noisy").exit_code == 0
    assert "Two runs of the model on one input differ by" in (folder / "noisy" / "report.html").read_text()
    with pytest.warns(NotDeterministicWarning, match=r"Two runs of layer '2' on one input differ by 0\.\d+: what"):
        assert run(*REGIONS, "owns:noisy", "images", "--out", "noisy-regions").exit_code == 0
