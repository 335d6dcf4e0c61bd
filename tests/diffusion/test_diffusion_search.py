"""The searches find the gains they should on landscapes that are known, and run on a pipeline."""

import json

import diffusion_toys
import numpy as np
import pytest
import torch

from genmend.diffusion import AmplifyLowFrequencies, Novelty, amplified, draw, search_gains
from genmend.diffusion.loading import TextToImage
from genmend.diffusion.pipeline_fingerprint import pipeline_fingerprint
from genmend.diffusion.search.comparison import compare_amplification
from genmend.diffusion.search.published_search import choose_published, published_search
from genmend.diffusion.search.scorers import class_probability
from genmend.diffusion.search.settings import AmplifySettings
from genmend.diffusion.search.trials import Scores, compare_scores, describe_edit, make_measure
from genmend.storage import Work

FAST = {"num_inference_steps": 1, "height": 16, "width": 16, "guidance_scale": 0.0}


def landscape(usable_until=2.0, noise=0.01):
    """Novelty rises with every gain; usability falls where their product passes a limit. Counts what is measured."""
    asked = []

    def measure(edits, seeds):
        asked.append((len(edits), len(seeds)))
        strength = np.prod([edit.gain for edit in edits])
        draws = [np.random.default_rng(seed).normal(0, noise, 2) for seed in seeds]
        usable = 0.9 if strength <= usable_until else 0.5
        return Scores(
            {"class": np.array([usable + u for u, _ in draws])},
            np.array([1 + np.log(strength) + v for _, v in draws]),
        )

    return measure, asked


@pytest.fixture(scope="module")
def pipe(tmp_path_factory):
    return diffusion_toys.sd15(tmp_path_factory.mktemp("toy"))


class TestJointSearch:
    def test_the_newest_that_stays_usable(self, pipe):
        measure, asked = landscape()
        found = search_gains(pipe, "a", {}, None, range(8), largest={"down0": 2.0, "mid": 4.0}, measure=measure)
        product = found.gains["down0"] * found.gains["mid"]
        assert 1.5 < product <= 2.0
        assert [edit.gain for edit in found.edits] == [gain for gain in found.gains.values() if gain != 1]
        # The race: fewer choices on more seeds.
        n_by_seeds = {n: sum(1 for edits, seeds in asked if seeds == n and edits) for n in (4, 8)}
        assert n_by_seeds[8] < 0.6 * n_by_seeds[4] + 12
        again = search_gains(pipe, "a", {}, None, range(8), largest={"down0": 2.0, "mid": 4.0}, measure=measure)
        assert again.gains == found.gains

    def test_the_share_inside_is_kept_where_asked(self, pipe):
        plain, _ = landscape(usable_until=100.0, noise=0.0)

        def measure(edits, seeds):
            found = plain(edits, seeds)
            strength = np.prod([edit.gain for edit in edits])
            inside = np.arange(len(seeds)) < len(seeds) * (1.0 if strength <= 1.8 else 0.5)
            return Scores(found.usability, np.where(inside, found.novelty, np.nan))

        def product(**options):
            limits = {"down0": 2.0, "mid": 4.0}
            found = search_gains(pipe, "a", {}, None, range(16), largest=limits, measure=measure, **options)
            assert found.to_dict()["keep_inside"] == options.get("keep_inside", 0)
            return found.gains["down0"] * found.gains["mid"]

        assert product() > 4
        assert 1.2 < product(keep_inside=0.9) <= 1.8
        with pytest.raises(ValueError, match=r"keep_inside 1\.2; give shares"):
            product(keep_inside=1.2)

    def test_nothing_where_nothing_is_usable(self, pipe):
        measure, _ = landscape(usable_until=1.0)
        found = search_gains(pipe, "a", {}, None, range(8), measure=measure, n_trials=8, n_refined=4)
        assert set(found.gains.values()) == {1.0}
        assert found.edits == ()

    def test_the_front_is_of_trials_that_nothing_beats(self, pipe):
        measure, _ = landscape()
        found = search_gains(pipe, "a", {}, None, range(8), measure=measure, n_trials=8, n_refined=6)
        points = [(t.comparison.usability["class"], t.comparison.novelty) for t in found.trials if t.comparison.n == 8]
        for i in found.front:
            u, v = found.trials[i].comparison.usability["class"], found.trials[i].comparison.novelty
            assert not any(a > u and b > v for a, b in points)
        assert json.loads(json.dumps(found.to_dict()))["front"] == list(found.front)
        assert len(found.plot().axes) == 1

    def test_on_a_pipeline_with_a_cache(self, pipe, tmp_path):
        brightness = {"bright": lambda images, prompt: images.mean((1, 2, 3)).numpy() + 1.0}
        calls = []

        def novelty(images, prompt):
            calls.append(len(images))
            return images.std((1, 2, 3)).numpy()

        settings = dict(n_trials=2, n_refined=1, work=Work(tmp_path), scorers_key="a", cutoff=2, **FAST)
        first = search_gains(pipe, ["a", "b"], brightness, novelty, range(4), **settings)
        n_calls = len(calls)
        again = search_gains(pipe, ["a", "b"], brightness, novelty, range(4), **settings)
        assert n_calls > 0
        assert len(calls) == n_calls  # all from the cache
        assert again.to_dict() == first.to_dict()
        assert {trial.comparison.n for trial in first.trials} == {8}

    def test_bad_arguments(self, pipe):
        measure, _ = landscape()
        with pytest.raises(ValueError, match="2 seeds"):
            search_gains(pipe, "a", {}, None, range(2), measure=measure)
        with pytest.raises(ValueError, match="down9"):
            search_gains(pipe, "a", {}, None, range(8), largest={"down9": 2.0}, measure=measure)


class TestPublishedSearch:
    GAINS = (1.2, 1.4, 1.6)

    def test_the_largest_that_passes_wins_even_after_one_that_fails(self):
        assert choose_published(self.GAINS, [1.0, 0.9, 0.5, 0.85], 0.8) == 1.6
        assert choose_published(self.GAINS, [1.0, 0.9, 0.5, 0.3], 0.8) == 1.2
        assert choose_published(self.GAINS, [1.0, 0.1, 0.5, 0.3], 0.8) == 1.0
        with pytest.raises(ValueError, match="4 usabilities"):
            choose_published(self.GAINS, [1.0, 0.9], 0.8)

    def test_the_legacy_index_reads_the_next_weaker_image(self):
        assert choose_published(self.GAINS, [1.0, 0.9, 0.5, 0.3], 0.8, legacy_index=True) == 1.4

    def test_each_block_alone_then_shrunk(self, pipe):
        measure, asked = landscape(usable_until=1.5, noise=0.0)
        grid = {"down0": (1.2, 1.4, 1.6), "mid": (2.0, 4.0)}
        found = published_search(pipe.unet, measure, range(3), grid=grid)
        assert found.gains == {"down0": 1.4, "mid": 1.0}
        assert found.shrunk == {"down0": 1.12, "mid": 1.0}
        assert asked == [(0, 3), *[(1, 3)] * 5]
        assert found.usability["down0"] == [1.0, 1.0, 1.0, 0.0]
        assert json.loads(json.dumps(found.to_dict()))


class TestComparison:
    def test_paired_intervals(self):
        rng = np.random.default_rng(0)
        plain = Scores({"a": rng.uniform(0.5, 1, 200)}, rng.uniform(1, 2, 200))
        better = Scores({"a": plain.usability["a"] * 0.97}, plain.novelty * 1.2)
        found = compare_scores(better, plain)
        # Pairing takes the spread between samples out: the ratio is exact.
        assert found.usability["a"] == pytest.approx(0.97)
        assert found.usability_lower["a"] == pytest.approx(0.97)
        assert found.novelty == pytest.approx(1.2)
        assert found.feasible(0.95)
        assert not found.feasible(0.98)

    def test_a_mean_that_is_kept_by_chance_is_not_enough(self):
        rng = np.random.default_rng(0)
        plain = Scores({"a": np.ones(20)}, np.ones(20))
        found = compare_scores(Scores({"a": 0.96 + rng.normal(0, 0.2, 20)}, np.ones(20)), plain)
        assert found.usability["a"] > 0.9 > found.usability_lower["a"]
        assert not found.feasible(0.9)
        assert found.kept(0.9) > 1

    def test_what_does_not_count(self):
        plain = Scores({"a": np.ones(4)}, np.array([1.0, 1.0, np.nan, np.nan]))
        found = compare_scores(Scores({"a": np.ones(4)}, np.array([2.0, np.nan, 4.0, np.nan])), plain)
        assert found.novelty == 3.0
        assert found.counted == 0.5
        assert found.inside == 1.0
        assert found.feasible(1.0)
        assert not found.feasible(1.0, keep_inside=1.0)  # 4 samples prove little
        assert found.kept(0.5, keep_inside=0.8) == 1.25
        nothing = compare_scores(Scores({"a": np.ones(4)}, np.full(4, np.nan)), plain)
        assert np.isnan(nothing.novelty)
        assert nothing.counted == 0

    def test_other_samples_are_refused(self):
        with pytest.raises(ValueError, match="same seeds"):
            compare_scores(Scores({}, np.ones(3)), Scores({}, np.ones(4)))


class TestDrawing:
    def test_an_image_depends_on_its_seed_and_prompt_alone(self, pipe):
        all_at_once = draw(pipe, ["a", "b"], [3, 1, 2], batch_size=6, **FAST)
        one_by_one = draw(pipe, ["a", "b"], [3, 1, 2], batch_size=1, **FAST)
        assert all_at_once.shape == (6, 3, 16, 16)
        torch.testing.assert_close(all_at_once, one_by_one, atol=1e-5, rtol=0)
        torch.testing.assert_close(draw(pipe, "b", [1], **FAST)[0], all_at_once[4], atol=1e-5, rtol=0)

    def test_gain_1_is_bit_identical(self, pipe):
        plain = draw(pipe, "a", [0, 1], **FAST)
        with amplified(pipe, down=(1.0, 1.0), mid=1.0):
            assert torch.equal(draw(pipe, "a", [0, 1], **FAST), plain)

    def test_errors(self, pipe):
        with pytest.raises(ValueError, match="0 seeds"):
            draw(pipe, "a", [])
        with pytest.raises(
            TypeError, match=r"num_inference_step is no argument of .*accepted are .*num_inference_steps"
        ):
            draw(pipe, "a", [0], num_inference_step=2)
        with pytest.raises(ValueError, match="not finite"), amplified(pipe, mid=1e30, up=(1e30,)):
            draw(pipe, "a", [0], **FAST)

    def test_scores_of_seeds_that_were_known_are_not_drawn_again(self, pipe):
        drawn = []

        def novelty(images, prompt):
            drawn.append(len(images))
            return images.mean((1, 2, 3)).numpy()

        measure = make_measure(pipe, ["a"], {}, novelty, **FAST)
        few = measure((), [0, 1])
        more = measure((), [1, 0, 2])
        assert drawn == [2, 1]
        assert more.novelty[1] == few.novelty[0]


def test_kept_scores_tell_large_masks_apart():
    """What a tensor prints is cut short."""
    masks = torch.zeros(2, 64, 64)
    masks[1, 30, 30] = 1.0
    one, other = (describe_edit(AmplifyLowFrequencies("mid_block", 2.0, 5, where=mask)) for mask in masks)
    assert one != other
    assert one == describe_edit(AmplifyLowFrequencies("mid_block", 2.0, 5, where=masks[0].clone()))


class TestScorers:
    def test_novelty(self):
        images = torch.rand(20, 3, 4, 4, generator=torch.Generator().manual_seed(0))
        novelty = Novelty(lambda x: x.flatten(1), k=2).fit({"a": images}, {"a": images})
        query = torch.cat([images[:1], torch.ones(1, 3, 4, 4) * 50])
        found = novelty(query, "a")
        distances = torch.cdist(images[:1].flatten(1).double(), images.flatten(1).double()).sort().values[0]
        assert found[0] == pytest.approx(float(distances[1]), rel=1e-5)  # itself is the first
        assert np.isnan(found[1])
        with pytest.raises(ValueError, match="no cloud of 'b'"):
            novelty(query, "b")
        with pytest.raises(ValueError, match="2 images"):
            Novelty(lambda x: x.flatten(1), k=2).fit({"a": images[:2]})

    def test_class_probability(self):
        score = class_probability(lambda x: torch.stack([x.mean((1, 2, 3)), -x.mean((1, 2, 3))], 1), {"a": 0})
        found = score(torch.full((3, 3, 2, 2), 0.5), "a")
        np.testing.assert_allclose(found, 1 / (1 + np.exp(-1)), rtol=1e-6)
        with pytest.raises(ValueError, match="'b'"):
            score(torch.ones(1, 3, 2, 2), "b")


def test_a_batch_is_halved_where_the_memory_is_too_small(pipe, monkeypatch):
    drawn, whole = [], draw(pipe, "a", range(5), batch_size=1, **FAST)
    real = type(pipe).__call__

    def small(self, prompt, **settings):
        drawn.append(len(prompt))
        if len(prompt) > limit:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate")
        return real(self, prompt=prompt, **settings)

    monkeypatch.setattr(type(pipe), "__call__", small)
    limit = 2
    settings = {key: value for key, value in FAST.items() if key != "batch_size"}
    monkeypatch.setattr("genmend.diffusion.drawing.check_settings", lambda pipe, settings: None)
    torch.testing.assert_close(draw(pipe, "a", range(5), batch_size=5, **settings), whole, rtol=0, atol=1e-5)
    assert drawn == [5, 2, 3, 1, 2]
    limit = 0
    with pytest.raises(ValueError, match="too small for one image; give a smaller height"):
        draw(pipe, "a", [0], **settings)


def test_what_else_images_depend_on_than_the_denoiser(tmp_path):
    pipe = diffusion_toys.sd15(tmp_path)
    found = [pipeline_fingerprint(pipe)]
    pipe.scheduler = type(pipe.scheduler).from_config(pipe.scheduler.config, prediction_type="v_prediction")
    found.append(pipeline_fingerprint(pipe))
    with torch.no_grad():
        pipe.vae.post_quant_conv.bias[0] += 1
    found.append(pipeline_fingerprint(pipe))
    pipe.unet.register_parameter("lora_A", torch.nn.Parameter(torch.zeros(2)))
    found.append(pipeline_fingerprint(pipe))
    assert len({str(one) for one in found}) == 4
    assert pipeline_fingerprint(pipe) == found[-1]


def test_python_compares_without_the_command_line(pipe, tmp_path):
    model = TextToImage(pipe, FAST, extractor=lambda images: images.flatten(1))
    settings = AmplifySettings(("a",), gains={"mid": 3.0}, cutoff=2, n=2, n_cloud=6)
    run = compare_amplification(model, settings, work=Work(tmp_path))
    assert run.comparison.n == 2
    assert run.comparison.novelty > 0
    assert run.pixel_change > 0
    assert [images.shape for images in run.images] == [(2, 3, 16, 16)]
    assert list(run.columns()["seed"]) == [0, 1]
    pipe.unet.forward = None  # a second run draws nothing
    again = compare_amplification(model, settings, work=Work(tmp_path))
    assert torch.equal(again.images[0], run.images[0])
