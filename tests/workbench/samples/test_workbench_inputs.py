"""``genmend score`` and ``features`` on sets as other tools store them: the same numbers, labels, one sentence."""

import io
import json
import tarfile

import numpy as np
import pytest
import scratch_commands
from PIL import Image

pytest.importorskip("jinja2")
pytest.importorskip("matplotlib")
pytest.importorskip("pyarrow")
import pyarrow as pa
from pyarrow import parquet as pq
from test_workbench_score import IMAGES, SCRATCH

METRICS = (*IMAGES, "--metrics", "precision")


def png(pixels):
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "PNG")
    return content.getvalue()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """One set of 16 images of two classes in every form, and a second one as a folder of classes."""
    folder, rng = tmp_path_factory.mktemp("inputs"), np.random.default_rng(0)
    (folder / "scratch.py").write_text(SCRATCH)
    pixels = rng.integers(0, 256, (16, 8, 8, 3), dtype=np.uint8)
    classes = ["cat" if row % 2 else "dog" for row in range(16)]
    for row, of_row in enumerate(classes):
        place = folder / "real" / of_row
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(place / f"{row}.png")
        place = folder / "plain"
        place.mkdir(exist_ok=True)
        Image.fromarray(pixels[row]).save(place / f"{row:02d}.png")
    (folder / "shards").mkdir()
    for shard in range(2):
        with tarfile.open(folder / "shards" / f"{shard:06d}.tar", "w") as archive:
            for row in range(shard * 8, shard * 8 + 8):
                for ending, content in (("png", png(pixels[row])), ("cls", classes[row].encode())):
                    info = tarfile.TarInfo(f"{row:04d}.{ending}")
                    info.size = len(content)
                    archive.addfile(info, io.BytesIO(content))
    images = [{"bytes": png(one), "path": None} for one in pixels]
    pq.write_table(pa.table({"image": images, "label": classes}), folder / "made.parquet", row_group_size=5)
    (folder / "batches").mkdir()
    for part in range(2):
        rows = slice(part * 8, part * 8 + 8)
        np.savez(folder / "batches" / f"{part}.npz", pixels[rows], np.array(classes[rows]))
    (folder / "cut.tar").write_bytes((folder / "shards" / "000000.tar").read_bytes()[:3000])
    (folder / "cut.parquet").write_bytes((folder / "made.parquet").read_bytes()[:-30])
    return folder


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("GENMEND_CACHE", str(tmp_path / "cache"))


def run(folder, *arguments):
    return scratch_commands.genmend(folder, *arguments)


def test_every_form_of_a_set_has_the_same_numbers_and_classes(folder):
    done = run(folder, "score", "real", "plain", "--out", "as-folder", *METRICS, "--json")
    assert done.returncode == 0, done.stderr
    expected = json.loads(done.stdout)["k"]
    classes = None
    pictures = (folder / "as-folder" / "report.html").read_text(encoding="utf-8").count("<img")
    for name in ("shards/{000000..000001}.tar", "made.parquet", "batches"):
        done = run(folder, "score", "real", name, "--out", f"out-{len(name)}", *METRICS, "--by-class", "--json")
        assert done.returncode == 0, (name, done.stderr)
        found = json.loads(done.stdout)
        assert found["k"] == expected, name
        classes = classes or found["classes"]
        assert list(classes) == ["cat", "dog"]
        assert found["classes"] == classes, name
        assert (folder / f"out-{len(name)}" / "report.html").read_text(encoding="utf-8").count("<img") == pictures > 0
    done = run(folder, "features", "made.parquet", "--out", "ref.safetensors", *IMAGES[:2])
    assert done.returncode == 0, done.stderr
    done = run(folder, "score", "ref.safetensors", "real", "--out", "kept", *METRICS, "--by-folder", "--json")
    assert list(json.loads(done.stdout)["classes"]) == ["cat", "dog"]


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("cut.tar", "genmend: cut.tar is no intact tar archive after"),
        ("cut.parquet", "genmend: cut.parquet is no intact parquet file"),
        ("made.parquet:picture", "genmend: made.parquet has no column 'picture'; its columns are image, label."),
        ("shards:jpg", "genmend: shards holds no images that end in .jpg; it has .png."),
        ("plain:png", "genmend: plain: parts can be named of arrays, parquet files and tar archives"),
        ("shards/{000000..000003}.tar", "names 4 files, of which 2 are missing, the first shards/000002.tar"),
        ("batches/0.npz:arr_5", "genmend: batches/0.npz holds no array 'arr_5'; it holds arr_0, arr_1"),
    ],
)
def test_what_cannot_be_read_is_one_sentence_and_nothing_is_written(folder, source, words):
    done = run(folder, "score", "real", source, "--out", "no", *METRICS)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1), done.stderr
    assert words in done.stderr
    assert not (folder / "no").exists()


def test_classes_that_nobody_tells_are_said(folder):
    done = run(folder, "score", "real", "plain", "--out", "no", *METRICS, "--by-class")
    assert done.returncode == 2
    assert "the samples of the query, plain, have no labels and lie in no subfolders" in done.stderr
