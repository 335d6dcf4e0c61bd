import json

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from genmend.workbench.cli.main import app

OWN = """
import torch
from torch import nn


def build():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(64, 3)).eval()
"""
ARGS = ["--model", "own:build", "--side", "12", "--methods", "input-x-gradient,grad-cam,distilled-gradient"]


@pytest.fixture
def here(tmp_path, monkeypatch):
    (tmp_path / "own.py").write_text(OWN)
    (tmp_path / "images").mkdir()
    rng = np.random.default_rng(0)
    for number in range(3):
        pixels = rng.integers(0, 256, (20, 16, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "images" / f"{number}.png")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def run(*arguments):
    return CliRunner().invoke(app, ["explain", *arguments])


def test_a_folder_of_images_is_explained(here):
    done = run("images", "--out", "out", *ARGS, "--json")
    assert done.exit_code == 0, done.output
    totals = json.loads((here / "out" / "summary.json").read_text())
    assert totals["images"] == ["0.png", "1.png", "2.png"]
    assert totals["model"] == "own:build"
    assert [each["method"] for each in totals["methods"]][-1] == "random"
    assert len(totals["methods"]) == 4
    maps = np.load(here / "out" / "explanations.npz")
    assert maps["grad-cam"].shape == (3, 12, 12)
    page = (here / "out" / "report.html").read_text()
    assert "To look at first" in page
    assert "uniform noise" in page
    before = (here / "out" / "summary.json").read_text()
    assert run("images", "--out", "out", *ARGS).exit_code == 0
    assert (here / "out" / "summary.json").read_text() == before, "a second run takes what is there, its seconds too"


def test_an_array_of_images(here):
    np.save(here / "two.npy", np.random.default_rng(0).random((2, 3, 14, 12)).astype(np.float32))
    assert run("two.npy", "--out", "array", *ARGS, "--methods", "saliency").exit_code == 0
    assert json.loads((here / "array" / "summary.json").read_text())["images"] == ["0", "1"]


def test_settings_are_tuned_and_the_page_says_what_that_gained(here):
    pytest.importorskip("optuna")
    np.save(here / "four.npy", np.random.default_rng(0).random((4, 3, 14, 12)).astype(np.float32))
    assert run("four.npy", "--out", "tuned", *ARGS, "--tune", "2").exit_code == 0
    totals = json.loads((here / "tuned" / "summary.json").read_text())
    tuned = {each["method"]: each["tuned"] for each in totals["methods"]}
    assert tuned["distilled-gradient"]["n_held_out"] == 2
    assert tuned["grad-cam"] is None
    assert "gain, held out" in (here / "tuned" / "report.html").read_text()


def test_one_image_and_a_class(here):
    assert run("images/1.png", "--out", "one", "--target", "2", *ARGS).exit_code == 0
    totals = json.loads((here / "one" / "summary.json").read_text())
    assert totals["targets"] == [2]
    assert totals["methods"][0]["scores"]["AbPC"]["half_width"] is None


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--target", "cat"], "no class 'cat'"),
        (["--target", "7"], "target 7 is no class of the model: it has 3"),
        (["--methods", "lime"], "'lime' is no method"),
        (["--model", "resnet"], "'resnet' is no classifier"),
        (["--model", "own:missing"], "missing"),
        (["--tune", "2"], "There are 3 images, but tuning needs at least 4"),
    ],
)
def test_errors_are_one_sentence(here, arguments, says):
    done = run("images", "--out", "bad", *ARGS, *arguments)
    assert says in str(done.exception) or says in done.output
    assert not (here / "bad" / "report.html").exists()
