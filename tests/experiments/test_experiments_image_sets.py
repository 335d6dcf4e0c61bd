"""The pieces of the image-set experiment: archives are checked, sets are disjoint, tables say what is."""

import gzip
import hashlib
import io
import json
import sys
import tarfile
import zipfile

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("matplotlib")

from experiments.faces import scores as face_scores
from experiments.images import data as image_data
from experiments.images import set_pictures as image_set_pictures
from experiments.images import sets as image_sets
from experiments.images.data import Archive, crops, degrade, fetch, parse_idx


def idx(array):
    header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, dtype=">u4").tobytes()
    return header + array.tobytes()


@pytest.fixture
def archive(tmp_path, monkeypatch):
    """A package that a stand-in for npm writes, and the cache it goes to."""
    monkeypatch.setenv("GENMEND_CACHE", str(tmp_path))
    content = b"a package"

    def made(sha256=None, writes=content, code=0):
        script = (
            "import pathlib, sys\n"
            f"pathlib.Path(sys.argv[1], 'toy-1.tgz').write_bytes({writes!r})\n"
            f"sys.exit('no such package' if {code} else 0)"
        )
        archive = Archive("toy@1", "toy-1.tgz", sha256 or hashlib.sha256(content).hexdigest(), "MIT")
        monkeypatch.setattr(Archive, "command", lambda self, folder: [sys.executable, "-c", script, folder])
        return archive

    return made


def test_an_archive_is_kept_once_and_a_damaged_one_is_replaced(archive, monkeypatch):
    path = fetch(archive())
    assert path.read_bytes() == b"a package"
    toy = archive(writes=b"must not be asked for")
    stamp = path.stat().st_mtime_ns
    assert fetch(toy) == path
    assert path.stat().st_mtime_ns == stamp
    path.write_bytes(b"damaged")
    assert fetch(archive()).read_bytes() == b"a package"


def test_a_wrong_archive_or_none_is_an_error_and_nothing_is_kept(archive, tmp_path, monkeypatch):
    with pytest.raises(ValueError, match=r"toy-1.tgz has SHA-256 .*, expected 00"):
        fetch(archive(sha256="00" * 32))
    with pytest.raises(RuntimeError, match=r"could not download toy@1 \(no such package\)"):
        fetch(archive(code=1))
    monkeypatch.setattr(Archive, "command", lambda self, folder: ["no-such-program"])
    with pytest.raises(RuntimeError, match="no-such-program is not installed"):
        fetch(Archive("toy@1", "toy-1.tgz", "00", "MIT"))
    assert not any(path.is_file() for path in tmp_path.rglob("*"))


def test_packages_are_asked_for_by_exact_version():
    for wanted in (image_data.MNIST, image_data.FASHION, image_data.SKIMAGE, image_data.EMOJI, image_data.FOOLBOX):
        command = wanted.command("folder")
        assert command[-1] == wanted.requirement
        assert "folder" in command
        assert len(wanted.sha256) == 64


def test_idx_files_are_read_and_checked():
    images = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    np.testing.assert_array_equal(parse_idx(idx(images)), images)
    np.testing.assert_array_equal(parse_idx(gzip.compress(idx(images))), images)
    with pytest.raises(ValueError, match=r"has 23 values and its header says \(2, 3, 4\)"):
        parse_idx(idx(images)[:-1])
    for wrong in (b"", b"\0\0\x0d\x01\0\0\0\x01", b"\x89PNG"):
        with pytest.raises(ValueError, match="begins 00 00 08"):
            parse_idx(wrong)


def test_images_are_read_out_of_the_archives(monkeypatch, tmp_path):
    path = tmp_path / "wheel.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        for name in image_data.PHOTOGRAPHS:
            buffer = io.BytesIO()
            Image.new("RGB", (9, 7), "red").save(buffer, format="PNG")
            wheel.writestr(f"skimage/data/{name}", buffer.getvalue())
    monkeypatch.setattr(image_data, "fetch", lambda archive: path)
    image_data.photographs.cache_clear()
    found = image_data.photographs()
    image_data.photographs.cache_clear()
    assert [photo.shape for photo in found] == [(7, 9, 3)] * 5 + [(427, 640, 3)] * 2


def _png(*pixel: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGBA", (64, 64), pixel).save(buffer, format="PNG")
    return buffer.getvalue()


def test_emoji_stand_on_white_with_their_group_and_kind(monkeypatch, tmp_path):
    rows = [
        {"image": f"{name}.png", "category": group, "subcategory": kind}
        for name, group, kind in (("a", "Food", "fruit"), ("b", "Flags", "country-flag"), ("gone", "Food", "drink"))
    ]
    files = {"emoji.json": json.dumps(rows).encode()}
    files |= {f"img/google/64/{name}.png": _png(255, 0, 0, 0) for name in ("a", "b")}
    path = tmp_path / "emoji.tgz"
    with tarfile.open(path, "w:gz") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(f"package/{name}")
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    monkeypatch.setattr(image_data, "fetch", lambda archive: path)
    found = image_data.emoji.__wrapped__()
    assert (found.groups, found.kinds) == (("Food",), ("fruit",))
    np.testing.assert_array_equal(found.images, np.full((1, 64, 64, 3), 255))


def test_the_class_of_a_photograph_is_the_last_number_of_its_name(monkeypatch, tmp_path):
    path = tmp_path / "wheel.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        for name in ("imagenet_01_559.jpg", "imagenet_00_243.jpg", "cifar10_00_3.png"):
            wheel.writestr(f"foolbox/data/{name}", _png(0, 0, 255, 255))
    monkeypatch.setattr(image_data, "fetch", lambda archive: path)
    images, classes = image_data.imagenet_photographs.__wrapped__()
    assert classes == (243, 559)
    assert [image.shape for image in images] == [(64, 64, 3)] * 2


def test_crops_come_from_the_photographs_in_turn_and_repeat_with_the_seed():
    photos = tuple(np.full((30, 40, 3), value, dtype=np.uint8) for value in (10, 200))
    photos[0][:, 20:] = 20
    cut = crops(photos, 6, seed=1, side=16)
    assert cut.shape == (6, 16, 16, 3)
    assert (cut[1::2] == 200).all()
    assert (cut[::2] <= 20).all()
    np.testing.assert_array_equal(cut, crops(photos, 6, seed=1, side=16))
    assert (cut != crops(photos, 6, seed=2, side=16)).any()


@pytest.mark.parametrize("kind", image_data.LEVELS)
def test_degradations_grow_with_their_level(kind):
    photo = np.asarray(image_data.load_sample_image("china.jpg"))[:64, :64]
    images = np.stack([photo, photo[::-1]])
    errors = [np.abs(degrade(images, kind, level, 0).astype(int) - images).mean() for level in image_data.LEVELS[kind]]
    assert errors == sorted(errors)
    assert errors[0] > 0
    assert degrade(images, kind, image_data.LEVELS[kind][0], 0).dtype == np.uint8
    with pytest.raises(ValueError, match="no degradation 'fog'; blur, JPEG, noise are known"):
        degrade(images, "fog", 1, 0)


@pytest.fixture
def toy_sets(monkeypatch):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (400, 28, 28), dtype=np.uint8)
    monkeypatch.setattr(image_sets, "digits", lambda: (images, np.repeat([7, 1], 200)))
    monkeypatch.setattr(image_sets, "clothes", lambda label: images[label * 40 : label * 40 + 40])
    photos = tuple(rng.integers(0, 256, (100, 100, 3), dtype=np.uint8) for _ in range(3))
    monkeypatch.setattr(image_sets, "photographs", lambda: photos)


def test_controls_are_disjoint_and_all_pairs_of_one_size(toy_sets):
    pairs = [*image_sets.class_pairs(20, 0), *image_sets.photo_pairs(6, 0)]
    assert len(pairs) == 8 + 13
    assert len({pair.name for pair in pairs}) == len(pairs)
    assert set(image_sets.GALLERIES) <= {pair.name for pair in pairs}
    for pair in pairs:
        assert pair.reference.shape == pair.query.shape
        assert len(pair.query) == (6 if "crops" in pair.name else 20)
        if "half" in pair.name or "shuffled" in pair.name:
            here, there = ({image.tobytes() for image in images} for images in (pair.reference, pair.query))
            assert not here & there
    with pytest.raises(ValueError, match="400 images do not give two halves of 300"):
        list(image_sets.class_pairs(300, 0))


def test_tensors_and_pixels_of_gray_and_colour(tmp_path):
    gray, colour = np.full((2, 4, 4), 51, np.uint8), np.zeros((2, 4, 4, 3), np.uint8)
    colour[..., 1] = 255
    assert image_sets.as_tensor(gray).shape == (2, 3, 4, 4)
    assert image_sets.as_tensor(gray).unique().tolist() == pytest.approx([0.2])
    assert image_sets.as_tensor(colour)[:, 1].min() == 1
    assert image_sets.as_tensor(colour)[:, 0].max() == 0
    assert image_sets.extractor_of("pixels", tmp_path)(colour).shape == (2, 48)


def totals(precision, coverage=0.9, expected=0.9):
    at = {"precision": precision, "recall": 0.2, "coverage": coverage, "expected_coverage": expected}
    return {"k": {"3": at, "5": at}}


def test_verdicts_are_read_off_the_numbers():
    found = {}
    for space in image_sets.SPACES:
        found[space, "digits, other half"] = totals(0.9, coverage=0.88)
        found[space, "digits, clothes"] = totals(0.1, coverage=0.05)
        found[space, "crops, other crops"] = totals(0.9)
        for kind, levels in image_data.LEVELS.items():
            for number, level in enumerate(levels):
                found[space, f"crops, {kind} {level:g}"] = totals(0.8 - 0.1 * number)
    found["pixels", "crops, blur 4"] = totals(0.95)
    lines = image_sets.verdicts(found)
    assert len(lines) == 2 * 5
    assert lines[0].endswith("the largest is recall: precision 0.100, recall 0.200, coverage 0.050")
    assert "-0.020 (digits, other half)" in lines[1]
    assert "falls at every level of blur" in lines[2]
    assert "pixels: precision does not fall at every level of blur: 0.900 0.800 0.700 0.600 0.950" in lines[7]


class Scored:
    """As much of an evaluation as the pictures of pairs need."""

    def __init__(self, density):
        self.density = density

    def to_dict(self):
        at = {"precision": 0.5, "recall": 0.5, "density": self.density, "coverage": 0.5, "clipped_density": 0.5}
        return {"k": {"3": at, "5": at}}


def test_no_value_of_the_degradations_is_cut_off():
    evaluations = {}
    for row, space in enumerate(("one", "another")):
        evaluations[space, "crops, other crops"] = Scored(1.0)
        for kind, levels in image_data.LEVELS.items():
            for level in levels:
                evaluations[space, f"crops, {kind} {level:g}"] = Scored(2.5 if kind == "noise" and row else 0.5)
    figure = image_set_pictures.degradation_figure(evaluations)
    limits = [ax.get_ylim() for ax in figure.axes]
    assert {low for low, _ in limits} == {0}
    assert {high > 2.5 for _, high in limits[:3]} == {False}
    assert {high > 2.5 for _, high in limits[3:]} == {True}


def test_a_row_shows_undefined_totals_as_such():
    names = {name for _, name in image_sets.COLUMNS.values()}
    at = dict.fromkeys(names, 0.5) | {"rarity_percentile_mean": None}
    result = {"k": {"3": at, "5": at}, "intervals": {"3": {"precision": [0.4, 0.6]}, "5": {}}, "kid": 0.25}
    row = image_sets.format_row("pixels", result)
    assert "precision 0.500 [0.40,0.60]" in row
    assert "rarity pct   -" in row
    assert row.endswith("KID 0.25")


def test_face_verdicts_compare_with_the_control():
    found = {
        name: {"k": {"3": {"precision": precision, "recall": recall}}}
        for name, precision, recall in (("own_normal_again", 0.7, 0.7), ("before", 0.6, 0.75), ("after", 0.72, 0.6))
    }
    assert face_scores.verdicts(found) == [
        "  precision: +0.120 by the correction, to 0.020 above the control",
        "  recall: -0.150 by the correction, to 0.100 below the control",
    ]


def test_face_tables_say_what_they_are_relative_to():
    assert face_scores.RELATIVE == "relative to the model's own normal samples, not to photographs"
    at = dict.fromkeys(face_scores.METRICS, 0.25)
    result = {"k": {"3": at, "5": at}, "intervals": {"3": {"precision": [0.2, 0.3]}}, "kid": 0.01}
    table = face_scores.format_table({"before": result, "after": result})
    assert len(table) == len(face_scores.METRICS) + 2
    assert table[1].count("0.250 [0.200,0.300]") == 2
    assert table[0].split() == ["before", "after"]
