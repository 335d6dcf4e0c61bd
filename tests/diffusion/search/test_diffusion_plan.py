"""What a comparison settles before it draws, and what it says in words at the end."""

import json
from dataclasses import replace

import diffusion_toys
import numpy as np
import pytest

from genmend.diffusion import PRESETS
from genmend.diffusion.loading import TextToImage, load_text_to_image
from genmend.diffusion.search import comparison
from genmend.diffusion.search.comparison import compare_amplification
from genmend.diffusion.search.plan import planned
from genmend.diffusion.search.settings import AmplifySettings
from genmend.diffusion.search.trials import Comparison, Scores, compare_scores
from genmend.diffusion.search.verdict import verdict


class TestPresets:
    def call(self, tmp_path, family, preset, **call):
        (tmp_path / preset).mkdir()
        model = TextToImage(getattr(diffusion_toys, family)(tmp_path / preset))
        settings = AmplifySettings(("a",), preset=preset, call=call, usability="none", n_cloud=0)
        return planned(model, settings, lambda model, settings: {}).call

    def test_steps_guidance_and_size(self, tmp_path):
        assert self.call(tmp_path, "sdxl", "sdxl-turbo") == {
            "num_inference_steps": 1, "guidance_scale": 0.0, "height": 64, "width": 64
        }  # fmt: skip  # the toy draws 64 pixels
        assert self.call(tmp_path, "sdxl", "sdxl-lightning-4", num_inference_steps=2, height=32)["height"] == 32
        assert self.call(tmp_path, "sd15", "sd-1.5")["guidance_scale"] == 7.5
        sizes = {name: (preset.steps, preset.guidance, preset.size) for name, preset in PRESETS.items()}
        assert sizes["sdxl-turbo"] == (1, 0, 512)
        assert sizes["sdxl-lightning-4"] == (4, 0, 1024)
        assert PRESETS["sdxl-turbo"].call(1024)["height"] == 512

    @pytest.mark.parametrize(("argument", "made"), [("num_frames", "video"), ("audio_length_in_s", "sound")])
    def test_film_and_sound_are_refused_before_anything_is_drawn(self, tmp_path, argument, made):
        pipe = diffusion_toys.sd15(tmp_path)
        namespace: dict = {}
        exec(f"def called(self, prompt=None, {argument}=1): raise AssertionError('drawn')", namespace)
        pipe.__class__ = type("OfAnotherMedium", (type(pipe),), {"__call__": namespace["called"]})
        settings = AmplifySettings(("a",), gains={"mid": 1.5}, usability="none", n_cloud=0)
        with pytest.raises(ValueError, match=f"OfAnotherMedium makes {made}, and images are compared"):
            planned(TextToImage(pipe), settings, lambda model, settings: {})

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


def test_a_search_keeps_the_share_inside_where_real_images_are_known(tmp_path):
    usability = {"one": lambda images, prompt: np.ones(len(images))}
    reference = load_text_to_image("reference")
    search = AmplifySettings(("a dress",), search=True)
    assert planned(reference, search, lambda *_: usability).keep_inside == 0.9
    assert planned(reference, replace(search, keep_inside=0.5), lambda *_: usability).keep_inside == 0.5
    toy = TextToImage(diffusion_toys.sd15(tmp_path), extractor=lambda images: images.flatten(1))
    assert planned(toy, search, lambda *_: usability).keep_inside == 0
