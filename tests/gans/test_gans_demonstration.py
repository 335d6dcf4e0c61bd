"""The demo's job on a toy: what it finds is saved, loaded again and the same; no image is extracted twice."""

import numpy as np
import pytest
from gans_toys import EXTRACTOR, toy_generator

from genmend.activations import load_correction
from genmend.gans import demonstration, image_features
from genmend.gans.settings import DetectorSettings


@pytest.fixture
def extracted(monkeypatch):
    """How many images the detector's extractor was given."""
    monkeypatch.setattr(demonstration, "load_faces", toy_generator)
    seen, extract = [], image_features.extract
    monkeypatch.setattr(image_features, "extract", lambda e, images: seen.append(len(images)) or extract(e, images))
    return seen


def test_the_story_on_a_toy(extracted, tmp_path):
    settings = DetectorSettings(EXTRACTOR, n_statistics=120, n_reference=100, flagged_share=0.1)
    run = demonstration.demonstrate(tmp_path / "toy.safetensors", settings=settings, n_samples=50)
    assert sum(extracted) == 100 + 50
    assert run.reloaded_equal
    assert load_correction(tmp_path / "toy.safetensors").ladder
    assert len(run.detection.combined) == len(run.result.rung) == 50
    assert run.settings["n_samples"] == 50
    ranking = run.detection.combined[run.most_broken(50)]
    assert (np.diff(ranking) <= 0).all()
    assert run.to_dict()["auroc_against_labels"] == {}
