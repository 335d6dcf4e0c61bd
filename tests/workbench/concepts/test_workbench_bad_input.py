"""What explain, regions and circuit say, on the command line, of a model or images that they can't serve."""

import json

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from genmend.concepts.scalar_target import NotDeterministicWarning
from genmend.workbench.cli.main import app

EXPLAIN = ["explain", "--side", "12", "--methods", "saliency", "--model"]
REGIONS = ["regions", "--side", "12", "--query", "1", "--k", "4", "--slice-points", "3", "--model"]
CIRCUIT = ["circuit", "--side", "12", "--n-images", "1", "--model"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bad")
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
    return lambda *arguments: CliRunner().invoke(app, arguments)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([*EXPLAIN, "concepts_toys:classifier", "nan.npy"], "image 1 cannot be used: its values are NaN in places"),
        ([*REGIONS, "concepts_toys:classifier", "nan.npy"], "image 1 cannot be used: its values are NaN in places"),
        (
            [*REGIONS, "concepts_toys:gateless", "images"],
            "No nonlinearity of this model is a module of its own: name a layer (--l",
        ),
        (
            [*REGIONS, "concepts_toys:never", "images", "--layer", "spare"],
            "layer 'spare' never ran when the model was called: na",
        ),
        (
            [*REGIONS, "concepts_toys:classifier", "images", "--k", "24"],
            "There are 24 samples, but regions of the k = 24 nearest nee",
        ),
        (
            [*EXPLAIN, "concepts_toys:classifier", "images", "--target", "3"],
            "target 3 is no class of the model: it has 3, 0 to 2.",
        ),
        (
            [*EXPLAIN, "concepts_toys:classifier", "images", "--target", "-1"],
            "has no class '-1'; its classes have no names: give a number.",
        ),
        (
            [*CIRCUIT, "concepts_toys:classifier", "images", "--layers", "0,1", "--target", "3"],
            "target 3 is no class of the model: it has 3, 0 to 2.",
        ),
        (
            [*CIRCUIT, "concepts_toys:classifier", "images", "--layers", "0,1", "--target", "-1"],
            "has no class '-1'; its classes have no names: give a number.",
        ),
        (
            [*REGIONS, "concepts_toys:classifier", "images", "--query", "24"],
            "--query is 24, but samples go from 0 to 23.",
        ),
        (
            [*REGIONS, "concepts_toys:classifier", "images", "--query", "-1"],
            "--query: no sample is named '-1'; give a n",
        ),
        ([*CIRCUIT, "concepts_toys:gateless", "images"], "No three modules of the model follow one another"),
        (
            [*CIRCUIT, "concepts_toys:never", "images", "--layers", "net.0,spare"],
            "layer 'spare' never ran when the model was called: name one that runs ('net.0', 'net.1', ",
        ),
    ],
)
def test_it_is_one_sentence(run, folder, arguments, says):
    done = run(*arguments, "--out", "bad")
    assert isinstance(done.exception, ValueError), done.output
    assert says in str(done.exception)
    assert not (folder / "bad" / "report.html").exists()


def test_an_array_of_images_has_regions_too(run, folder):
    assert run(*REGIONS, "concepts_toys:classifier", "good.npy", "--out", "array").exit_code == 0
    totals = json.loads((folder / "array" / "summary.json").read_text())
    assert (totals["n"], totals["query"]["query"]) == (24, 1)


def test_that_two_runs_differ_is_said_with_the_spread(run, folder):
    with pytest.warns(NotDeterministicWarning, match=r"Two runs of the model on one input differ by 0\.\d+: what"):
        assert run(*EXPLAIN, "concepts_toys:noisy", "images", "--out", "noisy").exit_code == 0
    assert "Two runs of the model on one input differ by" in (folder / "noisy" / "report.html").read_text()
    with pytest.warns(NotDeterministicWarning, match=r"Two runs of layer '1' on one input differ by 0\.\d+: what"):
        assert run(*REGIONS, "concepts_toys:noisy", "images", "--out", "noisy-regions").exit_code == 0
