"""A `NormalRegion` in a file: the same bits come back, and whatever is no such file is refused with its path."""

import io
import json
import os
import pickle

import numpy as np
import pytest
import torch
from safetensors.numpy import load, save
from sklearn.exceptions import NotFittedError

from genmend.manifold import NormalRegion
from genmend.manifold.regions import normal_region_file
from genmend.manifold.regions.normal_region_file import NormalRegionFileError, load_normal_region, save_normal_region

rng = np.random.default_rng(0)
X = rng.standard_normal((70, 4)) + 100
GROUPS = ["ß", "", "b", "AA1"]
LABELS = [GROUPS[i] for i in rng.integers(0, 3, 67)] + ["AA1"] * 3
Y = rng.standard_normal((40, 4)) * 1.5 + 100
ASKED = [([*GROUPS, "unknown"])[i] for i in rng.integers(0, 5, 40)]
OTHERS = {"k": np.int64(2), "quantile": np.float64(0.3), "closed": np.False_, "min_size": np.int16(4), "block_size": 9}
KEY = "genmend.normal_region"


def assert_same(one, other, y, groups):
    """All that is learnt and all that is answered, bit for bit."""
    assert one.get_params() == other.get_params() == one.settings_ == other.settings_
    assert list(one.groups_.items()) == list(other.groups_.items())
    assert one.without_reference_ == other.without_reference_
    assert list(one.manifolds_) == list(other.manifolds_)
    found = []
    for region in (one, other):
        nearest, moves = region.nearest(y, groups, 3), region.move_inside(y, groups)
        radii = [manifold.radii_ for manifold in region.manifolds_.values()]
        found.append([
            region.vectors_, region.rows_, region.radii_, region.contains(y, groups), region.score_samples(y, groups),
            *radii, *vars(nearest).values(), *vars(moves).values(),
        ])  # fmt: skip
    for a, b in zip(*found, strict=True):
        assert (a.dtype, a.shape) == (b.dtype, b.shape)
        assert a.tobytes() == b.tobytes()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "region.safetensors"


@pytest.fixture
def good(path):
    """The bytes of a good file."""
    save_normal_region(path, NormalRegion(3, quantile=0.9).fit(X, groups=LABELS))
    return path.read_bytes()


def assert_refused(path, content, message="cannot be loaded as a normal region"):
    path.write_bytes(content)
    with pytest.raises(NormalRegionFileError, match=message) as caught:
        load_normal_region(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("dtype", "kind", "parameters"),
    [(np.float64, "none", {}), (np.float32, "strings", OTHERS), (np.float32, "integers", {}),
     (np.float64, "none", OTHERS)],
)  # fmt: skip
def test_round_trip(path, dtype, kind, parameters):
    fit, ask = {
        "none": (None, None),
        "strings": (LABELS, ASKED),
        "integers": ([-1 - len(label) for label in LABELS], [-1 - len(label) for label in ASKED]),
    }[kind]
    region = NormalRegion(**parameters).fit(X.astype(dtype), groups=fit)
    save_normal_region(path, region)
    loaded = load_normal_region(str(path))
    assert_same(loaded, region, Y.astype(dtype), ask)
    save_normal_region(path.with_name("again"), loaded)
    assert path.with_name("again").read_bytes() == path.read_bytes()


@pytest.mark.parametrize(
    "vectors",
    [X[:, ::-1], X[::-1], np.asfortranarray(X), np.repeat(X, 2, axis=1)[:, ::2], torch.from_numpy(X).T.clone().T],
    ids=["columns reversed", "rows reversed", "Fortran", "strided", "a tensor transposed"],
)
def test_vectors_that_lie_otherwise_in_memory(path, vectors):
    region = NormalRegion(3).fit(vectors)
    save_normal_region(path, region)
    assert_same(load_normal_region(path), region, Y, None)


def test_a_loaded_region_learns_again_from_the_same_vectors(path):
    save_normal_region(path, NormalRegion(2).fit(X, groups=LABELS))
    loaded = load_normal_region(path).set_params(k=20, quantile=0.5).refit()  # the small group was kept too
    assert_same(loaded, NormalRegion(20, quantile=0.5).fit(X, groups=LABELS), Y, ASKED)
    assert loaded.without_reference_ == ("AA1",) or len(loaded.without_reference_) > 1


def test_the_file_holds_the_settings_of_the_fit(path):
    region = NormalRegion(3).fit(X, groups=LABELS)
    save_normal_region(path, region)
    before = path.read_bytes()
    region.set_params(k=9, quantile=0.1, closed=False, min_size=10)  # not refitted
    save_normal_region(path, region)
    assert path.read_bytes() == before


def test_it_is_a_safetensors_file_anyone_can_read(good):
    arrays = load(good)
    assert {name: (array.dtype, array.shape) for name, array in arrays.items()} == {
        "vectors": (np.float64, (70, 4)), "rows": (np.int64, (70,)), "radii": (np.float64, (70,)),
    }  # fmt: skip
    np.testing.assert_array_equal(arrays["vectors"], X[arrays["rows"]])
    assert [LABELS[row] for row in arrays["rows"]] == sorted(LABELS, key=LABELS.index)


def test_only_a_fitted_region_is_saved(path):
    with pytest.raises(NotFittedError):
        save_normal_region(path, NormalRegion())
    assert not path.exists()


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_when_writing_fails_the_old_file_stays(path, good, monkeypatch, step):
    def full(*_):
        raise OSError("no space left")

    monkeypatch.setattr(os, step, full)
    with pytest.raises(OSError, match="no space left"):
        save_normal_region(path, NormalRegion(2).fit(X))
    monkeypatch.undo()
    assert path.read_bytes() == good
    assert [there.name for there in path.parent.iterdir()] == [path.name]


def test_no_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        load_normal_region(tmp_path / "nowhere")
    with pytest.raises(IsADirectoryError):
        load_normal_region(tmp_path)
    with pytest.raises(FileNotFoundError):
        save_normal_region(tmp_path / "nowhere" / "file", NormalRegion(1).fit(X))


def test_truncated(path, good):
    for size in [*range(0, len(good), 61), len(good) - 1]:
        assert_refused(path, good[:size])
    assert_refused(path, good + b"\0")


def test_bit_flips(path, good):
    own = np.random.default_rng(1)
    header = 8 + int.from_bytes(good[:8], "little")
    for position in [*range(header), *own.integers(header, len(good), 150)]:
        flipped = bytearray(good)
        flipped[position] ^= 1 << int(own.integers(8))
        assert_refused(path, flipped)


def test_any_bytes(path):
    for size in (0, 1, 7, 8, 9, 100, 5000):
        assert_refused(path, rng.bytes(size))
    assert_refused(path, (2**62).to_bytes(8, "little") + b"{}")
    nested = b"[" * 100_000
    assert_refused(path, len(nested).to_bytes(8, "little") + nested)


class Bomb:
    """What unpickling runs."""

    def __reduce__(self):
        return os.mkdir, ("unpickled",)


def test_pickles_never_run(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    npy, pt = io.BytesIO(), io.BytesIO()
    np.save(npy, np.array([Bomb()], dtype=object), allow_pickle=True)
    torch.save({"bomb": Bomb()}, pt)
    for content in (pickle.dumps(Bomb()), npy.getvalue(), pt.getvalue()):
        assert_refused(path, content)
    assert not (tmp_path / "unpickled").exists()


def forged(good, arrays=None, region=None, outer=None, settings=None):
    """The good file with some things replaced, and a digest that fits them."""
    arrays = load(good) | (arrays or {})
    described = json.loads(safe_metadata(good))
    content = json.loads(described["region"]) | (region or {})
    content["settings"] |= settings or {}
    content = json.dumps(content)
    described |= {"region": content, "digest": normal_region_file._digest(content, arrays)}
    return save(arrays, {KEY: json.dumps(described | (outer or {}))})


def safe_metadata(content):
    length = int.from_bytes(content[:8], "little")
    return json.loads(content[8 : 8 + length])["__metadata__"][KEY]


def test_the_forgery_is_good_but_for_what_is_replaced(path, good):
    path.write_bytes(forged(good))
    assert_same(load_normal_region(path), NormalRegion(3, quantile=0.9).fit(X, groups=LABELS), Y, ASKED)


def test_foreign_files(path, good):
    arrays = load(good)
    described = safe_metadata(good)
    for other, metadata, message in [
        ({"weight": X}, None, "something else"),
        (arrays, None, "something else"),
        (arrays, {"format": "pt"}, "something else"),
        ({**arrays, "more": X}, {KEY: described}, "something else"),
        ({"vectors": X, "rows": arrays["rows"]}, {KEY: described}, "something else"),
        (arrays, {KEY: "no JSON"}, "Expecting value"),
        (arrays, {KEY: "[" * 100_000}, "recursion|nest"),
        (arrays, {KEY: "[1, 2]"}, "is a list"),
        (arrays, {KEY: "{}"}, "its schema is None"),
        (arrays, {KEY: described.replace('"schema"', '"scheme"')}, "its schema is None"),
    ]:
        assert_refused(path, save(other, metadata), message)


@pytest.mark.parametrize(
    ("outer", "message"),
    [
        ({"schema": 2}, r"its schema is 2, and genmend\.normal_region/1 is read; update genmend"),
        ({"schema": "1"}, "its schema is '1'"),
        ({"digest": "0" * 32}, "does not have the digest"),
        ({"digest": None}, "does not have the digest"),
        ({"region": "{}"}, "does not have the digest"),
        ({"more": 1}, "something else"),
    ],
)
def test_descriptions_that_are_refused(path, good, outer, message):
    assert_refused(path, forged(good, outer=outer), message)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"k": 0}, "k is 0"),
        ({"k": 3.0}, r"k is 3\.0"),
        ({"k": "3"}, "k is '3'"),
        ({"k": 4}, "missing radii"),  # a group of 4 has some
        ({"quantile": float("nan")}, "quantile is nan"),
        ({"quantile": 0}, "quantile is 0"),
        ({"closed": 1}, "closed is 1"),
        ({"min_size": 2}, "min_size is 2"),
        ({"block_size": -1}, "block_size is -1"),
        ({"__class__": 1}, "its settings are"),
    ],
)
def test_settings_that_are_refused(path, settings, message):
    save_normal_region(path, NormalRegion(3).fit(X[:14], groups=["a"] * 10 + ["b"] * 4))
    assert_refused(path, forged(path.read_bytes(), settings=settings), message)


def sizes(*pairs):
    return {"groups": [list(pair) for pair in pairs]}


@pytest.mark.parametrize(
    "groups",
    [
        sizes(("a", 69)), sizes(("a", 71)), sizes(("a", 35), ("a", 35)), sizes(("a", 0), ("b", 70)), sizes(("a", 70.0)),
        sizes(("a", -1), ("b", 71)), sizes(("a", True), ("b", 69)), sizes(("a", "70")), sizes(("a", 35), (1, 35)),
        sizes((1.5, 70)), sizes((True, 70)), sizes((None, 35), ("a", 35)), sizes((["a"], 70)), sizes(("a", 1, 69)),
        {"groups": []}, {"groups": 70}, {"groups": None}, {"groups": {"a": 70}}, {"groups": "ab"}, {"more": 1},
    ],
    ids=str,
)  # fmt: skip
def test_groups_that_are_refused(path, good, groups):
    path.write_bytes(forged(good, region=sizes(("a", 67), ("b", 3))))
    load_normal_region(path)  # other names and sizes that fit are as good
    assert_refused(path, forged(good, region=groups))


ARRAYS = {
    "a row twice": ("rows", lambda rows: np.where(rows == 5, 6, rows), "not a permutation of 0 to 69"),
    "a row too high": ("rows", lambda rows: rows + 1, "not a permutation"),
    "rows of int32": ("rows", lambda rows: rows.astype(np.int32), "not a permutation"),
    "too few rows": ("rows", lambda rows: rows[:-1], "not a permutation"),
    "rows in 2-D": ("rows", lambda rows: rows[None], "not a permutation"),
    "a missing radius": ("radii", lambda radii: np.where(np.arange(70) == 3, np.nan, radii), "1 missing radii"),
    "all radii missing": ("radii", lambda radii: radii * np.nan, "missing radii"),
    "a radius too many": ("radii", lambda radii: np.nan_to_num(radii, nan=1.0), "0 missing radii"),
    "an infinite radius": ("radii", lambda radii: np.where(np.arange(70) == 3, np.inf, radii), "not finite"),
    "a negative radius": ("radii", lambda radii: np.where(np.arange(70) == 3, -1e-9, radii), "at least 0"),
    "radii of float32": ("radii", lambda radii: radii.astype(np.float32), "radii are float32"),
    "too few radii": ("radii", lambda radii: radii[:-1], r"radii are float64 of shape \(69,\)"),
    "vectors with NaN": ("vectors", lambda x: np.where(np.arange(70)[:, None] == 8, np.nan, x), "NaN in row 8"),
    "huge vectors": ("vectors", lambda x: x * 1e200, "rescale"),
    "vectors of float16": ("vectors", lambda x: x.astype(np.float16), "vectors are float16"),
    "vectors of integers": ("vectors", lambda x: x.astype(np.int64), "vectors are int64"),
    "vectors in 1-D": ("vectors", lambda x: x.ravel(), "a 2-D array"),
    "no vectors": ("vectors", lambda x: x[:0], "0 sample"),
    "fewer vectors": ("vectors", lambda x: x[:60], "do not add up to its 60 vectors"),
}


@pytest.mark.parametrize("case", ARRAYS)
def test_arrays_that_are_refused(path, good, case):
    name, change, message = ARRAYS[case]
    assert_refused(path, forged(good, arrays={name: change(load(good)[name])}), message)


def test_types_that_numpy_does_not_have(path, good):
    from safetensors.torch import save as save_tensors

    tensors = {name: torch.from_numpy(array.copy()) for name, array in load(good).items()}
    tensors["vectors"] = tensors["vectors"].bfloat16()
    assert_refused(path, save_tensors(tensors, {KEY: safe_metadata(good)}))


def test_reading_does_not_hold_the_file_open(path, good):
    loaded = load_normal_region(path)
    path.write_bytes(b"\0" * len(good))  # were it still mapped, the vectors would change
    assert_same(loaded, NormalRegion(3, quantile=0.9).fit(X, groups=LABELS), Y, ASKED)
