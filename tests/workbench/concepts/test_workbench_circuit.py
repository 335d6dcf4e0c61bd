import json

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from genmend.concepts.circuits import circuit_images
from genmend.concepts.scalar_target import NotDeterministicWarning
from genmend.concepts.settings import SCREEN_OF_WIDE
from genmend.workbench.cli.main import app
from genmend.workbench.pages.concepts.circuit_drawing import short_names

OWN = """
import torch
from concepts_toys import Noise
from torch import nn


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(width, width, 3, padding=1), nn.ReLU())

    def forward(self, maps):
        return maps + self.body(maps)


def build():
    torch.manual_seed(0)
    blocks = nn.Sequential(*(Block(32) for _ in range(3)))
    return nn.Sequential(nn.Conv2d(3, 32, 3), blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 3)).eval()


def noisy():
    return build().insert(2, Noise()).eval()
"""
ARGS = ["--model", "own:build", "--side", "12", "--n-draws", "3"]


@pytest.fixture
def here(tmp_path, monkeypatch):
    (tmp_path / "own.py").write_text(OWN)
    (tmp_path / "images").mkdir()
    rng = np.random.default_rng(0)
    for number in range(60):
        # Every image of a few colours, so that units have images of their own.
        pixels = rng.integers(0, 256, (2, 2, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
        if number in (3, 7):  # the strongest contrasts: top images of some units in any case
            pixels = np.where(pixels > 128, np.uint8(255), np.uint8(0))
        Image.fromarray(pixels).save(tmp_path / "images" / f"{number:02d}.png")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def run(*arguments):
    return CliRunner().invoke(app, ["circuit", *arguments])


def test_circuits_of_one_image_against_its_own_folder(here):
    (here / "images" / "torn.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    done = run("images/03.png", "--out", "out", *ARGS, "--json")
    assert done.exit_code == 0, done.output
    totals = json.loads((here / "out" / "circuits.json").read_text())
    assert totals["blocks"] == ["1.0", "1.1", "1.2"]
    assert totals["n_reference"] == 60
    assert totals["n_top"] == 5
    assert totals["skipped"][0][0] == "torn.png"
    (image,) = totals["images"]
    assert image["n_units"]
    assert len(image["drop_of_all"]["random"]) == 3
    page = (here / "out" / "report.html").read_text()
    assert "Without the" in page
    assert "<svg" in page
    assert "data:image/jpeg" in page
    assert "torn.png" in page
    import networkx

    assert len(networkx.read_graphml(here / "out" / "circuit-0.graphml")) == image["n_units"]
    index = next((here / "out" / "work").glob("index-*"))
    before = index.stat().st_mtime_ns
    assert not (here / "out" / "work" / "index-pieces").exists()
    assert run("images/07.png", "--reference", "images", "--out", "out", *ARGS).exit_code == 0
    assert index.stat().st_mtime_ns == before, "a second image takes the index that is there"
    again = json.loads((here / "out" / "circuits.json").read_text())
    assert again["images"][0]["name"] == "07.png"
    assert run("images/03.png", "--out", "out", *ARGS).exit_code == 0
    assert json.loads((here / "out" / "circuits.json").read_text()) == totals, "seconds and draws too"


def test_a_folder_is_its_own_reference_and_the_class_is_chosen(here):
    done = run(
        "images", "--out", "out", *ARGS, "--target", "1", "--n-images", "2", "--patch", "mean", "--screen", "0.9"
    )
    assert done.exit_code == 0, done.output
    totals = json.loads((here / "out" / "circuits.json").read_text())
    assert [image["target"] for image in totals["images"]] == [1, 1]
    assert "1 other image stands below" in (here / "out" / "report.html").read_text()


def test_wide_blocks_are_screened_unless_the_user_says_a_share(here, monkeypatch):
    used = []
    found = circuit_images.find_circuits
    monkeypatch.setattr(circuit_images, "find_circuits", lambda *a, **k: used.append(k["screen"]) or found(*a, **k))
    for wide, more in ((1_500, ()), (2, ()), (2, ("--screen", "0.9"))):
        monkeypatch.setattr("genmend.concepts.settings.WIDE", wide)
        assert run("images/03.png", "--out", f"out-{len(used)}", *ARGS, *more).exit_code == 0
    assert used == [1.0, SCREEN_OF_WIDE, 0.9]


def test_a_model_whose_runs_differ_is_said_with_the_spread(here):
    with pytest.warns(NotDeterministicWarning, match=r"Two runs of the model on one input differ by \d") as said:
        assert run("images/03.png", "--out", "out", *ARGS, "--model", "own:noisy").exit_code == 0
    assert len([each for each in said if each.category is NotDeterministicWarning]) == 1
    totals = json.loads((here / "out" / "circuits.json").read_text())
    assert (
        f"Two runs of the model on one input differ by {totals['spread']:.2g}: what stands here is of one run."
        in (here / "out" / "report.html").read_text()
    )


def test_long_names_of_blocks_fit_their_columns():
    tower = [f"0.tower.vision_model.encoder.layers.{n}.mlp.activation_fn" for n in (9, 10)]
    assert short_names(tower) == ["layers.9", "layers.10"]
    assert short_names(["features.9", "features.10"]) == ["features.9", "features.10"]
    for names in (["down_blocks.0.attentions.0.ff.net.0", "mid_block.resnets.1.conv1"], ["a" * 40]):
        assert all(0 < len(name) <= 26 for name in short_names(names))


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["images", "--layers", "1.0,1.7"], "1.7"),
        (["images", "--layers", "1.1,1.0"], "does not follow"),
        (["images", "--target", "7"], "target 7 is no class of the model: it has 3"),
        (["images", "--patch", "double"], "accepted are 'zero' and 'mean'"),
        (["images", "--screen", "0"], "screen is 0.0; give a share"),
        (["images/03.png", "--reference", "few"], "The reference few has 2 images"),
        (["few/0.png"], "own folder"),
        (["images/03.png", "--reference", "empty"], "holds no images"),
        (["nan.npy", "--reference", "images"], "cannot be used"),
        (["images", "--reference", "nan.npy"], "None of the 60 images"),
    ],
)
def test_errors_are_one_sentence(here, arguments, says):
    for name in ("few", "empty"):
        (here / name).mkdir()
    for number in range(2):
        Image.new("RGB", (16, 16)).save(here / "few" / f"{number}.png")
    np.save(here / "nan.npy", np.full((60, 3, 12, 12), np.nan, dtype=np.float32))
    done = run(*arguments, "--out", "bad", *ARGS)
    assert done.exit_code != 0
    assert says in str(done.exception) or says in done.output
    assert not (here / "bad" / "report.html").exists()


def test_the_folders_of_the_reference_are_classes_of_features(here, monkeypatch):
    import own
    from torch import nn

    from genmend.concepts import labelled_classes
    from genmend.manifold.features.image_extractor import ImageExtractor

    network = nn.Sequential(*list(own.build())[:-1])
    extractor = ImageExtractor("clip-vit-b16", network, side=12, mean=(0.5,) * 3, std=(0.5,) * 3)
    monkeypatch.setattr(labelled_classes, "load_extractor", lambda name: extractor)
    for number in range(60):
        folder = here / "labelled" / ("dark" if number % 2 else "light")
        folder.mkdir(parents=True, exist_ok=True)
        with Image.open(here / "images" / f"{number:02d}.png") as image:
            image.point(lambda value, number=number: value // 2 if number % 2 else 127 + value // 2).save(
                folder / f"{number}.png"
            )
    args = ["labelled/dark/3.png", "--model", "clip-vit-b16", "--out", "out", "--n-draws", "2"]
    done = run(*args, "--reference", "labelled", "--target", "dark")
    assert done.exit_code == 0, done.output
    totals = json.loads((here / "out" / "circuits.json").read_text())
    assert totals["images"][0]["class"] == "dark"
    assert "its 2 folders" in totals["classes"]
    assert "its 2 folders" in (here / "out" / "report.html").read_text()
    alone = run(*args)
    assert alone.exit_code != 0
    assert "with a folder of images for each class" in str(alone.exception) + alone.output
