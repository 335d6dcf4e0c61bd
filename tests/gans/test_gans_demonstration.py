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
    np.save(tmp_path / "latents.npy", toy_generator().latents(40, 9).numpy())
    raters = [(0, 0), (2, 2), (0, 1), (2, 2)] * 10  # a quarter is nobody's clear case
    rows = [f"{row},{a},{b}" for row, (a, b) in enumerate(raters)]
    (tmp_path / "labels.csv").write_text("\n".join(["index,rater_a,rater_b", *rows]) + "\n")
    run = demonstration.demonstrate(tmp_path / "toy.safetensors", labels=tmp_path, settings=settings, n_samples=50)
    assert sum(extracted) == 100 + 50 + 30
    assert run.reloaded_equal
    assert load_correction(tmp_path / "toy.safetensors").ladder
    assert len(run.detection.combined) == len(run.result.rung) == 50
    assert run.settings["n_samples"] == 50
    ranking = run.detection.combined[run.most_broken(50)]
    assert (np.diff(ranking) <= 0).all()
    assert len(run.labelled.broken) == 30
    assert len(run.to_dict()["auroc_against_labels"]) == 4
