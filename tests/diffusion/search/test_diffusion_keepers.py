"""Keepers: usable, among the real ones, newer than what is drawn anyway; counted, compared and searched for."""

import diffusion_toys
import numpy as np
import pytest
import torch

from genmend.diffusion import Novelty, search_gains
from genmend.diffusion.pipeline_parts import SigmaWindow
from genmend.diffusion.search.keepers import Keepers
from genmend.diffusion.search.trials import Scores, compare_scores, make_measure, with_keepers
from genmend.diffusion.search.verdict import verdict


@pytest.fixture(scope="module")
def pipe(tmp_path_factory):
    return diffusion_toys.sd15(tmp_path_factory.mktemp("toy"))


@pytest.fixture
def cloud():
    return torch.rand(100, 3, 2, 2, generator=torch.Generator().manual_seed(0))


def bright(images, prompt):
    return images.mean((1, 2, 3)).numpy()


def fitted(cloud, scorer=bright):
    novelty = Novelty(lambda x: x.flatten(1)).fit({"a": cloud})
    return Keepers().fit({"a": cloud}, novelty, {"bright": scorer}), novelty


def test_a_keeper_is_newer_than_the_cloud_and_as_usable(cloud):
    keepers, novelty = fitted(cloud)
    own = torch.cdist(cloud.flatten(1).double(), cloud.flatten(1).double()).sort(dim=1).values[:, 5]
    limit = float(own.quantile(0.95))
    assert keepers.newer_than_["a"] == pytest.approx(limit, rel=1e-5)
    least = np.quantile(bright(cloud, "a"), 0.05)
    assert keepers.least_["a"] == {"bright": pytest.approx(least)}
    new = np.array([2 * limit, 2 * limit, 0.5 * limit, np.nan])
    usable = np.array([1.0, least / 2, 1.0, 1.0])
    assert keepers({"bright": usable}, new, "a").tolist() == [True, False, False, False]
    assert novelty.own_["a"] == pytest.approx(own.numpy(), rel=1e-5)
    with pytest.raises(ValueError, match="no cloud of 'b'"):
        keepers({"bright": usable}, new, "b")


def test_a_scorer_may_say_what_is_usable(cloud):
    def probability(images, prompt):
        raise AssertionError("nothing has to be scored")

    probability.least_usable = 0.5
    keepers, _ = fitted(cloud, probability)
    assert keepers.least_ == {"a": {"bright": 0.5}}


def test_keepers_are_compared_pair_by_pair():
    plain = Scores({}, np.ones(100), np.arange(100) < 5)
    found = compare_scores(Scores({}, np.ones(100), np.arange(100) < 20), plain)
    assert (found.keepers, found.keepers_plain) == (20, 5)
    assert 5 < found.more_keepers[0] < 15 < found.more_keepers[1] < 25
    assert verdict(found, inside_measured=True) == "no difference; more keepers than more seeds give"
    same = compare_scores(plain, plain)
    assert verdict(same, inside_measured=True) == "no difference; no more keepers than more seeds give"
    fewer = compare_scores(Scores({}, np.ones(100), np.zeros(100, bool)), plain)
    assert verdict(fewer, inside_measured=True).endswith("; fewer keepers than more seeds give")
    assert np.isnan(compare_scores(Scores({}, np.ones(9)), Scores({}, np.ones(9))).keepers)


def test_each_prompt_has_its_own_measure(cloud):
    novelty = Novelty(lambda x: x.flatten(1)).fit({"a": cloud, "b": 2 * cloud})
    keepers = Keepers().fit({"a": cloud, "b": 2 * cloud}, novelty, {})
    between = 1.5 * keepers.newer_than_["a"]
    assert with_keepers(Scores({}, np.full(4, between)), ["a", "b"], keepers).keepers.tolist() == [1, 1, 0, 0]


class TestSearch:
    def measure(self, best_gain=2.0, window=None, band=None):
        """Keepers where the middle block's gain is near the best one, if window and band are right too."""

        def measure(edits, seeds, schedule=None):
            gain = next((edit.gain for edit in edits if edit.layer == "mid_block"), 1.0)
            right = (window is None or schedule == window) and band in (None, getattr(edits[0], "band", "low")) \
                if edits else False  # fmt: skip
            share = 0.05 + (0.6 if right and abs(np.log(gain / best_gain)) < 0.4 else 0)
            chance = np.array([np.random.default_rng(seed).random() for seed in seeds])
            return Scores({"u": np.ones(len(seeds))}, np.ones(len(seeds)), chance < share)

        return measure

    def test_the_most_keepers(self, pipe):
        found = search_gains(pipe, "a", {}, None, range(32), objective="keepers", largest={"mid": 4.0},
                             measure=self.measure(), n_trials=8, n_refined=2)  # fmt: skip
        assert 1.3 < found.gains["mid"] < 3
        assert (found.objective, found.band, found.window) == ("keepers", "low", None)

    def test_the_window_and_the_band_that_have_them(self, pipe):
        late = SigmaWindow(high=1.0)
        found = search_gains(pipe, "a", {}, None, range(32), objective="keepers", largest={"mid": 4.0},
                             bands=("low", "full"), windows=(None, late), measure=self.measure(2.0, late, "full"),
                             n_trials=16, n_refined=2)  # fmt: skip
        assert (found.band, found.window) == ("full", late)
        assert found.edits[0].band == "full"
        assert found.to_dict()["window"] == repr(late)

    def test_nothing_where_more_seeds_give_as_many(self, pipe):
        found = search_gains(pipe, "a", {}, None, range(16), objective="keepers", largest={"mid": 4.0},
                             measure=self.measure(100.0), n_trials=4, n_refined=2)  # fmt: skip
        assert found.edits == ()

    def test_what_nothing_tells(self, pipe):
        def measure(edits, seeds):
            return Scores({"u": np.ones(len(seeds))}, np.ones(len(seeds)))

        with pytest.raises(ValueError, match="which samples are keepers"):
            search_gains(pipe, "a", {}, None, range(8), objective="keepers", measure=measure)
        with pytest.raises(ValueError, match="'new'; accepted are novelty and keepers"):
            search_gains(pipe, "a", {}, None, range(8), objective="new", measure=measure)

    def test_scores_of_another_pipeline_are_not_taken(self, pipe, tmp_path):
        """The denoiser is the same; what makes its images another is the text encoder, or an adapter."""
        from genmend.storage import Work

        call = {"num_inference_steps": 1, "height": 16, "width": 16, "guidance_scale": 0.0}

        def measured():
            measure = make_measure(pipe, ["a"], {}, bright, work=Work(tmp_path), scorers_key="k", **call)
            return measure((), [0]).novelty.tolist()

        first = measured()
        table = pipe.text_encoder.get_input_embeddings().weight
        kept = table.detach().clone()
        with torch.no_grad():
            table.neg_()
        try:
            assert measured() != first
        finally:
            with torch.no_grad():
                table.copy_(kept)
        assert measured() == first
        pipe.unet.register_parameter("lora_A", torch.nn.Parameter(torch.ones(2)))
        n_files = len(list(tmp_path.rglob("*.*")))
        try:
            measured()
        finally:
            del pipe.unet.lora_A
        assert len(list(tmp_path.rglob("*.*"))) == n_files + 1

    def test_a_window_is_drawn_and_kept_apart(self, pipe, tmp_path):
        from genmend.diffusion import AmplifyLowFrequencies
        from genmend.storage import Work

        call = {"num_inference_steps": 1, "height": 16, "width": 16, "guidance_scale": 0.0}
        measure = make_measure(pipe, ["a"], {}, bright, work=Work(tmp_path), scorers_key="k", **call)
        edits = [AmplifyLowFrequencies("mid_block", 5.0, 5)]
        never = SigmaWindow(low=1e6, high=2e6)
        plain, on, off = measure((), [0]), measure(edits, [0]), measure(edits, [0], never)
        assert off.novelty == pytest.approx(plain.novelty, abs=1e-7)
        assert on.novelty != pytest.approx(plain.novelty, abs=1e-7)
