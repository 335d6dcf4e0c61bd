"""The pieces of the face experiment that its table rests on."""

import numpy as np
import pytest
import torch

from experiments.faces.correction import Judge, cosine, fit_judge
from experiments.faces.feature_cache import CachedExtractor
from experiments.faces.labelled import load_labelled_faces
from experiments.faces.methods import random_control, with_gate_quantile
from genmend.activations import CapNeurons, Correction, Gate, PullToMean, StopRule
from genmend.gans.detection.soft_logistic import LinearScore


def test_the_labels_are_those_that_the_folder_describes():
    faces = load_labelled_faces()
    assert tuple(faces.latents.shape) == (700, 100)
    assert (faces.artifact.sum(), faces.normal.sum(), faces.full.sum()) == (76, 201, 108)
    assert set(np.unique(faces.share * 4)) == {0, 1, 2, 3, 4}
    assert (faces.share[faces.artifact] == 1).all()
    assert (faces.share[faces.normal] == 0).all()


@pytest.mark.real("efficientnet-lite0")
def test_a_cached_extractor_computes_each_image_once_also_in_the_next_run(tmp_path, monkeypatch):
    images = torch.rand(5, 3, 64, 64)
    first = CachedExtractor("efficientnet-lite0", tmp_path)
    features = first(images)
    torch.testing.assert_close(features, first._extractor(images), rtol=1e-4, atol=1e-4)
    first.save()
    second = CachedExtractor("efficientnet-lite0", tmp_path)
    monkeypatch.setattr(second, "_extractor", None)  # it must not be needed
    assert torch.equal(second(images.flip(0)), features.flip(0))


def test_a_judge_flags_about_five_percent_of_the_normal_samples_it_did_not_see():
    rng = np.random.default_rng(0)
    shares = np.repeat([0.0, 1.0], [400, 200])
    features = rng.normal(size=(600, 5)) + shares[:, None]
    judge = fit_judge(features, shares, shares == 0)
    fresh = rng.normal(size=(4000, 5))
    # Its threshold comes from models of four fifths of the data, whose scores are a little closer to 0: it is strict.
    assert 0.03 < judge.flags(fresh).mean() < 0.10
    assert judge.flags(fresh + 1).mean() > 0.5


def test_judge_flags_what_is_above_its_threshold():
    judge = Judge(LinearScore(np.array([1.0]), 0.0, 1.0), threshold=2.0)
    assert judge.flags(np.array([[1.9], [2.0], [2.1]])).tolist() == [False, False, True]


@pytest.fixture
def correction():
    net = torch.nn.Sequential(torch.nn.Linear(4, 10)).eval()
    mask = torch.zeros(10, dtype=torch.bool)
    mask[:3] = True
    edits = (PullToMean("0", torch.zeros(10), strength=0.1), CapNeurons("0", torch.zeros(10), mask))
    info = {"gate_score_quantiles_of_normal": {"0.5": -2.0}}
    rule = StopRule(0.0, 0.0, 1.0, 3, torch.zeros(4, 3), torch.zeros(4))
    gate = Gate("efficientnet-lite0", torch.zeros(3), 0.0, 0.0)
    return Correction.of(net, [edits], gate=gate, stop_rule=rule, info=info)


def test_the_random_control_moves_the_mask_and_nothing_else(correction):
    control = random_control(correction, seed=1)
    pull, cap = control.ladder[0]
    assert pull == correction.ladder[0][0]
    assert cap.mask.sum() == 3
    assert not torch.equal(cap.mask, correction.ladder[0][1].mask)
    assert torch.equal(cap.ceiling, correction.ladder[0][1].ceiling)


def test_a_gate_quantile_moves_only_the_gate(correction):
    moved = with_gate_quantile(correction, 0.5)
    assert moved.gate.threshold == -2.0
    assert moved.ladder == correction.ladder
    assert moved.facts == correction.facts


def test_cosine_is_by_row():
    a, b = np.array([[1.0, 0.0], [1.0, 1.0]]), np.array([[0.0, 2.0], [3.0, 3.0]])
    np.testing.assert_allclose(cosine(a, b), [0, 1], atol=1e-12)
