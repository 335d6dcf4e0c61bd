"""genmend rare on a generator of one's own: files, what they say, resuming, refusals."""

import csv
import io
import json
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from PIL import Image
from scratch_commands import SCRATCH, genmend

from genmend.gans import Generator
from genmend.gans.rare import load_density
from genmend.manifold.figures.image_grid import to_pixels
from genmend.workbench.pages.pictures import gallery, write_images

OPTIONS = [
    "--latent-shape", "12", "--extractor", "scratch:network", "--n-statistics", "200", "--n-reference", "160",
    "--n-versions", "2", "--search-steps", "4", "--k-reference", "20",
]  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rare")
    (folder / "scratch.py").write_text(SCRATCH)
    latents = np.random.default_rng(0).standard_normal((3, 12)).astype(np.float32)
    np.save(folder / "latents.npy", latents)
    return folder


def rare(folder, out, *arguments):
    return genmend(folder, "rare", "scratch:build", "--out", out, *OPTIONS, *arguments)


@pytest.fixture(scope="module")
def found(folder):
    done = rare(folder, "found", "--latents", "latents.npy", "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def rows_of(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_everything_is_written_and_says_the_same(folder, found):
    out = folder / "found"
    assert found == json.loads((out / "summary.json").read_text())
    rows = rows_of(out / "rare.csv")
    assert [(row["reference"], row["version"]) for row in rows] == [
        (str(r), str(v)) for r in range(3) for v in range(2)
    ]
    kept = [row for row in rows if row["found"] == "1"]
    assert len(kept) == found["n_found"] == 6 - found["n_given_up"] > 0
    assert len(np.load(out / "latents.npy")) == len(kept)
    percentiles = [float(row["rarity_percentile"]) for row in kept]
    assert found["rarity_percentile_mean"] == pytest.approx(np.mean(percentiles))
    for row in rows:
        picture = out / "images" / f"reference_{int(row['reference']):03d}_rare_{row['version']}.png"
        assert picture.is_file() == (row["found"] == "1")
        if row["found"] == "1":
            assert Image.open(picture).size == (32, 32)
            assert row["inside"] == "1"
            assert float(row["artifact_score"]) <= found["max_artifact_score"]
            assert float(row["distance"]) <= float(row["distance_limit"])
        else:
            assert row["log_prob"] == ""
    with np.load(out / "rare.npz") as arrays:
        assert np.array_equal(arrays["reference_latents"], np.load(folder / "latents.npy"))
    assert load_density(out / "density.safetensors").n_dims_ > 0
    assert "below the artifact limit" in (out / "report.html").read_text()


def test_what_is_kept_of_a_run_is_not_computed_again(folder, found, monkeypatch):
    refuse = Mock(side_effect=AssertionError("a finished piece was computed again"))
    monkeypatch.setattr("genmend.gans.rare.find.rare_samples", refuse)
    monkeypatch.setattr("gans.ArtifactDetector.fit", refuse)
    before = (folder / "found" / "rare.csv").read_bytes()
    again = rare(folder, "found", "--latents", "latents.npy", "--json")
    assert json.loads(again.stdout) == found
    assert (folder / "found" / "rare.csv").read_bytes() == before
    with pytest.raises(AssertionError, match="computed again"):
        rare(folder, "found", "--latents", "latents.npy", "--no-resume")


def test_no_resume_gives_the_same_again(folder, found):
    again = rare(folder, "again", "--latents", "latents.npy", "--json", "--no-resume")
    assert json.loads(again.stdout) == found
    assert (folder / "again" / "rare.csv").read_bytes() == (folder / "found" / "rare.csv").read_bytes()


def test_without_latents_references_are_drawn_by_the_seed(folder):
    drawn = []
    for seed in ("7", "8"):
        done = rare(folder, f"seed-{seed}", "--n-references", "2", "--search-steps", "0", "--seed", seed)
        assert done.returncode == 0, done.stderr
        drawn.append(np.load(folder / f"seed-{seed}" / "rare.npz")["reference_latents"])
    assert drawn[0].shape == drawn[1].shape == (2, 12)
    assert not np.array_equal(*drawn)


def test_where_no_neuron_is_rare_it_says_what_to_do_and_that_works(folder):
    plain = ["--latents", "latents.npy", "--layers", "wake"]  # a leaky activation of normal numbers: half are positive
    done = rare(folder, "plain", *plain)
    assert done.returncode == 2
    assert "0 of 160 have such (no neuron of the inspected layers is rarely active), 5 are needed" in done.stderr
    assert "--no-artifact-limit" in done.stderr
    assert not (folder / "plain" / "summary.json").exists()
    done = rare(folder, "plain", *plain, "--no-artifact-limit", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["max_artifact_score"] is None
    assert "no artifact limit to keep, as asked for" in (folder / "plain" / "report.html").read_text()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--n-reference", "60"], " of 60 have such, 5 are needed: give more own samples (--n-reference"),
        (["--n-reference", "20"], "give more samples (--n-reference)"),
        (["--k-reference", "161"], "give a number in 1..160, or generate more of them (--n-reference)"),
        (["--density", "kde"], "density is 'kde'; give one of gmm, flow"),
        (["--max-artifact-score", "nan"], "give a finite number of log-odds"),
        (["--max-artifact-score", "1", "--no-artifact-limit"], "leave out one of the two"),
        (["--latents", "scratch.py"], "is no intact .npy file"),
    ],
)
def test_errors_say_what_to_do(folder, found, arguments, words):
    done = rare(folder, "bad", "--n-references", "2", *arguments)
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert not (folder / "bad" / "summary.json").exists()


def test_large_images_are_written_whole_and_shown_small(tmp_path):
    generator = Generator(
        torch.nn.Sequential(torch.nn.Unflatten(1, (3, 2, 2)), torch.nn.ReLU(), torch.nn.Upsample((300, 600))).eval(),
        (12,),
    )
    latents = generator.latents(3, 0)
    shown = write_images(tmp_path, ["a.png", "b.png", "c.png"], generator, latents.numpy())
    assert shown.shape == (3, 3, 128, 256)
    for name, image in zip("abc", generator.generate(latents), strict=True):
        assert np.array_equal(np.asarray(Image.open(tmp_path / f"{name}.png")), to_pixels(image[None])[0])
    assert Image.open(io.BytesIO(gallery(generator.generate(latents)))).width < 3 * 300
