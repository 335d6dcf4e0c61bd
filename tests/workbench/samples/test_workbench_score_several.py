"""``genmend score`` of several sets as the evaluator of three checkpoints types it, and each class apart."""

import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import scratch_commands

pytest.importorskip("jinja2")
pytest.importorskip("matplotlib")
from test_workbench_report import Page
from test_workbench_score import IMAGES, SCRATCH, write_images

from genmend.workbench.commands.compare import set_names

FEW = ("--metrics", "precision,recall,coverage,realism", "--bootstrap", "12")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder, rng = tmp_path_factory.mktemp("several"), np.random.default_rng(0)
    (folder / "scratch.py").write_text(SCRATCH)
    np.save(folder / "real.npy", rng.normal(size=(120, 4)))
    for name, spread, n in (("good", 1, 120), ("also", 1, 120), ("narrow", 0.3, 120), ("few", 1, 40)):
        np.save(folder / f"{name}.npy", spread * rng.normal(size=(n, 4)))
    for step, spread in (("step-1", 40), ("step-2", 70)):
        (folder / step).mkdir()
        write_images(folder / step / "images", rng, spread)
    write_images(folder / "photographs", rng, 40)
    for name in ("classes", "painted"):
        (folder / name).mkdir()
        for label, n in (("cat", 6), ("dog", 6), ("eel", 2)):
            write_images(folder / name / label, rng, 40, n)
    shutil.rmtree(folder / "painted" / "eel")
    return folder


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("GENMEND_CACHE", str(tmp_path / "cache"))


def genmend(folder, *arguments):
    return scratch_commands.genmend(folder, "score", *arguments)


@pytest.fixture(scope="module")
def compared(folder):
    done = genmend(
        folder, "real.npy", "good.npy", "also.npy", "narrow.npy", "--out", "night", "--k", "3", *FEW, "--json"
    )
    assert done.returncode == 0, done.stderr
    return SimpleNamespace(json=json.loads(done.stdout), out=folder / "night", said=done.stderr)


def test_the_summary_has_every_set_the_differences_and_the_ranks_under_stable_keys(compared):
    result = compared.json
    assert result == json.loads((compared.out / "summary.json").read_text())
    assert set(result) == {
        "n_models", "reference", "models", "differences", "difference_method", "ranks", "not_ranked",
        "worse_than_first", "warnings", "settings", "engine",
    }  # fmt: skip
    assert list(result["models"]) == ["good", "also", "narrow"]
    ranks = result["ranks"]["3"]
    assert ranks["recall"]["narrow"] == {"rank": 3, "tied_with": []}
    assert ranks["recall"]["good"] == {"rank": 1, "tied_with": ["also"]}
    assert "With k = 3, the best precision: " in compared.said
    assert "recall: good and also (a tie)" in compared.said
    assert {one["metric"] for one in result["worse_than_first"]} >= {"recall"}
    assert result["settings"]["bootstrap"] == 12
    rows = (compared.out / "differences.csv").read_text().splitlines()
    assert rows[0] == "index,k,metric,first,second,value,low,high,better"
    assert len(rows) == 1 + len(result["differences"])


def test_each_set_has_the_files_of_a_score_of_its_own(folder, compared):
    alone = genmend(folder, "real.npy", "also.npy", "--out", "alone", "--k", "3", *FEW, "--json")
    whole = json.loads(alone.stdout)
    assert json.loads((compared.out / "also" / "summary.json").read_text()) == whole
    model = compared.json["models"]["also"]
    assert model["k"] == whole["k"]
    assert model["intervals"] == whole["intervals"]
    assert model["source"] == whole["sources"]["query"]
    assert (compared.out / "also" / "report.html").exists()
    with np.load(compared.out / "also" / "per_sample.npz") as found:
        assert len(found["k3_inside"]) == 120


def test_check_is_for_the_night_watch(folder):
    arguments = ("--out", "watch", "--k", "3", *FEW, "--check")
    done = genmend(folder, "real.npy", "good.npy", "also.npy", "narrow.npy", *arguments)
    assert done.returncode == 1
    assert "Worse than good: narrow in recall, k = 3, by 0." in done.stderr
    assert (folder / "watch" / "report.html").exists()
    done = genmend(folder, "real.npy", "good.npy", "also.npy", *arguments)
    assert done.returncode == 0, done.stderr
    assert "a tie" in done.stderr or "all tie" in done.stderr
    for given, words in (((), "give two or more"), (("also.npy", "--bootstrap", "0"), "nothing that can be ranked")):
        done = genmend(folder, "real.npy", "good.npy", *given, *(arguments if not given else arguments[:4]), "--check",
                       *given[1:])  # fmt: skip
        assert done.returncode == 2
        assert words in done.stderr


def test_the_page_shows_the_sets_side_by_side(folder):
    done = genmend(
        folder, "photographs", "step-1/images", "step-2/images", "--out", "seen", *IMAGES, "--bootstrap", "6"
    )
    assert done.returncode == 0, done.stderr
    page = Page((folder / "seen" / "report.html").read_text(encoding="utf-8"))
    assert "step-1 and step-2 against photographs" in page.text
    assert "The first samples of each, as they were given." in page.text
    assert "Reference samples that no sample of the set is near" in page.text
    assert len(page.all("img")) > 20
    for name in ("precision", "recall", "coverage"):
        assert name in page.text
    assert (folder / "seen" / "step-2" / "per_sample.npz").exists()


def test_sets_of_two_sizes(folder):
    arguments = ("real.npy", "good.npy", "few.npy", "--k", "3", *FEW, "--json")
    uneven = json.loads(genmend(folder, *arguments, "--out", "uneven").stdout)
    assert set(uneven["ranks"]["3"]) == {"precision", "realism_median", "realism_share"}
    assert any("few has 40 samples and good 120" in note for note in uneven["warnings"])
    even = json.loads(genmend(folder, *arguments, "--out", "even", "--equal-sizes").stdout)
    assert {"recall", "coverage"} <= set(even["ranks"]["3"])
    assert [model["n_query"] for model in even["models"].values()] == [40, 40]
    assert any("40 of the 120 samples of the query were used, drawn at random" in note for note in even["warnings"])
    with np.load(folder / "even" / "good" / "per_sample.npz") as found:
        assert len(found["query_names"]) == 40


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("real.npy", "good.npy", "./good.npy"), "good.npy is given twice: give each set once"),
        (("real.npy", "good.npy", "real.npy"), "real.npy is the reference and stands among the sets, too"),
        (("real.npy", "good.npy", "nowhere.npy"), "There is no nowhere.npy"),
        (("real.npy", "good.npy", "also.npy", "--by-folder"), "lie in no subfolders"),
    ],
)
def test_bad_input_is_one_sentence_and_leaves_nothing(folder, arguments, words):
    done = genmend(folder, *arguments, "--out", "bad", *FEW)
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert not (folder / "bad").exists()


def test_each_class_apart(folder):
    options = (*IMAGES, "--metrics", "precision,recall", "--by-folder", "--json")
    done = genmend(folder, "classes", "painted", "--out", "apart", *options)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert list(result["classes"]) == ["cat", "dog"]
    assert result["classes"]["cat"]["n_query"] == 6
    assert result["classes_left_out"] == {
        "eel": "2 reference and 0 query samples, of which 3 each are needed for k = 2"
    }
    assert any("1 classes have too few samples to be told alone: eel" in note for note in result["warnings"])
    page = Page((folder / "apart" / "report.html").read_text(encoding="utf-8"))
    assert "class by class" in page.text
    assert "2 reference and 0 query samples" in page.text
    shutil.copytree(folder / "painted", folder / "again", dirs_exist_ok=True)
    done = genmend(folder, "classes", "painted", "again", "--out", "both", *options, "--bootstrap", "4")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert list(result["models"]["again"]["classes"]) == ["cat", "dog"]
    assert "painted and again hold the same samples" in result["warnings"]


def test_names_are_what_is_not_the_same_in_all():
    def named(*paths):
        return set_names(list(map(__import__("pathlib").Path, paths)))

    assert named("step-1/images", "step-2/images") == ["step-1", "step-2"]
    assert named("/runs/ema", "/runs/raw") == ["ema", "raw"]
    assert named("a", "a/b") == ["a", "a-b"]
    assert named("x/a", "y/a", "y/b") == ["x-a", "y-a", "y-b"]
