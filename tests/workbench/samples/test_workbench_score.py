"""``genmend score`` as a stranger runs it: arrays, folders of images and of sounds, and what is wrong with them."""

import io
import json
import sys
import wave
from base64 import b64decode
from types import SimpleNamespace

import numpy as np
import pytest
import scratch_commands
from PIL import Image

pytest.importorskip("jinja2")
pytest.importorskip("matplotlib")
from test_workbench_report import Page

from genmend import manifold
from genmend.manifold.engine.screens import choose_engine
from genmend.manifold.metrics.meanings import MEANINGS, meaning_of

SCRATCH = '''
from pathlib import Path

import numpy as np
from torch.nn import functional


class Pixels:
    """Coarse pixels; says what makes its features, so that they are cached."""

    def pipeline(self):
        return {"extractor": "coarse pixels", "side": 2}

    def __call__(self, images):
        with Path("calls.txt").open("a") as file:
            print(len(images), file=file)
        return functional.adaptive_avg_pool2d(images, 2).flatten(1)


def images():
    return Pixels()


def sounds():
    return lambda wave: np.abs(np.fft.rfft(wave[:64]))[:6].astype(np.float32)
'''
IMAGES = ("--extractor", "scratch:images", "--k", "2")
QUICK = (*IMAGES, "--metrics", "precision")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder, rng = tmp_path_factory.mktemp("scores"), np.random.default_rng(0)
    (folder / "scratch.py").write_text(SCRATCH)
    np.save(folder / "x.npy", rng.normal(size=(60, 4)))
    np.save(folder / "y.npy", rng.normal(size=(50, 4)) * 1.3)
    np.savez(folder / "y.npz", features=np.load(folder / "y.npy"))
    np.save(folder / "wide.npy", rng.normal(size=(60, 5)))
    np.save(folder / "few.npy", rng.normal(size=(3, 4)))
    np.save(folder / "nan.npy", np.full((60, 4), np.nan))
    (folder / "empty").mkdir()
    for name, spread in (("real", 40), ("made", 70), ("torn", 40)):
        write_images(folder / name, rng, spread)
    torn = folder / "torn" / "05.png"
    torn.write_bytes(torn.read_bytes()[:60])
    return folder


def write_images(folder, rng, spread, n=14):
    folder.mkdir()
    for row in range(n):
        pixels = np.clip(rng.normal(128, spread, size=(3,)) + rng.normal(0, 8, size=(12, 10, 3)), 0, 255)
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{row:02d}.png")


def write_sounds(folder, rng, n=8, rate=8000):
    folder.mkdir()
    for row in range(n):
        with wave.open(str(folder / f"{row}.wav"), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(rate)
            file.writeframes(rng.integers(-9000, 9000, 6 * rate, dtype=np.int16).tobytes())


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("GENMEND_CACHE", str(tmp_path / "cache"))


def genmend(folder, *arguments):
    return scratch_commands.genmend(folder, "score", *arguments)


def page_of(folder):
    return Page((folder / "report.html").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def arrays(folder):
    done = genmend(folder, "x.npy", "y.npy", "--out", "arrays", "--k", "1,3", "--json", "--bootstrap", "20")
    assert done.returncode == 0, done.stderr
    return SimpleNamespace(json=json.loads(done.stdout), out=folder / "arrays", stderr=done.stderr)


def test_totals_are_those_of_the_library_under_their_names(folder, arrays):
    assert arrays.json == json.loads((arrays.out / "summary.json").read_text())
    x, y = np.load(folder / "x.npy"), np.load(folder / "y.npy")
    for k, totals in arrays.json["k"].items():
        for name in ("precision", "recall", "density", "coverage"):
            assert totals[name] == pytest.approx(getattr(manifold, name)(x, y, int(k)), abs=1e-12)
            low, high = arrays.json["intervals"][k][name]
            assert low <= high
        rarity = manifold.Manifold(int(k)).fit(x).rarity(y)
        assert totals["rarity_mean"] == pytest.approx(np.nanmean(rarity), rel=1e-12)
    assert set(arrays.json["k"]) == {"1", "3"}
    assert (arrays.json["n_reference"], arrays.json["n_query"]) == (60, 50)
    assert any("50 query samples" in warning for warning in arrays.json["warnings"])
    assert arrays.json["sources"]["query"]["kind"] == "array"
    assert arrays.json["settings"]["k"] == [1, 3]
    assert arrays.json["engine"] == choose_engine()._asdict()
    assert "report.html" in arrays.stderr


def test_per_sample_arrays_carry_names_and_need_no_pickle(folder, arrays):
    with np.load(arrays.out / "per_sample.npz", allow_pickle=False) as found:
        assert found["query_names"].tolist() == [str(row) for row in range(50)]
        assert found["reference_names"].shape == (60,)
        inside = manifold.Manifold(3).fit(np.load(folder / "x.npy")).contains(np.load(folder / "y.npy"))
        np.testing.assert_array_equal(found["k3_inside"], inside)
        assert len(found["k1_rarity"]) == 50
        assert len(found["k1_covered"]) == 60


def test_the_page_explains_every_metric_and_needs_nothing_else(arrays):
    page = page_of(arrays.out)
    for name in arrays.json["k"]["3"]:
        assert name in page.text
        assert meaning_of(name).words in page.text
        assert name in MEANINGS
    for name in arrays.json:
        assert name not in MEANINGS or meaning_of(name).words in page.text
    assert f"[{arrays.json['intervals']['3']['precision'][0]:.3f}" in page.text
    assert f"{arrays.json['k']['3']['expected_coverage']:.3f}" in page.text  # no interval, but as the others look
    assert all(image["src"].startswith("data:image/png;base64,") for image in page.all("img"))
    assert not {tag for tag, _ in page.tags} & {"link", "iframe"}
    assert all(warning in page.text for warning in arrays.json["warnings"])


def test_the_same_features_in_another_file_and_another_run_give_the_same(folder, arrays):
    again = genmend(folder, "x.npy", "y.npz", "--out", "again", "--k", "1,3", "--json", "--bootstrap", "20")
    result = json.loads(again.stdout)
    assert result["k"] == arrays.json["k"]
    assert result["intervals"] == arrays.json["intervals"]
    first, second = ((place / "per_sample.npz").read_bytes() for place in (arrays.out, folder / "again"))
    assert first == second
    other = genmend(
        folder, "x.npy", "y.npy", "--out", "seed", "--k", "1,3", "--json", "--bootstrap", "20", "--seed", "1"
    )
    assert json.loads(other.stdout)["intervals"] != arrays.json["intervals"]


def test_options_reach_the_metrics(folder):
    done = genmend(
        folder, "x.npy", "x.npy", "--out", "open", "--k", "1", "--json", "--open-balls", "--metrics",
        "precision,coverage", "--limit", "20",
    )  # fmt: skip
    result = json.loads(done.stdout)
    assert result["closed"] is False
    assert result["n_query"] == 20
    assert result["k"]["1"]["precision"] == 1  # the centre of an open ball is inside
    assert "density" not in result["k"]["1"]
    assert "density" not in page_of(folder / "open").text.lower().split()


@pytest.fixture(scope="module")
def seen(folder):
    """What a score of images says, and its page."""
    done = genmend(folder, "real", "made", "--out", "seen", *IMAGES, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), page_of(folder / "seen")


def test_images_come_with_galleries_and_their_whole_pipeline(folder, seen):
    result, page = seen
    for source in result["sources"].values():
        assert source["kind"] == "images"
        assert source["pipeline"]["extractor"] == "coarse pixels"
    assert "coarse pixels" in page.text
    with np.load(folder / "seen" / "per_sample.npz") as found:
        assert found["query_names"].tolist() == [f"{row:02d}.png" for row in range(14)]
        shown = [bool((~found["k2_inside"]).any()), bool(found["k2_inside"].any()), bool((~found["k2_covered"]).any())]
    captions = page.text
    assert ("Off the manifold, farthest first." in captions) == shown[0]
    assert ("The rarest on the manifold." in captions) == shown[1]
    assert ("no query near." in captions) == shown[2]
    for image in page.all("img"):
        Image.open(io.BytesIO(b64decode(image["src"].partition(",")[2]))).load()


def test_a_resumed_run_takes_the_features_that_were_kept(folder, tmp_path):
    n_computed, results, calls = [], [], folder / "calls.txt"
    calls.write_text("")
    for options in ((), (), ("--no-resume",)):
        done = genmend(folder, "real", "made", "--out", tmp_path / "out", *QUICK, "--json", *options)
        results.append(json.loads(done.stdout)["k"])
        n_computed.append(sum(map(int, calls.read_text().split())))
        calls.write_text("")
    assert n_computed == [28, 0, 28]
    assert results[0] == results[1] == results[2]


def test_a_corrupt_image_is_named_or_left_out_and_counted(folder):
    done = genmend(folder, "real", "torn", "--out", "no", *QUICK)
    assert done.returncode == 2
    assert "05.png" in done.stderr
    assert "6 of 14 samples were looked at" in done.stderr
    assert "--on-error skip" in done.stderr
    assert not (folder / "no").exists()
    done = genmend(folder, "real", "torn", "--out", "left", *QUICK, "--on-error", "skip", "--json")
    result = json.loads(done.stdout)
    assert result["n_query"] == 13
    assert [entry[0] for entry in result["sources"]["query"]["skipped"]] == ["05.png"]
    assert any("1 of the 14 files of the query were left out" in warning for warning in result["warnings"])
    assert "05.png" in page_of(folder / "left").text
    assert "1 of the 14 files of the query were left out" in done.stderr


def test_sounds_come_with_players(folder):
    pytest.importorskip("soundfile")
    rng = np.random.default_rng(1)
    for name in ("voices", "spoken"):
        write_sounds(folder / name, rng)
    done = genmend(folder, "voices", "spoken", "--out", "heard", "--extractor", "scratch:sounds", "--k", "1", "--json")
    assert done.returncode == 0, done.stderr
    players = page_of(folder / "heard").all("audio")
    assert 0 < len(players) <= 12
    for player in players:
        with wave.open(io.BytesIO(b64decode(player["src"].removeprefix("data:audio/wav;base64,")))) as sound:
            assert (sound.getframerate(), sound.getnframes()) == (8000, 4 * 8000)
    mixed = genmend(folder, "real", "voices", "--out", "mixed", *IMAGES)
    assert mixed.returncode == 2
    assert "real holds images and voices holds audio; give two sets of one kind" in mixed.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("nowhere", "y.npy"), "There is no nowhere; give"),
        (("x.npy", "nowhere.npy"), "There is no nowhere.npy; give"),
        (("empty", "y.npy"), "empty holds no images"),
        (("x.npy", "wide.npy"), "query has 5 features, but the reference has 4"),
        (("x.npy", "few.npy"), "at least k+1 samples, got 3"),
        (("x.npy", "nan.npy"), "row 0"),
        (("x.npy", "scratch.py"), "scratch.py"),
        (("x.npy", "y.npy", "--k", "three"), "--k is 'three'; give whole numbers"),
        (("x.npy", "y.npy", "--k", "0"), "k is 0"),
        (("x.npy", "y.npy", "--metrics", "precison"), "precison"),
        (("real", "made", "--on-error", "ignore"), "'raise', 'skip' and 'report'"),
        (("real", "made", "--extractor", "nonsense"), "No extractor is called 'nonsense'"),
    ],
)
def test_bad_input_is_one_clear_sentence_and_leaves_nothing_behind(folder, arguments, words):
    done = genmend(folder, *arguments, "--out", "bad")
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    assert not (folder / "bad").exists()


def test_a_file_in_the_place_of_out_is_refused_before_anything_is_computed(folder):
    calls = folder / "calls.txt"
    calls.write_text("")
    done = genmend(folder, "real", "made", "--out", "x.npy", *IMAGES, "--no-resume")
    assert done.returncode == 2
    assert "--out is x.npy, which is a file; give a folder" in done.stderr
    assert calls.read_text() == ""


@pytest.mark.parametrize("package", ["jinja2", "matplotlib"])
def test_a_package_that_the_page_needs_is_missed_before_anything_is_computed(folder, monkeypatch, package):
    calls = folder / "calls.txt"
    calls.write_text("")
    monkeypatch.setitem(sys.modules, package, None)
    done = genmend(folder, "real", "made", "--out", "poor", *IMAGES, "--no-resume")
    assert done.returncode == 2
    remedy = "run `pip install 'genmend[report]'`."
    assert done.stderr == f"genmend: Reports need {package}, which is not installed: {remedy}\n"
    assert calls.read_text() == ""
    assert not (folder / "poor").exists()


def test_the_numbers_are_told_on_stderr_and_only_json_goes_to_stdout(folder):
    silent = genmend(folder, "x.npy", "y.npy", "--out", "told", "--k", "3")
    assert silent.stdout == ""
    assert "50 query and 60 reference samples, 4 features. With k = 3: " in silent.stderr
    precision = json.loads((folder / "told" / "summary.json").read_text())["k"]["3"]["precision"]
    assert f"{precision:.1%} of the query lie on the manifold of the reference (precision)" in silent.stderr
    as_json = genmend(folder, "x.npy", "y.npy", "--out", "told", "--k", "3", "--json")
    assert json.loads(as_json.stdout) == json.loads((folder / "told" / "summary.json").read_text())


def test_each_share_stands_beside_that_of_two_sets_alike(folder, arrays):
    at = arrays.json["k"]["1"]
    x = np.load(folder / "x.npy")
    own = manifold.Manifold(1).fit(x).contains(leave_one_out=True).mean()
    assert at["expected_precision"] == pytest.approx(own)
    page = page_of(arrays.out)
    assert f"reference (precision), where alike sets have {own:.1%}" in page.text
    assert f"(coverage), where alike sets have {at['expected_coverage']:.1%}" in page.text
    assert "alike sets have" not in page.text.partition("(recall)")[2].partition(";")[0]  # of sets of two sizes
    assert arrays.json["interval_method"] in page.text
    # The first screen: the sentence, the precision beside its yardstick, the plane; all else is folded.
    assert page.text.index(f"sets that are alike: {own:.1%}") < page.text.index("Fidelity to the right")
    assert len(page.all("details")) == len(page.all("section"))


def test_a_limit_draws_and_says_so(folder, tmp_path):
    for label in "abc":
        write_images(folder / f"classes-{label}", np.random.default_rng(3), 40, n=6)
        (tmp_path / "classes").mkdir(exist_ok=True)
        (folder / f"classes-{label}").rename(tmp_path / "classes" / label)
    done = genmend(
        folder, tmp_path / "classes", "made", "--out", "few", *QUICK, "--limit", "4", "--seed", "3", "--json"
    )
    result = json.loads(done.stdout)
    drawn = result["sources"]["reference"]["drawn"]
    assert (drawn["n_given"], drawn["seed"]) == (18, 3)
    assert "4 of the 18 samples of the reference were used, drawn at random with seed 3" in done.stderr
    with np.load(folder / "few" / "per_sample.npz") as found:
        left_out = sorted(set("abc") - {name[0] for name in found["reference_names"].tolist()})
    assert drawn["folders_left_out"] == left_out
    assert ("none was drawn of these subfolders" in done.stderr) == bool(left_out)


def test_images_in_an_archive_have_galleries(folder, seen):
    pixels = np.stack([np.asarray(Image.open(path)) for path in sorted((folder / "made").iterdir())])
    np.savez(folder / "made.npz", pixels, np.arange(len(pixels)))
    done = genmend(folder, "real", "made.npz:arr_0", "--out", "boxed", *IMAGES, "--json")
    assert done.returncode == 0, done.stderr
    result, (same, page) = json.loads(done.stdout), seen
    assert result["k"] == same["k"]
    assert result["sources"]["query"]["kind"] == "images"
    assert len(page_of(folder / "boxed").all("img")) == len(page.all("img"))
    one = genmend(folder, "real", "made/05.png", "--out", "one", *QUICK)  # a file alone
    assert one.returncode == 0, one.stderr


@pytest.mark.parametrize(("metrics", "n_pictures"), [("precision,recall", 2), ("rarity", 1), ("kid", 0)])
def test_what_was_not_asked_for_is_not_drawn(folder, metrics, n_pictures):
    done = genmend(folder, "x.npy", "y.npy", "--out", "drawn", "--k", "3", "--metrics", metrics)
    assert done.returncode == 0, done.stderr
    page = page_of(folder / "drawn")
    assert len(page.all("img")) == n_pictures
    assert ("no metric" in page.text) == (n_pictures == 0)
