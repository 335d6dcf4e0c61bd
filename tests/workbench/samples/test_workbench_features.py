"""``genmend features`` as a stranger runs it: a reference that is kept, and scores that are those of its folder."""

import json

import numpy as np
import pytest
import scratch_commands

pytest.importorskip("jinja2")
pytest.importorskip("matplotlib")
from test_workbench_score import IMAGES, SCRATCH, write_images

OWN = IMAGES[:2]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder, rng = tmp_path_factory.mktemp("kept"), np.random.default_rng(0)
    (folder / "scratch.py").write_text(
        SCRATCH + "\n\ndef others():\n    return lambda images: functional.adaptive_avg_pool2d(images, 2).flatten(1)\n"
    )
    write_images(folder / "real", rng, 40)
    write_images(folder / "made", rng, 70)
    return folder


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("GENMEND_CACHE", str(tmp_path / "cache"))


def run(folder, *arguments):
    return scratch_commands.genmend(folder, *arguments)


def test_a_kept_reference_scores_as_its_folder_does_with_its_own_extractor(folder):
    done = run(folder, "features", "real", "--out", "refs/ref.safetensors", *OWN, "--json")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert (said["n"], said["d"], said["k"], said["kind"]) == (14, 12, list(range(1, 11)), "images")
    assert "14 samples, 12 features by coarse pixels, radii of k = 1 to 10: refs/ref.safetensors" in done.stderr
    plain = run(folder, "score", "real", "made", "--out", "plain", *IMAGES, "--json")
    kept = run(folder, "score", "refs/ref.safetensors", "made", "--out", "kept", *IMAGES, "--json")
    assert kept.returncode == plain.returncode == 0, kept.stderr
    plain, kept = json.loads(plain.stdout), json.loads(kept.stdout)
    assert kept["k"] == plain["k"]
    assert kept["warnings"] == plain["warnings"]
    assert kept["sources"]["reference"] == plain["sources"]["reference"] | {"source": "refs/ref.safetensors"}
    pages = [(folder / name / "report.html").read_text(encoding="utf-8") for name in ("plain", "kept")]
    assert pages[0].count("<img") == pages[1].count("<img")  # the pictures are found again where they were
    other = run(folder, "score", "refs/ref.safetensors", "made", "--out", "no", "--extractor", "scratch:others")
    assert other.returncode == 2
    assert "The reference has features of coarse pixels and the query of scratch:others, two pipelines" in other.stderr
    assert not (folder / "no").exists()
    both = run(folder, "features", "made", "--out", "made.safetensors", *OWN)
    assert both.returncode == 0, both.stderr
    again = run(folder, "score", "refs/ref.safetensors", "made.safetensors", "--out", "both", "--k", "2", "--json")
    assert json.loads(again.stdout)["k"] == plain["k"]


def test_without_the_folder_there_are_names_and_no_pictures(folder, tmp_path):
    write_images(folder / "gone", np.random.default_rng(0), 40)
    done = run(folder, "features", "gone", "--out", "gone.safetensors", *OWN, "--k", "2", "--limit", "9")
    assert "9 of 14 samples were drawn at random" in done.stderr
    (folder / "gone").rename(tmp_path / "moved")
    done = run(folder, "score", "gone.safetensors", "made", "--out", "unseen", *IMAGES, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["sources"]["reference"]["drawn"]["n_given"] == 14
    with np.load(folder / "unseen" / "per_sample.npz") as found:
        assert all(name.endswith(".png") for name in found["reference_names"])


def test_the_extractor_of_the_file_is_taken_where_it_is_one_of_ours_or_was_named(folder):
    run(folder, "features", "real", "--out", "theirs.safetensors", "--extractor", "scratch:others")
    done = run(folder, "score", "theirs.safetensors", "made", "--out", "same", "--k", "2", "--json")
    assert done.returncode == 0, done.stderr  # named in this process by the line above
    assert json.loads(done.stdout)["sources"]["query"]["pipeline"] == {"extractor": "scratch:others"}
    from genmend.manifold.features.extractors import loading

    loading._own.pop("scratch:others")
    done = run(folder, "score", "theirs.safetensors", "made", "--out", "strange", "--k", "2")
    assert done.returncode == 2
    assert "theirs.safetensors has features by 'scratch:others', which is none of ours" in done.stderr
    assert "--extractor" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("real", "--out", "ref.npz"), "--out is ref.npz; give a file that ends in .safetensors"),
        (("real", "--out", "made"), "e.g. --out made.safetensors"),
        (("nowhere", "--out", "x.safetensors"), "There is no nowhere; give"),
        (("real", "--out", "x.safetensors", "--k", "0"), "--k"),
    ],
)
def test_bad_input_is_one_sentence_and_leaves_nothing(folder, arguments, words):
    done = run(folder, "features", *arguments, *OWN)
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert not (folder / "x.safetensors").exists()


def test_a_cut_file_is_one_sentence(folder):
    run(folder, "features", "real", "--out", "cut.safetensors", *OWN)
    whole = (folder / "cut.safetensors").read_bytes()
    (folder / "cut.safetensors").write_bytes(whole[: len(whole) // 2])
    done = run(folder, "score", "cut.safetensors", "made", "--out", "no", *IMAGES)
    assert done.returncode == 2
    assert "cut.safetensors is no intact safetensors file" in done.stderr
    assert "Traceback" not in done.stderr
