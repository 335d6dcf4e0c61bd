"""What the command line does, in at most six lines of Python; and each image is generated once."""

import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from gans_toys import EXTRACTOR, toy_correction, toy_features, toy_generator

from genmend.activations import save_correction
from genmend.gans import ArtifactDetector, convert, correct, corrected, detect, dissect, explore, find_rare
from genmend.gans.conversion.child import read_or_explain
from genmend.gans.correctors import LatentOptimisation, Truncation
from genmend.gans.correctors.registry import MethodSettings
from genmend.gans.settings import (
    DetectorSettings,
    DissectSettings,
    ExploreSettings,
    GateSettings,
    RareSearch,
    RareSettings,
)
from genmend.manifold import Manifold
from genmend.manifold.features import extract, features_of
from genmend.storage.pieces import Work
from genmend.workbench.commands.gans.correct import run_correct

SETTINGS = DetectorSettings(EXTRACTOR, n_statistics=120, n_reference=100)


@pytest.fixture
def generator():
    return toy_generator()


@pytest.fixture
def latents(generator):
    latents = generator.latents(70, 5)
    latents[:8] *= 3
    return latents


@pytest.fixture
def counted(monkeypatch):
    """The numbers of latents of all forward passes through any generator."""
    calls = []
    run = type(toy_generator()).run
    monkeypatch.setattr(type(toy_generator()), "run", lambda self, batch: calls.append(len(batch)) or run(self, batch))
    return calls


def test_no_job_needs_the_workbench(generator, latents, tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules["genmend.gans.conversion.convert"], "read_in_child", read_or_explain)
    detection = detect(generator, latents, settings=SETTINGS).detection
    mended = correct(generator, latents, settings=SETTINGS).treatment
    settings = RareSettings(SETTINGS, search=RareSearch(n_versions=2, n_steps=2, k_reference=20))
    rare = find_rare(generator, latents[8:10], settings=settings).samples
    tiny = GateSettings(n_rounds=2, n_steps=4, n_draws=2)
    explored = explore(
        generator,
        latents[9:10],
        settings=ExploreSettings(tolerance=0.01, granularity="unit", n=4, n_moves=3, extractor="", gates=tiny),
    )
    run = dissect(generator, ["stem.act"], settings=DissectSettings(n_images=16, n_statistics=16))
    assert detection.flagged[:8].any()
    assert len(mended.images) == len(mended.before) == 70
    assert rare.n_references == 2
    assert explored.queries[0].latents.shape == (4, 16)
    assert run.agreement["stem.act"].iou.shape == (6, len(run.concepts))
    torch.save({"weight": torch.zeros(2)}, tmp_path / "x.pt")
    with pytest.raises(ValueError, match="looks like"):
        convert(tmp_path / "x.pt", tmp_path / "out", trusted=True)


@pytest.fixture
def kept(generator, tmp_path):
    """Features of images of another seed, in a file as ``genmend features`` writes it, and the images."""
    images = generator.generate(generator.latents(60, 77))
    np.save(tmp_path / "normal.npy", images.permute(0, 2, 3, 1).numpy())
    features_of(tmp_path / "normal.npy", EXTRACTOR, cache=False).save(tmp_path / "normal.safetensors")
    return tmp_path / "normal.safetensors"


def test_kept_features_stand_for_normal_images_wherever_these_are_taken(generator, latents, kept):
    images = kept.with_suffix(".npy")
    settings = RareSettings(SETTINGS, search=RareSearch(n_versions=2, n_steps=2, k_reference=20))
    own = find_rare(generator, latents[8:10], settings=settings)
    by_kept, by_images = (
        find_rare(generator, latents[8:10], normal=normal, settings=settings) for normal in (kept, images)
    )
    for name, values in by_images.samples.arrays().items():
        np.testing.assert_allclose(by_kept.samples.arrays()[name], values, rtol=1e-4, atol=1e-5, err_msg=name)
    assert by_kept.to_dict()["relative_to"] == "the 60 normal images given"
    assert own.to_dict()["normal_images"] == 0
    shown = toy_features(generator.generate(latents[8:10]))
    rarity = Manifold(by_kept.space.manifold.k).fit(features_of(kept)).rarity(shown.numpy())
    np.testing.assert_allclose(by_kept.samples.reference_rarity, rarity, rtol=1e-4)
    assert not np.array_equal(own.samples.reference_rarity, by_kept.samples.reference_rarity, equal_nan=True)
    flagged = [detect(generator, latents, normal=one, settings=SETTINGS).detection.flagged for one in (kept, images)]
    np.testing.assert_array_equal(*flagged)


def test_kept_features_that_do_not_fit_are_refused_with_what_to_do(generator, latents, kept, tmp_path):
    def refused(path, words):
        for job in (find_rare, detect, correct):
            settings = RareSettings(SETTINGS) if job is find_rare else SETTINGS
            with pytest.raises(ValueError, match=words):
                job(generator, latents[:4], normal=path, settings=settings)

    found = features_of(kept)
    replace(found, pipeline={"extractor": "clip-vit-b16"}).save(tmp_path / "other.safetensors")
    refused(tmp_path / "other.safetensors", rf"other\.safetensors has features of clip-vit-b16 and .* {EXTRACTOR}")
    np.save(tmp_path / "large.npy", np.zeros((30, 40, 40, 3), np.uint8))
    features_of(tmp_path / "large.npy", EXTRACTOR, cache=False).save(tmp_path / "large.safetensors")
    refused(tmp_path / "large.safetensors", "of images of 40 x 40 pixels, and the generator draws 32 x 32: give the im")
    features_of(kept, limit=5).save(tmp_path / "few.safetensors")
    refused(tmp_path / "few.safetensors", r"few\.safetensors holds 5 images, too few to say what is normal")


def test_a_detector_of_ones_own_is_used_and_left_as_it_is(generator, latents, tmp_path):
    detector = ArtifactDetector(toy_features, n_statistics=120, n_reference=100).fit(generator)
    before = detector.threshold_
    run = detect(generator, latents, detector=detector, threshold=before + 1)
    assert run.detection.threshold == before + 1
    assert detector.threshold_ == before
    np.testing.assert_array_equal(run.detection.combined, detector.score(generator, latents).combined)


def test_what_is_kept_is_read_again(generator, latents, tmp_path, counted):
    work = Work(tmp_path)
    first = detect(generator, latents, settings=SETTINGS, work=work)
    counted.clear()
    again = detect(generator, latents, settings=SETTINGS, work=work)
    np.testing.assert_array_equal(first.detection.combined, again.detection.combined)
    assert not counted
    assert sorted(path.name.split("-")[0] for path in tmp_path.iterdir()) == ["detail", "detector", "measured"]


def test_each_image_is_generated_once_and_what_is_left_alone_never_again(generator, latents, counted):
    correction = toy_correction(generator)
    counted.clear()
    done = corrected(generator, correction, extractor=toy_features)(latents)
    tried = int((done.changed | done.given_up).sum())
    assert 0 < tried < 70
    assert 70 + tried <= sum(counted) <= 70 + len(correction.ladder) * tried
    untouched = torch.from_numpy(~done.changed)
    assert torch.equal(done.images[untouched], done.before[untouched])
    assert torch.equal(done.before, generator.generate(latents))
    shut = toy_correction(generator, limits=(1e9, 1e9, 1e9))
    counted.clear()
    alone = corrected(generator, shut, extractor=toy_features)(latents)
    assert sum(counted) == 70
    assert alone.before is alone.images


def test_the_command_generates_no_image_more_than_the_library(generator, latents, tmp_path, counted):
    """Before: 70 + 70 again for before/, one for each sample tried, and the shown ones once more."""
    correction = toy_correction(generator)
    file = tmp_path / "toy.correction.safetensors"
    save_correction(file, correction)
    counted.clear()
    run = correct(generator, latents, correction=file)
    alone = sum(counted)
    counted.clear()
    written = run_correct(generator, latents, tmp_path / "out", correction_file=file, progress=False)
    n_shown = min(12, int(run.treatment.changed.sum()))
    assert n_shown
    # The page's heat maps are of activations: a pass for each shown sample, and one that asks for the image's side.
    assert sum(counted) == alone + n_shown + 1
    np.testing.assert_array_equal(written.treatment.rung, run.treatment.rung)
    assert len(list((tmp_path / "out" / "before").iterdir())) == 70


def test_a_method_without_a_ladder_tries_each_sample_once(generator, latents, tmp_path, counted):
    method = MethodSettings("truncation", {"psi": 0.5})
    work = Work(tmp_path / "work")
    correct(generator, latents[:1], method=method, gate=False, settings=SETTINGS, work=work)
    counted.clear()
    done = correct(generator, latents, method=method, gate=False, settings=SETTINGS, work=work)
    assert sum(counted) == 70 + 70  # the detector is kept, and truncation of normal latents learns nothing
    changed = done.treatment.changed
    assert torch.equal(done.latents[changed], 0.5 * latents[changed])


def test_features_that_are_known_are_not_extracted_again(generator, latents):
    correction, calls = toy_correction(generator), []

    def extractor(images):
        calls.append(len(images))
        return toy_features(images)

    features = extract(toy_features, generator.generate(latents))
    mend = corrected(generator, correction, extractor=extractor)
    known = mend(latents, features=features)
    with_features = sum(calls)
    calls.clear()
    plain = mend(latents)
    assert sum(calls) == with_features + 70
    assert torch.equal(known.images, plain.images)
    with pytest.raises(ValueError, match="69 rows of features for 70 latents"):
        mend(latents, features=features[1:])


def test_corrected_samples_are_generated_again(generator, latents):
    mend = corrected(generator, toy_correction(generator), extractor=toy_features)
    done = mend(latents)
    assert len(set(done.rung)) > 1
    again = mend.generate_again(done.latents, done.rung)
    torch.testing.assert_close(again, done.images, rtol=0, atol=1e-6)  # other batches, other order of sums
    moving = Truncation(0.5).fit(generator, latents[8:])
    mend = corrected(generator, toy_correction(generator), extractor=toy_features, corrector=moving, gate=False)
    done = mend(latents)
    assert done.changed.any()
    again = mend.generate_again(done.latents, done.rung)
    torch.testing.assert_close(again, done.images, rtol=0, atol=1e-6)  # other batches, other order of sums


def test_a_judge_asked_later_sees_the_same(generator, latents, tmp_path, monkeypatch):
    """Its features are those of the images as generated, whether they are at hand or generated again."""
    monkeypatch.setattr("genmend.gans.correctors.second_judge.N_OWN", 200)
    correction = toy_correction(generator)
    file = tmp_path / "toy.correction.safetensors"
    save_correction(file, correction)
    judge = "gans_toys:other_extractor"
    asked = run_correct(generator, latents, tmp_path / "one", correction_file=file, judge=judge, progress=False)
    run_correct(generator, latents, tmp_path / "two", correction_file=file, progress=False)
    later = run_correct(generator, latents, tmp_path / "two", correction_file=file, judge=judge, progress=False)
    assert asked.judge is not None
    assert asked.judge.n == asked.treatment.changed.sum() > 0
    assert later.judge.cosine == pytest.approx(asked.judge.cosine, abs=1e-6)  # generated in other batches
    assert replace(later.judge, cosine=0) == replace(asked.judge, cosine=0)


def test_a_misspelt_option_is_an_error_at_once(generator):
    with pytest.raises(TypeError, match="gates"):
        corrected(generator, toy_correction(generator), gates=False)


def test_fit_checks_the_latents_of_every_corrector(generator, latents):
    for corrector in (Truncation(), LatentOptimisation(toy_features)):
        with pytest.raises(ValueError, match="Latents have shape"):
            corrector.fit(generator, latents[:, :3])
        with pytest.raises(ValueError, match="Latents have shape"):
            corrector.fit(generator, latents, latents[:, :3])
