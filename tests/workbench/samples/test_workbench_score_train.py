"""``genmend score --train``: copies of training images are found, counted, shown; an honest set is told nothing of."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("jinja2")
pytest.importorskip("matplotlib")

from genmend.workbench.commands.compare import run_compare
from genmend.workbench.commands.score import compute_score, run_score
from genmend.workbench.commands.score_settings import ScoreSettings
from genmend.workbench.pages.score import score_answer


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder, rng = tmp_path_factory.mktemp("train"), np.random.default_rng(0)
    images = rng.integers(0, 255, (130, 4, 4, 3), dtype=np.uint8)
    copies = np.clip(images[:12].astype(int) + rng.integers(-3, 4, (12, 4, 4, 3)), 0, 255).astype(np.uint8)
    copies[0] = images[0]
    sets = {
        "trained": images[:50],
        "held": images[50:90],
        "honest": images[90:],
        "copying": np.concatenate([images[90:118], copies]),
    }
    for name, pixels in sets.items():
        (folder / name).mkdir()
        for number, one in enumerate(pixels):
            Image.fromarray(one).resize((16, 16), Image.Resampling.NEAREST).save(folder / name / f"{number:03d}.png")
    return folder


@pytest.fixture(autouse=True)
def extractor(monkeypatch, tmp_path):
    (tmp_path / "pixels_of_train.py").write_text(
        "from torch.nn import functional\n\n\n"
        "def images():\n    return lambda given: functional.adaptive_avg_pool2d(given, 4).flatten(1)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("GENMEND_CACHE", str(tmp_path / "cache"))


def settings(folder, **options):
    return ScoreSettings(k=(2,), features="pixels_of_train:images", train=str(folder / "trained"), **options)


def test_copies_are_counted_named_and_shown(folder, tmp_path):
    run = run_score(folder / "held", folder / "copying", tmp_path, settings=settings(folder, gap=True), progress=False)
    result = json.loads((tmp_path / "summary.json").read_text())
    found = result["memorisation"]
    assert (found["exact_copies"], found["near_copies"], found["near_copies_expected"]) == (1, 11, 0)
    assert found["fld_gap"] < -100
    assert result["warnings"][0].startswith("1 of the 40 query samples are exact copies of training samples")
    assert result["warnings"][1].startswith("11 of the 40 query samples are near copies")
    assert Path(result["sources"]["train"]["source"]).name == "trained"
    assert "1 query samples are exact copies of training samples and 11 near copies" in score_answer(result).in_words()
    samples = np.load(tmp_path / "per_sample.npz")
    assert list(samples["train_nearest"][28:]) == list(range(12))
    assert samples["train_names"][3] == "003.png"
    assert not samples["train_authentic"][28:].any()
    page = (tmp_path / "report.html").read_text()
    assert "Copies of the training set" in page
    assert "auth_pct" in page
    assert "The likeliest copies" in page
    assert run.memorisation.n_test == 40


def test_an_honest_set_and_the_training_set_as_reference(folder):
    fair = compute_score(folder / "held", folder / "honest", settings=settings(folder), progress=False)
    assert [one[:17] for one in fair.memorisation.warnings] == ["C_T is undefined:"]  # of so few
    assert fair.memorisation.totals["near_copies"] == 0
    same = compute_score(folder / "trained", folder / "copying", settings=settings(folder), progress=False)
    assert same.memorisation.n_test == 0
    assert any("the reference is the training set" in one for one in same.warnings)
    with pytest.raises(ValueError, match="--gap needs held-out samples"):
        compute_score(folder / "trained", folder / "copying", settings=settings(folder, gap=True), progress=False)
    with pytest.raises(ValueError, match="give those with --train"):
        compute_score(folder / "held", folder / "honest", settings=ScoreSettings(gap=True), progress=False)
    with pytest.raises(FileNotFoundError, match="no_such"):
        compute_score(
            folder / "held", folder / "honest", settings=ScoreSettings(train=str(folder / "no_such")), progress=False
        )
    part = compute_score(folder / "held", folder / "honest", settings=settings(folder, limit=30), progress=False)
    assert "copies of training samples that were not drawn are not found" in part.warnings


def test_each_of_several_sets_is_compared_with_the_training_set(folder, tmp_path):
    quick = settings(folder, metrics=("precision",), bootstrap=4)
    sets = [folder / "honest", folder / "copying"]
    run_compare(folder / "held", sets, tmp_path, settings=quick, progress=False)
    counts = [json.loads((tmp_path / name / "summary.json").read_text())["memorisation"]["near_copies"] for name in
              ("honest", "copying")]  # fmt: skip
    assert counts == [0, 11]


def test_the_summary_says_which_published_tables_it_can_stand_beside(folder):
    found = compute_score(folder / "held", folder / "honest", settings=settings(folder), progress=False)
    assert found.to_dict()["published_tables"] == ""  # of an extractor of one's own nothing is known
    for name, tables in (
        ("torch_fidelity:inception-v3-compat", "tables of FID and KID"),
        ("efficientnet-lite0", "none: no paper publishes values of features by efficientnet-lite0"),
        ("clip-vit-b16", "none: published values of CMMD are of ViT-L/14"),
    ):
        named = replace(found, query=replace(found.query, pipeline={**found.query.pipeline, "extractor": name}))
        assert named.to_dict()["published_tables"].startswith(tables)
        told = [one for one in named.warnings if "not with published tables" in one]
        assert len(told) == tables.startswith("none")
