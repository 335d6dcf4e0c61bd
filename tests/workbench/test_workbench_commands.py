"""The commands as a stranger runs them: a generator and an extractor of one's own, in a scratch folder."""

import csv
import json
import os
import subprocess
import sys
from dataclasses import replace
from unittest.mock import Mock

import numpy as np
import pytest
from PIL import Image
from scratch_commands import SCRATCH, genmend

from genmend.activations import load_correction
from genmend.gans.correctors.correct import correction_digest
from genmend.workbench.cli import main

OPTIONS = ["--latent-shape", "12", "--extractor", "scratch:extractor", "--n-statistics", "400", "--n-reference", "300"]


LONG = "{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000, 12)}"  # 48 terabytes


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scratch")
    (folder / "scratch.py").write_text(SCRATCH)
    latents = np.random.default_rng(0).standard_normal((70, 12)).astype(np.float32)
    latents[:5] *= 4  # off the prior: what a detector has to find
    np.save(folder / "latents.npy", latents)
    np.save(folder / "wide.npy", np.zeros((3, 13), dtype=np.float32))
    holed = latents.copy()
    holed[7, 3] = np.nan
    np.save(folder / "nan.npy", holed)
    np.savez(folder / "zip.npz", latents)
    (folder / "zip.npz").rename(folder / "zip.npy")
    for name, header in (("open.npy", "(" * 200), ("long.npy", LONG)):
        start = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little")
        (folder / name).write_bytes(start + header.encode() + bytes(4096))
    np.save(folder / "words.npy", np.array([["a"] * 12] * 3))
    return folder


@pytest.fixture(scope="module")
def detected(folder):
    done = genmend(
        folder, "detect", "scratch:build", "--latents", "latents.npy", "--out", "found", *OPTIONS, "--json", "--check"
    )
    assert done.returncode == 1, done.stderr  # --check, and some are flagged
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def mended(folder):
    done = genmend(
        folder, "correct", "scratch:build", "--latents", "latents.npy", "--out", "mended", *OPTIONS, "--json"
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def rows_of(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_detect_scores_every_row_and_finds_what_is_off_the_prior(folder, detected):
    rows = rows_of(folder / "found" / "scores.csv")
    assert [int(row["index"]) for row in rows] == list(range(70))
    values = np.array(
        [[float(row[name]) for name in ("rare_activation", "distance_to_normal", "combined")] for row in rows]
    )
    assert np.isfinite(values).all()
    assert values[:5, 2].min() > np.median(values[5:, 2])
    threshold = json.loads((folder / "found" / "summary.json").read_text())["threshold"]
    assert [row["flagged"] == "1" for row in rows] == [float(row["combined"]) > threshold for row in rows]
    assert detected["n_flagged"] == sum(row["flagged"] == "1" for row in rows) >= 5
    manifold = rows_of(folder / "found" / "manifold.csv")
    assert all((row["rarity"] == "") == (row["inside"] == "0") for row in manifold)


def test_detect_repeats_itself_and_a_detector_file_gives_the_same_scores(folder, detected):
    first = (folder / "found" / "scores.csv").read_bytes()
    again = genmend(
        folder, "detect", "scratch:build", "--latents", "latents.npy", "--out", "again", *OPTIONS, "--no-resume"
    )
    assert again.returncode == 0, again.stderr
    assert again.stdout == ""
    assert (folder / "again" / "scores.csv").read_bytes() == first
    loaded = genmend(
        folder, "detect", "scratch:build", "--latents", "latents.npy", "--out", "loaded",
        "--detector", "found/detector.safetensors", "--latent-shape", "12", "--extractor", "scratch:extractor",
        "--threshold", "1e9", "--check",
    )  # fmt: skip
    assert loaded.returncode == 0, loaded.stderr  # nothing is above that threshold
    old, new = rows_of(folder / "found" / "scores.csv"), rows_of(folder / "loaded" / "scores.csv")
    assert [row["combined"] for row in old] == [row["combined"] for row in new]
    assert {row["flagged"] for row in new} == {"0"}


def test_correct_writes_pictures_and_leaves_ungated_rows_as_they_are(folder, mended):
    rows = rows_of(folder / "mended" / "corrections.csv")
    assert mended["n"] == len(rows) == 70
    for row in rows:
        before, after = (
            np.asarray(Image.open(folder / "mended" / name / f"{int(row['index']):05d}.png"))
            for name in ("before", "after")
        )
        assert before.shape == (32, 32, 3)
        if row["rung"] == "-1":
            assert (before == after).all()
    assert mended["n_changed"] + mended["n_given_up"] > 0
    assert mended["n_changed"] + mended["n_given_up"] < 70


def test_a_saved_correction_does_the_same_again(folder, mended):
    done = genmend(
        folder, "correct", "scratch:build", "--latents", "latents.npy", "--out", "reused", "--latent-shape", "12",
        "--correction", "mended/correction.safetensors", "--extractor", "scratch:extractor",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (folder / "reused" / "corrections.csv").read_bytes() == (folder / "mended" / "corrections.csv").read_bytes()
    for row in range(70):
        name = f"after/{row:05d}.png"
        assert (folder / "reused" / name).read_bytes() == (folder / "mended" / name).read_bytes()


def test_no_gate_takes_every_sample(folder, mended):
    done = genmend(
        folder, "correct", "scratch:build", "--latents", "latents.npy", "--out", "ungated", "--latent-shape", "12",
        "--correction", "mended/correction.safetensors", "--no-gate", "--extractor", "scratch:extractor", "--json",
    )  # fmt: skip
    result = json.loads(done.stdout)
    assert result["n_changed"] + result["n_given_up"] == 70


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["detect", "scratch:build", "--latents", "wide.npy", "--out", "x", *OPTIONS], "takes ['n', 12]"),
        (["detect", "scratch:build", "--latents", "nan.npy", "--out", "x", *OPTIONS], "Latent 7 holds NaN"),
        (["detect", "scratch:build", "--latents", "scratch.py", "--out", "x", *OPTIONS], "is no intact .npy file"),
        (["detect", "scratch:build", "--latents", "zip.npy", "--out", "x", *OPTIONS], "zip.npy is a zip archive"),
        (["detect", "scratch:build", "--latents", "open.npy", "--out", "x", *OPTIONS], "open.npy is no intact .npy"),
        (["detect", "scratch:build", "--latents", "long.npy", "--out", "x", *OPTIONS], "long.npy is cut off"),
        (["detect", "scratch:build", "--latents", "words.npy", "--out", "x", *OPTIONS], "words.npy holds <U1 values"),
        (["detect", "scratch:missing", "--latents", "latents.npy", "--out", "x", *OPTIONS], "has no 'missing'"),
        (["detect", "scratch:build", "--latents", "latents.npy", "--out", "x"], "give --latent-shape"),
        (["detect", "scratch:build", "--latents", "latents.npy", "--out", "x", *OPTIONS,
          "--layers", "blom"], "'bloom'"),
        (["correct", "scratch:build", "--latents", "latents.npy", "--out", "x", *OPTIONS,
          "--correction", "scratch.py"], "scratch.py"),
        (["correct", "scratch:other_weights", "--latents", "latents.npy", "--out", "x", *OPTIONS,
          "--correction", "mended/correction.safetensors"], "allow_other_weights"),
        (["detect", "faces", "--latents", "latents.npy", "--out", "x"], "genmend fetch faces"),
    ],
)  # fmt: skip
def test_bad_input_is_one_clear_sentence_and_leaves_nothing_behind(folder, mended, tmp_path, arguments, words):
    done = genmend(folder, *arguments, GENMEND_CACHE=str(tmp_path))
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    assert not (folder / "x").exists()


def test_what_an_error_leaves_in_out_is_said(tmp_path, monkeypatch, capsys):
    (tmp_path / "out" / "work").mkdir(parents=True)
    (tmp_path / "out" / "misfit.html").write_text("")
    fails = Mock(side_effect=ValueError("no"))  # raised in no code of the user's
    monkeypatch.setattr(sys, "argv", ["genmend", "detect", "--out", str(tmp_path / "out")])
    assert main._run(fails) == 2
    said = capsys.readouterr().err
    assert said.startswith("genmend: no\nLeft in ")
    assert "out: work (the same command goes on from it)." in said
    assert "out: misfit.html (it lists what does not fit)." in said
    for left in (tmp_path / "out" / "work", tmp_path / "out" / "misfit.html"):
        os.utime(left, (1, 1))  # of an earlier run
    monkeypatch.setattr(sys, "argv", ["genmend", "detect", f"--out={tmp_path / 'out'}"])
    assert main._run(fails) == 2
    assert "Left in" not in capsys.readouterr().err


def test_detect_and_correct_flag_the_same_samples(folder, detected, mended):
    """One story: the same score and threshold, whether the detector is fitted again or handed over."""
    table = np.genfromtxt(folder / "mended" / "corrections.csv", delimiter=",", names=True)
    scores = np.genfromtxt(folder / "found" / "scores.csv", delimiter=",", names=True)
    np.testing.assert_allclose(table["gate_before"], scores["combined"], rtol=1e-4, atol=1e-4)
    assert mended["n_flagged"]["before"] == detected["n_flagged"] > 0
    done = genmend(
        folder, "correct", "scratch:build", "--latents", "latents.npy", "--out", "handed", "--latent-shape", "12",
        "--detector", "found/detector.safetensors", "--gate-at", "1e9", "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    handed = json.loads(done.stdout)
    assert handed["n_flagged"]["before"] == handed["n_changed"] == 0  # none lies above that
    by_name = {row["name"]: row for row in handed["thresholds"]}
    assert by_name["default"]["flagged"] == detected["n_flagged"]  # what the other threshold would flag
    both = genmend(
        folder, "correct", "scratch:build", "--latents", "latents.npy", "--out", "x", *OPTIONS, "--gate-at", "1",
        "--no-gate",
    )  # fmt: skip
    assert both.returncode == 2
    assert "--gate-at" in both.stderr


def test_a_healthy_model_gives_no_sign_of_broken_samples(folder, detected):
    """Random weights: the share flagged is a setting then, and the page says so."""
    assert not detected["evidence"]["heavier_than_chance"]
    assert "No sign of broken samples" in (folder / "found" / "report.html").read_text()
    done = genmend(
        folder, "detect", "scratch:build", "--latents", "latents.npy", "--out", "set", *OPTIONS, "--flagged-share",
        "0.05",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "is a setting, not a finding" in (folder / "set" / "report.html").read_text()


@pytest.mark.all
def test_an_interrupted_run_goes_on_and_gives_the_same_result(folder, detected, tmp_path):
    script = (
        "import sys, signal; sys.path.insert(0, '')\n"
        "import genmend.gans.detection.artifact_detector as d, genmend.workbench.cli.main as c\n"
        "def interrupted(self, *a, **k):\n"
        "    raise KeyboardInterrupt\n"  # once the detector is fitted, which measures no other samples
        "d.ArtifactDetector.measure = interrupted\n"
        "c.main()\n"
    )
    arguments = ["detect", "scratch:build", "--latents", "latents.npy", "--out", "stopped", *OPTIONS]
    path = os.pathsep.join([os.getcwd(), os.environ.get("PYTHONPATH", "")])
    stopped = subprocess.run(
        [sys.executable, "-c", script, *arguments], cwd=folder, capture_output=True, text=True,
        env=os.environ | {"PYTHONPATH": path},
    )  # fmt: skip
    assert stopped.returncode == 130, stopped.stderr
    assert "go on from here" in stopped.stderr
    assert not (folder / "stopped" / "scores.csv").exists()
    kept = list((folder / "stopped" / "work").glob("detector-*.safetensors"))
    assert len(kept) == 1
    stamp = kept[0].stat().st_mtime_ns
    done = genmend(folder, *arguments)
    assert done.returncode == 0, done.stderr
    assert kept[0].stat().st_mtime_ns == stamp  # not fitted again
    assert (folder / "stopped" / "scores.csv").read_bytes() == (folder / "found" / "scores.csv").read_bytes()


def test_help_and_usage_errors(folder):
    for command in ("--help", "doctor", "fetch", "demo", "detect", "correct"):
        done = genmend(folder, *dict.fromkeys([command, "--help"]))
        assert done.returncode == 0
        assert "Usage" in done.stdout
    done = genmend(folder, "detect", "faces")
    assert done.returncode == 2
    assert "--out" in done.stderr


def test_a_correction_with_other_neurons_of_equal_number_is_another_one(folder, mended):
    made = load_correction(folder / "mended" / "correction.safetensors")
    edit = made.ladder[0][-1]
    turned = replace(edit, mask=edit.mask.flatten().roll(1).view(edit.mask.shape))
    assert turned.mask.sum() == edit.mask.sum()
    assert correction_digest(made) == correction_digest(replace(made))
    other = replace(made, ladder=((*made.ladder[0][:-1], turned), *made.ladder[1:]))
    assert correction_digest(other) != correction_digest(made)
