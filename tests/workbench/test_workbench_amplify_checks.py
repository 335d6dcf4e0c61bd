"""``genmend amplify``: all is checked before anything is drawn; presets say how their family is run; verdicts."""

import json
import sys
from dataclasses import replace

import diffusion_toys
import numpy as np
import pytest
from PIL import Image

from genmend.diffusion import PRESETS
from genmend.diffusion.loading import TextToImage, load_text_to_image
from genmend.diffusion.search import comparison
from genmend.diffusion.search.comparison import compare_amplification
from genmend.diffusion.search.plan import planned
from genmend.diffusion.search.settings import AmplifySettings
from genmend.diffusion.search.trials import Comparison, Scores, compare_scores
from genmend.diffusion.search.verdict import verdict
from genmend.workbench.cli.main import _run, app


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    place = tmp_path_factory.mktemp("toys")
    for name in ("sd15", "sdxl"):
        (place / name).mkdir()
        getattr(diffusion_toys, name)(place / name).save_pretrained(place / name / "pipe")
    return {name: place / name / "pipe" for name in ("sd15", "sdxl")}


@pytest.fixture
def nothing_drawn(monkeypatch):
    def drawn(*arguments, **settings):
        raise AssertionError("an image was drawn")

    monkeypatch.setattr(comparison, "draw", drawn)
    monkeypatch.setattr("genmend.diffusion.search.trials.draw", drawn)


def genmend(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["genmend", *map(str, arguments)])
    return _run(app)


@pytest.mark.usefixtures("nothing_drawn")
@pytest.mark.parametrize(
    ("model", "options", "words"),
    [
        ("reference", ["--prompt", "a creative chair", "--gains", "1.1,1.1,1.1"], "names none of the garments"),
        ("reference", ["--prompt", "a dress", "--prompt", "a chair", "--search"], "names none of the garments"),
        ("reference", ["--prompt", "a dress", "--search", "--usability", "none"], "needs a usability scorer"),
        ("reference", ["--prompt", "a dress", "--preset", "sdxl"], "has 2, with it in 1; give gains"),
        ("reference", ["--prompt", "a dress", "--gains", "1.1,1.1,1.1", "--features", "nothing:here"], "nothing"),
        ("reference", ["--prompt", "a dress", "--gains", "1.1,1.1,1.1", "--control", "low"], "full, high"),
        ("sd15", ["--prompt", "a", "--search"], "needs a usability scorer"),
        ("sd15", ["--prompt", "a", "--preset", "sdxl-turbo"], "presets of its layout are sd-1.5, sd-2.1"),
        ("sdxl", ["--prompt", "a", "--gains", "1.1,1.3"], "2 gains were given for the 4 blocks"),
        ("sdxl", ["--prompt", "a", "--gains", "1.3"], "--gains down0=1.3"),
        ("sd15", ["--prompt", "a", "--gains", "mid=1.1", "--real", "EMPTY"], "holds no images"),
        ("sd15", ["--prompt", "a", "--gains", "mid=1.1", "--real", "FEW"], "holds 2 images; give at least 6"),
        ("sd15", ["--prompt", "a", "--gains", "mid=1.1", "--offload", "model"], "give --device cuda"),
        ("sd15", ["--prompt", "a", "--gains", "mid=1.1", "--offload", "disk"], "none, model, sequential"),
    ],
)  # fmt: skip
def test_refused_before_anything_is_drawn(places, tmp_path, monkeypatch, capsys, model, options, words):
    for name, n in (("EMPTY", 0), ("FEW", 2)):
        (tmp_path / name).mkdir()
        for i in range(n):
            Image.new("RGB", (8, 8)).save(tmp_path / name / f"{i}.png")
    options = [tmp_path / option if option in ("EMPTY", "FEW") else option for option in options]
    assert genmend(monkeypatch, "amplify", places.get(model, model), "--out", tmp_path / "out", *options) == 2
    assert words in capsys.readouterr().err.strip().splitlines()[-1]
    assert not (tmp_path / "out" / "summary.json").exists()


def test_gains_in_order_are_told_by_name(places, tmp_path, monkeypatch, capsys):
    options = ["--gains", "1.1,1.2,1.3,1.4", "--n", "1", "--n-cloud", "0", "--steps", "1", "--height", "16"]
    options += ["--width", "16", "--prompt", "a", "--out", tmp_path]
    assert genmend(monkeypatch, "amplify", places["sdxl"], *options) == 0
    said = capsys.readouterr().err
    assert "down_blocks.0 x 1.1, down_blocks.1 x 1.2, down_blocks.2 x 1.3, mid_block x 1.4" in said
    assert "Verdict: not measured" in said
    assert "Verdict: not measured" in (tmp_path / "report.html").read_text()


def test_the_help_names_what_a_large_model_needs(monkeypatch, capsys):
    assert genmend(monkeypatch, "amplify", "--help") == 0
    said = capsys.readouterr().out
    for option in ("--variant", "--offload", "--device", "--dtype", "sdxl-turbo"):
        assert option in said


class TestPresets:
    def call(self, places, family, preset, **call):
        model = load_text_to_image(str(places[family]))
        settings = AmplifySettings(("a",), preset=preset, call=call, usability="none", n_cloud=0)
        return planned(model, settings, lambda model, settings: {}).call

    def test_steps_guidance_and_size(self, places):
        assert self.call(places, "sdxl", "sdxl-turbo") == {
            "num_inference_steps": 1, "guidance_scale": 0.0, "height": 64, "width": 64
        }  # fmt: skip  # the toy draws 64 pixels
        assert self.call(places, "sdxl", "sdxl-lightning-4", num_inference_steps=2, height=32)["height"] == 32
        assert self.call(places, "sd15", "sd-1.5")["guidance_scale"] == 7.5
        sizes = {name: (preset.steps, preset.guidance, preset.size) for name, preset in PRESETS.items()}
        assert sizes["sdxl-turbo"] == (1, 0, 512)
        assert sizes["sdxl-lightning-4"] == (4, 0, 1024)
        assert PRESETS["sdxl-turbo"].call(1024)["height"] == 512

    def test_scorers_go_to_the_device(self, monkeypatch):
        asked = {}
        monkeypatch.setattr(comparison, "clip_score", lambda name, **place: asked.update(place) or name)
        model = TextToImage(pipe=None, device="cuda:1")
        comparison._usability(model, AmplifySettings(("a",), gains={"mid": 2.0}, usability="clip:x"))
        assert asked == {"device": "cuda:1"}


def found(novelty, usability=(1.0, 1.0), inside=(1.0, 1.0)):
    return Comparison({"s": 1.0}, {"s": usability[0]}, {"s": usability[1]}, float(np.mean(novelty)), novelty, 0.5, 1.0,
                      inside[0], 40, inside[1])  # fmt: skip


@pytest.mark.parametrize(
    ("comparison", "measured", "words"),
    [
        (found((0.95, 1.13)), True, "no difference"),
        (found((1.1, 1.3), inside=(0.4, 0.7)), True, "newer, but broken"),
        (found((1.1, 1.3), usability=(0.5, 0.8)), False, "newer, but broken"),
        (found((1.1, 1.3)), True, "newer, and not broken"),
        (found((1.1, 1.3), inside=(0.7, 1.2)), True, "newer, and perhaps broken"),
        (found((1.1, 1.3)), False, "newer; whether broken was not measured"),
        (found((0.8, 0.9)), True, "less new"),
        (found((0.9, 1.2), inside=(0.4, 0.7)), True, "broken, and no newer"),
        (found((np.nan, np.nan), inside=(0.0, 0.0)), True, "broken"),
        (Comparison({}, {}, {}, np.nan, (np.nan, np.nan), 0.0, np.nan, np.nan, 40), False, "not measured"),
        (replace(found((1.1, 1.3)), n=8), True, "not told from 8 pairs, which are too few"),
        (replace(found((1.1, 1.3)), counted=0.1), True, "too few samples among the real ones to tell"),
        (replace(found((1.1, 1.3), inside=(0.0, 0.2)), counted=0.1), True, "broken"),
    ],
)
def test_verdicts_follow_from_the_intervals(comparison, measured, words):
    assert verdict(comparison, inside_measured=measured) == words


def test_torn_garments_are_called_broken():
    settings = AmplifySettings(
        ("a creative dress",), gains=(1, 1, 8.0), n=20, n_cloud=8, call={"num_inference_steps": 4}
    )
    run = compare_amplification(load_text_to_image("reference"), settings)
    assert run.inside_measured
    assert "broken" in run.verdict
    assert json.loads(json.dumps(run.to_dict()))["verdict"] == run.verdict


def test_the_share_inside_has_bounds_where_a_resample_has_none_inside():
    inside = Scores({}, np.array([1.0, 1.0] + [np.nan] * 18))
    compared = compare_scores(inside, inside)
    assert compared.inside == compared.inside_lower == compared.inside_upper == 1
