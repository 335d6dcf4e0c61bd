"""genmend correct --method: every corrector behind one gate, as a user runs it."""

import csv
import json
import re

import numpy as np
import pytest
import torch
from PIL import Image
from scratch_commands import SCRATCH, genmend

from genmend.activations import load_correction
from genmend.concepts import ExplanationMasks
from genmend.gans import correct as correct_samples
from genmend.gans import load_generator
from genmend.gans.correctors.registry import METHODS, MethodSettings
from genmend.gans.detection.labelled_samples import load_labelled
from genmend.gans.settings import DetectorSettings
from genmend.manifold.figures.image_grid import to_pixels

OPTIONS = [
    "--latent-shape",
    "12",
    "--extractor",
    "scratch:network",
    "--n-statistics",
    "200",
    "--n-reference",
    "160",
    "--flagged-share",
    "0.05",
]
IN_FILE = {"defective-units", "rare-neurons", "random-units", "random-neurons"}
QUICK = {
    "manifold-guided": ["--set", "n_steps=3"],
    "latent-optimisation": ["--set", "n_steps=3"],
    "locally-active-units": ["--set", "n_neighbours=4", "--set", "n_samples=20"],
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("methods")
    (folder / "scratch.py").write_text(SCRATCH)
    latents = np.random.default_rng(0).standard_normal((12, 12)).astype(np.float32)
    latents[:4] *= 3  # off the prior
    np.save(folder / "latents.npy", latents)
    judged = folder / "judged"
    judged.mkdir()
    known = np.random.default_rng(1).standard_normal((60, 12)).astype(np.float32)
    known[:20] *= 3
    np.save(judged / "latents.npy", known)
    write_labels(judged, ["2,2"] * 20 + ["0,0"] * 35 + ["1,2"] * 5)
    masks = np.zeros((60, 16, 16), dtype=np.float32)
    masks[:20, :8] = 1
    np.save(folder / "masks.npy", masks)
    np.save(folder / "few_masks.npy", masks[:20])
    return folder


def write_labels(judged, rows, header="rater_a,rater_b"):
    (judged / "labels.csv").write_text("\n".join([header, *rows]) + "\n")


def correct(folder, out, *arguments):
    return genmend(folder, "correct", "scratch:build", "--latents", "latents.npy", "--out", out, *OPTIONS, *arguments)


def rows_of(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def pixels(folder, name, row):
    return np.asarray(Image.open(folder / name / f"{row:05d}.png"))


@pytest.mark.parametrize("method", METHODS)
def test_each_method_corrects_counts_and_keeps_what_can_be_kept(folder, method):
    done = correct(folder, method, "--method", method, "--json", *QUICK.get(method, []))
    assert done.returncode == 0, done.stderr
    result, out = json.loads(done.stdout), folder / method
    assert result == json.loads((out / "summary.json").read_text())
    assert result["method"] == method
    assert result["in_correction_file"] == (out / "correction.safetensors").is_file() == (method in IN_FILE)
    rows, threshold = rows_of(out / "corrections.csv"), None
    for row in rows:
        same = (pixels(out, "before", int(row["index"])) == pixels(out, "after", int(row["index"]))).all()
        assert same or row["rung"] == "0"
    tried = [row for row in rows if row["rung"] == "0" or row["given_up"] == "1"]
    assert result["n_changed"] + result["n_given_up"] == len(tried) == result["n_flagged"]["before"] > 0
    threshold = min(float(row["gate_before"]) for row in tried)
    assert result["n_flagged"]["after"] == sum(float(row["gate_after"]) >= threshold for row in rows)
    page = (out / "report.html").read_text()
    assert method in page
    assert ("no correction file" in page) == (method not in IN_FILE)
    if method in IN_FILE:
        kept = load_correction(out / "correction.safetensors")
        assert len(kept.ladder) == 1
        assert kept.info["learnt_from"].endswith("by the label-free detector, no drawn masks")


def test_the_file_of_a_method_does_the_same_and_a_run_goes_on_from_what_is_there(folder):
    options = ["--method", "defective-units", "--no-gate"]
    assert correct(folder, "ungated", *options).returncode == 0
    kept = sorted((folder / "ungated" / "work").iterdir())
    stamps = [path.stat().st_mtime_ns for path in kept]
    first = (folder / "ungated" / "corrections.csv").read_bytes()
    assert correct(folder, "ungated", *options).returncode == 0
    assert [path.stat().st_mtime_ns for path in sorted((folder / "ungated" / "work").iterdir())] == stamps
    assert (folder / "ungated" / "corrections.csv").read_bytes() == first
    file = ["--correction", "ungated/correction.safetensors", "--no-gate"]
    assert correct(folder, "reused", *file).returncode == 0
    assert (folder / "reused" / "corrections.csv").read_bytes() == first


def test_set_reaches_the_method_and_moved_latents_are_what_is_drawn(folder):
    done = correct(folder, "half", "--method", "truncation", "--set", "psi=0.5", "--no-gate", "--json")
    result = json.loads(done.stdout)
    assert result["settings"]["parameters"] == {"psi": 0.5}
    changed = [int(row["index"]) for row in rows_of(folder / "half" / "corrections.csv") if row["rung"] == "0"]
    assert changed
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        generator = load_generator("scratch:build", (12,))
    latents = torch.from_numpy(np.load(folder / "latents.npy"))
    wanted = to_pixels(generator.generate(0.5 * latents))
    for row in changed:
        assert np.abs(pixels(folder / "half", "after", row).astype(int) - wanted[row]).max() <= 1
    drawn_from = np.load(folder / "half" / "latents.npy")
    np.testing.assert_array_equal(drawn_from[changed], 0.5 * latents.numpy()[changed])
    others = np.setdiff1d(np.arange(len(latents)), changed)
    np.testing.assert_array_equal(drawn_from[others], latents.numpy()[others])
    assert correct(folder, "half", "--method", "rare-neurons", "--no-gate").returncode == 0
    assert not (folder / "half" / "latents.npy").exists()


def test_a_second_judge_looks_at_what_was_corrected(folder):
    options = ["--method", "truncation", "--set", "psi=0.4", "--no-gate", "--json"]
    done = correct(folder, "judged_twice", *options, "--judge-extractor", "scratch:extractor")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    judge = result["judge"]
    assert judge["extractor"] == "scratch:extractor"
    assert judge["n"] == result["n_changed"] > 0
    assert 0 <= judge["inside_before"] <= judge["inside_after"] <= 1
    low, high = judge["gained"]
    assert low <= judge["inside_after"] - judge["inside_before"] <= high
    assert 0 < judge["cosine"] < 1
    assert "A second judge" in (folder / "judged_twice" / "report.html").read_text()
    again = correct(folder, "judged_twice", *options, "--judge-extractor", "scratch:extractor")
    assert json.loads(again.stdout) == result
    same = correct(folder, "judged_twice", *options, "--judge-extractor", "scratch:network")
    assert same.returncode == 2
    assert "which the gate looks through itself" in same.stderr


def test_a_method_without_a_file_takes_away_that_of_an_earlier_one(folder):
    assert correct(folder, "twice", "--method", "rare-neurons").returncode == 0
    assert (folder / "twice" / "correction.safetensors").is_file()
    assert correct(folder, "twice", "--method", "truncation").returncode == 0
    assert not (folder / "twice" / "correction.safetensors").exists()


def masks_on_page(report):
    """The caption of the page's picture of masks; empty without one."""
    found = re.search(r"<figcaption>([^<]*the mask that[^<]*)</figcaption>", report.read_text(encoding="utf-8"))
    return found[1] if found else ""


def test_labels_and_masks_are_what_it_learns_from(folder):
    common = ["--method", "defective-units", "--labels", "judged"]
    for _ in range(2):  # the second time the correction, and what the page shows of its masks, are the first run's
        assert correct(folder, "masked", *common, "--masks", "masks.npy").returncode == 0
        assert masks_on_page(folder / "masked" / "report.html") == (
            "The first 12 of the broken samples that it learnt from (35 normal and 20 broken samples by labels, drawn "
            "masks (masks.npy)), and below each the mask that units were scored by: from 0, grey, to 1, its own "
            "colours under orange. Marked: 50% of these images on average. Nobody says that the masks are right: look "
            "whether they hold what is broken."
        )
    assert correct(folder, "attributed", *common).returncode == 0
    assert masks_on_page(folder / "attributed" / "report.html") == ""
    masked, attributed = (
        load_correction(folder / name / "correction.safetensors") for name in ("masked", "attributed")
    )
    assert masked.info["learnt_from"] == "35 normal and 20 broken samples by labels, drawn masks (masks.npy)"
    assert attributed.info["learnt_from"] == "35 normal and 20 broken samples by labels, no drawn masks"
    assert masked.info["gate_trained_on"] == "labels"
    assert masked.gate == attributed.gate
    assert masked.ladder != attributed.ladder


def test_what_makes_the_gate_call_samples_broken_becomes_their_masks(folder):
    """With labels in place of drawn masks, without them for the own samples that are flagged; as from Python."""
    common = ["--method", "defective-units", "--labels", "judged"]
    done = correct(folder, "explained", *common, "--masks", "explain:dga", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["settings"]["masks"] == "explain:distilled-gradient"
    assert correct(folder, "drawn", *common, "--masks", "masks.npy").returncode == 0
    explained, drawn = (load_correction(folder / name / "correction.safetensors") for name in ("explained", "drawn"))
    words = "35 normal and 20 broken samples by labels, masks by explain:distilled-gradient"
    assert explained.info["learnt_from"] == words
    assert explained.gate == drawn.gate
    assert explained.ladder != drawn.ladder
    own = correct(folder, "own", "--method", "random-units", "--masks", "explain:saliency", "--json")
    assert own.returncode == 0, own.stderr
    learnt_from = load_correction(folder / "own" / "correction.safetensors").info["learnt_from"]
    assert learnt_from.endswith("own samples by the label-free detector, masks by explain:saliency")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        generator = load_generator("scratch:build", (12,))
        run = correct_samples(
            generator,
            np.load(folder / "latents.npy"),
            method=MethodSettings(
                "defective-units", labels=load_labelled(folder / "judged", generator), masks=ExplanationMasks("dga")
            ),
            settings=DetectorSettings("scratch:network", n_statistics=200, n_reference=160, flagged_share=0.05),
        )
    assert run.correction.ladder == explained.ladder
    judged = torch.from_numpy(np.load(folder / "judged" / "latents.npy"))
    assert torch.equal(run.marked.latents, judged[:12])
    assert run.marked.masks.shape == (12, 32, 32)


def test_without_masks_the_key_of_kept_work_is_what_it_was():
    assert "masks" not in MethodSettings("defective-units").facts()
    assert MethodSettings("defective-units", masks=ExplanationMasks("api")).facts()["masks"].startswith("explain:pos")


def test_boxes_in_the_labels_become_masks(folder, tmp_path):
    np.save(tmp_path / "latents.npy", np.load(folder / "judged" / "latents.npy"))
    write_labels(tmp_path, ["2,2,0,0,8,16"] + ["2,2,,,,"] * 19 + ["0,0,,,,"] * 40, "rater_a,rater_b,x0,y0,x1,y1")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        labelled = load_labelled(tmp_path, load_generator("scratch:build", (12,)))
    assert labelled.masks.shape == (60, 32, 32)
    assert labelled.masks[0].sum() == labelled.masks[0, :16, :8].sum() == 128
    assert not labelled.masks[1:].any()
    assert labelled.broken.sum() == 20
    assert labelled.normal.sum() == 40


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--method", "magic"], "method is 'magic'; give one of contrast-descent, ladder, defective-units, "),
        (["--method", "rare-neurons", "--set", "psi=0.5"], "rare-neurons has no parameter 'psi'; it has "),
        (["--method", "truncation", "--set", "psi=half"], "psi of truncation is 'half'; give a float, e.g. 0.7"),
        (["--method", "truncation", "--set", "psi"], "write NAME=VALUE"),
        (["--method", "truncation", "--set", "psi=3"], "psi is 3; give a share in [0, 1]"),
        (["--method", "defective-units", "--masks", "masks.npy"], "give --labels too"),
        (["--method", "truncation", "--labels", "judged", "--masks", "masks.npy"], "truncation looks at no masks"),
        (["--method", "defective-units", "--labels", "judged", "--masks", "few_masks.npy"], "[60, h, w]"),
        (["--method", "truncation", "--masks", "explain:dga"], "take --method defective-units, or leave --masks out"),
        (["--method", "defective-units", "--masks", "explain:lime"], "'lime' is no method; accepted are distilled-gra"),
        (
            ["--method", "defective-units", "--masks", "explain:dga", "--extractor", "scratch:flat"],
            "distilled-gradient does not serve this score. The score has no gradient by the input. Take one of occlu",
        ),
        (["--labels", "."], "has no labels.csv"),
        (["--correction", "latents.npy", "--method", "truncation"], "leave out --method"),
        (["--psi", "0.5"], "MODEL 'scratch:build' takes no --psi"),
    ],
)
def test_errors_say_what_to_do_and_leave_no_result(folder, arguments, words):
    done = correct(folder, "bad", *arguments)
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert not (folder / "bad" / "summary.json").exists()


@pytest.mark.parametrize(
    ("rows", "header", "words"),
    [
        (["0,0"] * 59, "rater_a,rater_b", "60 latents and 59 rows"),
        (["0,0"] * 60, "rater_a,rater_b", "0 that are broken for every rater"),
        (["0,3"] * 60, "rater_a,rater_b", "rater_b = '3'"),
        (["0,0"] * 60, "rater_b,other", "rater_a = None"),
    ],
)
def test_labels_that_do_not_fit_are_refused(folder, tmp_path, rows, header, words):
    np.save(tmp_path / "latents.npy", np.load(folder / "judged" / "latents.npy"))
    write_labels(tmp_path, rows, header)
    done = correct(folder, "bad", "--labels", tmp_path)
    assert done.returncode == 2
    assert words in done.stderr


def test_a_control_has_the_parameters_of_its_corrector_and_a_seed_of_its_own():
    wanted = MethodSettings("random-units", {"share": 0.3, "seed": 5, "gate_quantile": 0.9})
    control = wanted.corrector(DetectorSettings())
    assert (control.seed, control.corrector.share, control.corrector.seed) == (5, 0.3, 0)
    assert wanted.gate_quantiles() == {"gate_quantile": 0.9}


def test_help_names_every_method(folder):
    text = " ".join(genmend(folder, "correct", "--help", COLUMNS="300", TERMINAL_WIDTH="300").stdout.split())
    assert all(method in text for method in METHODS)


def test_a_folder_that_other_latents_took_over_gives_the_first_result_again(folder):
    """What was kept of the first run is used only if its images are still there, and none of the second are left."""

    def content():
        files = sorted(file for file in (folder / "taken").rglob("*.*") if "work" not in file.parts)
        return {file.relative_to(folder): file.read_bytes() for file in files}

    latents = np.load(folder / "latents.npy")
    np.save(folder / "others.npy", np.concatenate([latents[::-1], latents]))
    assert correct(folder, "taken").returncode == 0
    first = content()
    others = ["correct", "scratch:build", "--latents", "others.npy", "--out", "taken", *OPTIONS]
    assert genmend(folder, *others).returncode == 0
    assert len([*(folder / "taken" / "after").iterdir()]) == 24
    assert correct(folder, "taken").returncode == 0
    assert content() == first
    picture = folder / "taken" / "after" / "00003.png"
    whole = picture.read_bytes()
    picture.write_bytes(whole[:60])
    assert correct(folder, "taken").returncode == 0
    assert picture.read_bytes() == whole
