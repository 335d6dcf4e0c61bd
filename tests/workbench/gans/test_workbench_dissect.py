"""genmend dissect on a generator of one's own: files, what they say, resuming, refusals."""

import csv
import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from genmend.gans import Generator, load_detector
from genmend.gans.editing.unit_labels import load_labels
from genmend.gans.settings import CausalSettings, DissectSettings
from genmend.storage.pieces import Work
from genmend.workbench.commands.gans.dissect import run_dissect


class Painter(nn.Module):
    """Latents [n, 128] to 16x16 images: units 0 and 1 of 8 paint red, unit 2 green."""

    def __init__(self):
        super().__init__()
        self.act = nn.ReLU()
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, z):
        maps = self.act(z.view(-1, 8, 4, 4))
        paint = torch.stack([maps[:, 0] + maps[:, 1], maps[:, 2], torch.zeros_like(maps[:, 0])], 1)
        return nn.functional.interpolate(paint * self.scale, scale_factor=4)


class Colours:
    names = ("is red", "is green")

    def __init__(self):
        self.n_calls = 0

    def __call__(self, images):
        self.n_calls += 1
        return images[:, :2] > 0.9


@pytest.fixture
def generator():
    return Generator(Painter().eval().requires_grad_(False), (128,), ("act",), value_range=(0, 1), name="painter")


def dissected(generator, out, concepts=None, **options):
    settings = DissectSettings(segmenters=("mine",), n_images=300, n_statistics=300, **options)
    return run_dissect(generator, out, settings=settings, concepts={"mine": concepts or Colours()}, progress=False)


@pytest.mark.parametrize("way", ["iqr", "fixed"])
def test_the_units_that_paint_are_found(generator, tmp_path, way):
    (tmp_path / "pages").mkdir()
    (tmp_path / "pages" / "other.html").write_text("of an earlier run with another layer")
    run = dissected(generator, tmp_path, thresholds=way)
    assert run.label("act", 2) == "is green"
    units = run.layers["act"]
    assert units.iou[2] > units.iou[3:].max()
    assert (units.interval[:3, 0] < units.iou[:3]).all()
    assert (units.iou[:3] < units.interval[:3, 1]).all()
    if way == "fixed":
        assert {run.label("act", 0), run.label("act", 1)} == {"is red"}
    else:  # each paints only half of the red: no threshold agrees with it on more than 0.8 of the pixels
        assert not {run.label("act", 0), run.label("act", 1)} & {"is red"}
        assert units.iou[2] > 0.5
        assert units.detector[2]
    with (tmp_path / "units.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["unit"] for row in rows] == [str(unit) for unit in range(8)]
    assert float(rows[2]["iou"]) == units.iou[2]
    assert load_file(tmp_path / "iou.safetensors")["act.iou"].shape == (8, 2)
    assert load_labels(tmp_path / "units.safetensors").label("act", 2) == "is green"
    assert json.loads((tmp_path / "summary.json").read_text()) == json.loads(json.dumps(run.to_dict()))
    assert float(rows[2]["above_null"]) == units.above_null[2] == units.iou[2] - units.null[2]
    report = (tmp_path / "report.html").read_text()
    assert "painter" in report
    assert ("is green: act unit 2" in report) == units.detector[2]
    assert report.count('class="above find"') == 1 + (way == "iqr")  # all units, and the best where there are some
    page = (tmp_path / "pages" / "act.html").read_text()
    assert "act unit 2: is green" in page
    first, _, _ = page.partition("<section")
    assert f"{units.detector.sum()} of 8 units of act detect a concept more than chance does" in first
    assert ("beside the masks of other samples" in first) == units.detector.any()
    assert first.count("<img") == 1
    assert not (tmp_path / "pages" / "other.html").exists()


def test_an_interrupted_run_goes_on_to_the_same_result(generator, tmp_path, monkeypatch):
    whole = dissected(generator, tmp_path / "whole")
    done = 0

    kept = Work.kept

    def stops_after_three(work, name, facts, compute):
        nonlocal done
        done += name != "masks"
        if done > 3:
            raise KeyboardInterrupt
        return kept(work, name, facts, compute)

    monkeypatch.setattr(Work, "kept", stops_after_three)
    with pytest.raises(KeyboardInterrupt):
        dissected(generator, tmp_path / "parts")
    monkeypatch.setattr(Work, "kept", kept)
    concepts = Colours()
    resumed = dissected(generator, tmp_path / "parts", concepts)
    assert resumed.to_dict() == whole.to_dict()
    assert np.array_equal(resumed.layers["act"].iou, whole.layers["act"].iou)
    again = Colours()
    dissected(generator, tmp_path / "parts", again)
    assert again.n_calls == 0  # every mask was kept


def test_causes_are_tested_against_random_units_and_kept(generator, tmp_path, monkeypatch):
    def shifted(n, seed, start=0):
        """Red in every second sample alone."""
        latents = plain(n, seed, start).view(n, 8, 4, 4)
        latents[torch.arange(start, start + n) % 2 == 1, :2] = 0
        return latents.flatten(1)

    plain = generator.latents
    object.__setattr__(generator, "latents", shifted)
    causal = CausalSettings(n_units=2, n_segmented=160)
    run = dissected(generator, tmp_path, causal=("is red",), causal_settings=causal)
    effect = run.causal[0].effect
    assert set(effect.units) == {0, 1}
    assert effect.erased == 1
    assert effect.random_effect == pytest.approx(0, abs=1e-6)
    assert "Causes" in (tmp_path / "report.html").read_text()

    kept = Work.kept

    def computes_no_cause(work, name, facts, compute):
        assert work.resume
        return kept(work, name, facts, compute if name != "causal" else pytest.fail)

    monkeypatch.setattr(Work, "kept", computes_no_cause)
    again = dissected(generator, tmp_path, causal=("is red",), causal_settings=causal)
    assert again.causal[0].effect == run.causal[0].effect
    assert again.causal[0].rows.keys() == run.causal[0].rows.keys()
    assert all(torch.equal(again.causal[0].rows[name], images) for name, images in run.causal[0].rows.items())


def test_a_concept_that_no_unit_overlaps_or_too_few_samples_have_is_not_tested(generator, tmp_path):
    class Rare(Colours):
        names = ("is red", "is green", "never", "always")

        def __call__(self, images):
            masks = super().__call__(images)
            return torch.cat([masks, torch.zeros_like(masks[:, :1]), torch.ones_like(masks[:, :1])], 1)

    causal = CausalSettings(n_units=4, n_segmented=160)
    run = dissected(
        generator, tmp_path, Rare(), causal=("never", "is green", "always"), causal_settings=causal, thresholds="fixed"
    )
    (study,) = run.causal
    assert (study.effect.concept, study.effect.units[0]) == ("is green", 2)
    iou = run.agreement["act"].above_null[:, 1]
    assert (iou[list(study.effect.units)] > 0).all()  # no other unit fills up the four
    assert "No unit of act overlaps 'never'" in run.untested["never"]
    assert set(run.untested) == {"never", "always"}
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["causal_untested"] == run.untested
    assert "Not tested: causes of never, always." in (tmp_path / "report.html").read_text()


def test_what_is_finished_can_be_read_while_causes_are_tested(generator, tmp_path, monkeypatch):
    def look(*_):
        summary = json.loads((tmp_path / "summary.json").read_text())
        assert summary["pending"] == ["causes of is green"]
        assert summary["layers"]["act"]["n_units"] == 8
        assert "still at work on causes of is green" in (tmp_path / "report.html").read_text()
        assert (tmp_path / "pages" / "act.html").is_file()
        raise KeyboardInterrupt

    monkeypatch.setattr("genmend.gans.dissection.dissection.causal_study", look)
    with pytest.raises(KeyboardInterrupt):
        dissected(generator, tmp_path, causal=("is green",))


def test_units_that_are_on_where_everything_is_beat_no_chance(tmp_path):
    """Maps and masks each have their own blob in the middle, whose width has nothing to do with the other's."""

    class Middle(nn.Module):
        def __init__(self):
            super().__init__()
            self.act = nn.ReLU()

        def forward(self, z):
            rows = torch.linspace(-1, 1, 16)
            near = 1 - rows.abs()[:, None] - rows.abs()[None]
            maps = self.act(near + 0.3 * z[:, :8].view(-1, 8, 1, 1))
            return torch.stack([maps[:, 0], (near > 0.3 + 0.2 * z[:, 8].view(-1, 1, 1)).float(), maps[:, 1]], 1)

    class Blob(Colours):
        names = ("first", "blob")

        def __call__(self, images):
            return images[:, :2] > 0.5

    middle = Generator(Middle().eval(), (9,), ("act",), value_range=(0, 1), name="middle")
    for rule in ("paper", "code"):
        run = dissected(middle, tmp_path / rule, Blob(), rule=rule)
        units = run.layers["act"]
        assert np.flatnonzero(units.detector).tolist() == [0]
        assert run.label("act", 0) == "first"
        assert run.agreement["act"].iou[1:].max() > 0.3  # far above the 0.05 that either rule asks for
        assert np.allclose(run.agreement["act"].null[1:], run.agreement["act"].iou[1:], atol=0.05)
        assert units.p_adjusted[0] < 1e-6
        assert (units.p_adjusted[1:] > 0.05).all()


def colour_features(images):
    """Colours and their squares, which tell a sample with much red from the rest."""
    means = images.mean((2, 3))
    return torch.cat([means, means.square()], 1)


def extractor():
    return colour_features


def test_units_whose_images_are_far_from_normal_are_ranked(generator, tmp_path):
    run = dissected(generator, tmp_path, artifact_units="test_workbench_dissect:extractor")
    found = run.artifact_units
    detector = load_detector(next((tmp_path / "work").glob("detector-*.safetensors")))
    assert (detector.n_statistics, detector.n_reference) == (300, 300)  # those that were asked for
    assert (found.n_pool, found.n_top) == (300, 30)
    painters = found.kid["act"][:3]
    assert painters.min() > found.kid["act"][3:].max()  # only units 0 to 2 change the picture
    assert {unit for _, unit in found.worst(3)} == {0, 1, 2}
    worst = run.to_dict()["artifact_units"]["layers"]["act"]["worst"][0]
    assert worst["kid"] == found.kid["act"].max()
    latents = generator.latents(300, 0).view(300, 8, 16).amax(2)
    assert found.samples["act"][0, 0] == latents[:, 0].argmax()
    with (tmp_path / "units.csv").open(newline="") as file:
        assert [float(row["unit_kid"]) for row in csv.DictReader(file)] == found.kid["act"].tolist()
    report = (tmp_path / "report.html").read_text()
    assert "Far from normal" in report
    assert f"act unit {found.worst(1)[0][1]}: unit-KID" in report
    assert "Far from normal" not in dissected_report(generator, tmp_path / "without")


def dissected_report(generator, out):
    dissected(generator, out)
    return (out / "report.html").read_text()


def test_what_cannot_be_done_is_said(generator, tmp_path):
    with pytest.raises(ValueError, match="No segmenter has the concept 'hat'"):
        dissected(generator, tmp_path, causal=("hat",))
    with pytest.raises(ValueError, match="accepted are 'iqr' and 'fixed'"):
        DissectSettings(thresholds="best")
    with pytest.raises(ValueError, match="accepted are 'paper' and 'code'"):
        DissectSettings(rule="mine")
    with pytest.raises(ValueError, match="n_shuffles is 1; give at least 2"):
        DissectSettings(n_shuffles=1)
    net = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 48), nn.Unflatten(1, (3, 4, 4)))
    flat = Generator(net.eval(), (4,), ("1",))
    with pytest.raises(ValueError, match=r"Layer '1' puts out \['n', 6\].*feature maps"):
        run_dissect(flat, tmp_path, progress=False)
    with pytest.raises(ValueError, match="name at least one, and each once"):
        DissectSettings(segmenters=("classical", "classical"))
    with pytest.raises(ValueError, match="at least 8"):
        DissectSettings(n_images=3)


def test_of_a_large_model_the_best_units_are_shown(generator, tmp_path, monkeypatch):
    monkeypatch.setattr("genmend.gans.generator._MANY_NEURONS", 10)
    monkeypatch.setattr("genmend.workbench.pages.gans.dissect._SHOWN_OF_LARGE", 3)
    run = dissected(generator, tmp_path)
    page = (tmp_path / "pages" / "act.html").read_text()
    assert page.count("<img") == 3 + 1  # the best of them on the first screen too
    assert "Here are the 3 that agree most beyond chance" in page
    best = np.argsort(-run.layers["act"].above_null, kind="stable")[:3]
    assert all(f"act unit {unit}: " in page for unit in best)
    with (tmp_path / "units.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == 8
