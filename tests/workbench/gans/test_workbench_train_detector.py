"""genmend train-detector as a user runs it: labels or folders in, a detector file out, used by detect and correct."""

import csv
import json
import warnings

import numpy as np
import pytest
from PIL import Image
from scratch_commands import SCRATCH, forget_modules, genmend
from sklearn.metrics import roc_auc_score

from genmend.activations import load_correction
from genmend.gans import ArtifactDetector, ImageDetector, load_detector, train_detector
from genmend.gans.settings import DetectorSettings, TrainSettings
from genmend.storage.pieces import Work

OPTIONS = ["--latent-shape", "12", "--extractor", "scratch:network", "--n-statistics", "200", "--n-reference", "160"]
IMAGES = ["train-detector", "--good", "good", "--bad", "bad", "--extractor", "scratch:network"]


def write_images(folder, images):
    folder.mkdir()
    for number, image in enumerate(images):
        Image.fromarray(image).save(folder / f"{number:02d}.png")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Latents of which the first third is off the prior, their labels, and images of both kinds."""
    folder = tmp_path_factory.mktemp("trained")
    (folder / "scratch.py").write_text(SCRATCH)
    judged = folder / "judged"
    judged.mkdir()
    known = np.random.default_rng(1).standard_normal((60, 12)).astype(np.float32)
    known[:20] *= 3
    np.save(judged / "latents.npy", known)
    (judged / "labels.csv").write_text("rater_a\n" + "2\n" * 17 + "0\n" * 3 + "2\n" * 3 + "0\n" * 34 + "1\n" * 3)
    fresh = np.random.default_rng(2).standard_normal((24, 12)).astype(np.float32)
    fresh[:8] *= 3
    np.save(folder / "fresh.npy", fresh)
    rng = np.random.default_rng(3)
    write_images(folder / "good", rng.integers(100, 150, (16, 32, 32, 3), dtype=np.uint8))
    write_images(folder / "bad", rng.integers(0, 250, (16, 32, 32, 3), dtype=np.uint8))
    (folder / "empty").mkdir()
    return folder


@pytest.fixture(scope="module")
def trained(folder):
    done = genmend(
        folder, "train-detector", "scratch:build", "--labels", "judged", "--out", "trained", *OPTIONS, "--json"
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def by_images(folder):
    done = genmend(folder, *IMAGES, "--out", "by_images", "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def rows_of(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_auroc_is_that_of_samples_which_no_model_saw(folder, trained):
    """By hand from scores.csv; and it stands, with its interval and curve, in the summary."""
    rows = rows_of(folder / "trained" / "scores.csv")
    clear = [row for row in rows if row["share"] in ("0.0", "1.0")]
    broken, scores = [row["share"] == "1.0" for row in clear], [float(row["score"]) for row in clear]
    assert (len(rows), len(clear), trained["n_borderline"]) == (60, 57, 3)
    assert trained["auroc"] == pytest.approx(roc_auc_score(broken, scores))
    assert trained["interval"][0] <= trained["auroc"] <= trained["interval"][1]
    assert 0.6 < trained["auroc"] < 1  # six labels are wrong
    curve = trained["curve"]
    for limit, hits, alarms, precision in zip(
        *(curve[name] for name in ("thresholds", "hits", "false_alarms", "precision")), strict=True
    ):
        found = [is_broken for is_broken, score in zip(broken, scores, strict=True) if score >= limit]
        assert (hits, alarms) == (pytest.approx(sum(found) / 20), pytest.approx((len(found) - sum(found)) / 37))
        assert precision == pytest.approx(np.mean(found))
    assert trained["normal_flagged"] <= 2 / 37
    assert json.loads((folder / "trained" / "summary.json").read_text()) == trained
    page = (folder / "trained" / "report.html").read_text()
    first, _, _ = page.partition("<section")
    assert f"of {trained['n_broken']} samples labelled broken" in first
    assert f"{trained['auroc']:.3f} [" in first
    assert "chance: 0.5" in first
    assert first.count("<img") == 1  # the scores by label
    assert page.count("<img") >= 4


def test_detect_and_correct_use_the_file(folder, trained):
    file = "trained/detector.safetensors"
    found = genmend(
        folder, "detect", "scratch:build", "--latents", "fresh.npy", "--out", "found", *OPTIONS[:4], "--detector", file
    )
    assert found.returncode == 0, found.stderr
    scores = [float(row["combined"]) for row in rows_of(folder / "found" / "scores.csv")]
    assert roc_auc_score([1] * 8 + [0] * 16, scores) > 0.9
    mended = genmend(
        folder, "correct", "scratch:build", "--latents", "fresh.npy", "--out", "mended", *OPTIONS, "--detector", file
    )
    assert mended.returncode == 0, mended.stderr
    correction = load_correction(folder / "mended" / "correction.safetensors")
    assert correction.info["gate_trained_on"] == "labels"
    detector = load_detector(folder / file)
    assert isinstance(detector, ArtifactDetector)
    assert detector.training_["auroc"] == trained["auroc"]
    # What the labels call broken is not among the own samples that say what is normal.
    own = detector.supervised_(detector.supervised_inputs(detector.own_features_, detector.own_counts_))
    np.testing.assert_array_equal(detector.own_normal_, own <= trained["threshold"])
    assert len(correction.stop_rule.features) == (own <= trained["threshold"]).sum()


def test_a_detector_of_images_needs_no_neurons_and_says_so(folder, by_images):
    assert by_images["needs"] == ["images"]
    assert by_images["model"] is None
    detector = load_detector(folder / "by_images" / "detector.safetensors")
    assert isinstance(detector, ImageDetector)
    assert detector.image_size == (32, 32)
    file = "by_images/detector.safetensors"
    for command in ("detect", "correct"):
        done = genmend(
            folder, command, "scratch:build", "--latents", "fresh.npy", "--out", command, *OPTIONS, "--detector", file
        )
        assert done.returncode == 0, done.stderr
    assert "rare_activation" not in rows_of(folder / "detect" / "scores.csv")[0]
    assert load_correction(folder / "correct" / "correction.safetensors").info["gate_trained_on"] == "labels"


def test_a_file_written_and_read_scores_alike(folder, by_images, tmp_path, image_settings):
    run = train_detector(good=folder / "good", bad=folder / "bad", settings=image_settings)
    again = load_detector(folder / "by_images" / "detector.safetensors")
    features = run.detector.labelled_.features
    for one, other in zip(
        vars(run.detector.score_measured(features)).values(), vars(again.score_measured(features)).values(), strict=True
    ):
        np.testing.assert_array_equal(one, other)


@pytest.fixture
def image_settings(folder, monkeypatch):
    monkeypatch.syspath_prepend(folder)
    forget_modules(folder)
    return TrainSettings(detector=DetectorSettings("scratch:network"))


def test_a_second_run_measures_nothing_again(folder, trained, monkeypatch):
    monkeypatch.setattr(ArtifactDetector, "measure", lambda *_, **__: pytest.fail("measured again"))
    done = genmend(
        folder, "train-detector", "scratch:build", "--labels", "judged", "--out", "trained", *OPTIONS, "--json"
    )
    assert json.loads(done.stdout) == trained


def test_sizes_that_tell_good_from_bad_are_warned_of(folder, tmp_path, image_settings):
    write_images(tmp_path / "small", np.random.default_rng(4).integers(0, 250, (6, 16, 16, 3), dtype=np.uint8))
    with pytest.warns(UserWarning, match="16 x 16"):
        train_detector(good=folder / "good", bad=tmp_path / "small", settings=image_settings)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        train_detector(good=folder / "good", bad=folder / "bad", settings=image_settings)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["train-detector", "--good", "good", "--out", "x"], "Only good images are given"),
        (["train-detector", "--out", "x"], "one of two forms"),
        (["train-detector", "--labels", "judged", "--good", "good", "--bad", "bad", "--out", "x"], "one of two forms"),
        (["train-detector", "--labels", "judged", "--out", "x"], "MODEL"),
        (["train-detector", "scratch:build", "--good", "good", "--bad", "bad", "--out", "x", *OPTIONS], "no neurons"),
        (["train-detector", "--good", "good", "--bad", "empty", "--out", "x"], "empty holds no images"),
        (["train-detector", "--good", "good", "--bad", "nowhere", "--out", "x"], "nowhere"),
        (["train-detector", "--good", "good", "--bad", "good", "--out", "x"], "same image"),
        ([*IMAGES, "--n-folds", "20", "--out", "x"], "holds 16 images; 20 are the least"),
        (
            ["train-detector", "scratch:build", "--labels", "judged", "--n-folds", "30", "--out", "x", *OPTIONS],
            "20 broken; 30 folds",
        ),
        (["train-detector", "scratch:build", "--labels", "good", "--out", "x", *OPTIONS], "has no latents.npy"),
    ],
)
def test_errors_say_what_to_do_and_leave_nothing(folder, arguments, words):
    done = genmend(folder, *arguments)
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert not (folder / "x" / "summary.json").exists()


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ("rater_a\n" + "0\n" * 60, "0 that are broken"),
        ("rater_a\n" + "2\n" * 30 + "0\n" * 29, "60 latents and 59 rows"),
        ("rater_a\n" + "nan\n" * 60, "rater_a = 'nan'"),
        ("rater_a\n" + "2\n" * 3 + "0\n" * 57, "57 samples are labelled normal and 3 broken"),
    ],
)
def test_labels_that_teach_nothing_are_refused(folder, tmp_path, labels, words):
    np.save(tmp_path / "latents.npy", np.load(folder / "judged" / "latents.npy"))
    (tmp_path / "labels.csv").write_text(labels)
    done = genmend(folder, "train-detector", "scratch:build", "--labels", tmp_path, "--out", "x", *OPTIONS)
    assert done.returncode == 2
    assert words in done.stderr


def test_latents_with_nan_are_refused(folder, tmp_path):
    latents = np.load(folder / "judged" / "latents.npy")
    latents[4, 2] = np.nan
    np.save(tmp_path / "latents.npy", latents)
    (tmp_path / "labels.csv").write_text((folder / "judged" / "labels.csv").read_text())
    done = genmend(folder, "train-detector", "scratch:build", "--labels", tmp_path, "--out", "x", *OPTIONS)
    assert done.returncode == 2
    assert "Latent 4 holds NaN" in done.stderr


def test_a_generator_without_the_layers_is_refused(folder, trained):
    (folder / "flat.py").write_text(
        "from torch import nn\n"
        "def build():\n"
        "    return nn.Sequential(nn.Linear(12, 48), nn.Unflatten(1, (3, 4, 4)), nn.ReLU(),\n"
        "                         nn.Upsample(scale_factor=8))\n"
    )
    given = ["--latents", "fresh.npy", "--latent-shape", "12", "--out", "y"]
    done = genmend(folder, "detect", "flat:build", *given, "--detector", "trained/detector.safetensors")
    assert done.returncode == 2
    assert "was fitted on build (weights" in done.stderr
    assert "good and bad images, which suits any generator" in done.stderr


def test_kept_work_is_the_same_result(folder, tmp_path, image_settings):
    first = train_detector(good=folder / "good", bad=folder / "bad", settings=image_settings, work=Work(tmp_path))
    second = train_detector(good=folder / "good", bad=folder / "bad", settings=image_settings, work=Work(tmp_path))
    np.testing.assert_array_equal(first.scores, second.scores)
    assert first.to_dict() == second.to_dict()
