"""Features in files: what opens, what it gives, and what is refused, damaged and hostile files included."""

import json

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file
from safetensors.torch import save_file as save_tensors

from genmend.manifold import Manifold
from genmend.manifold.sharded.mapped_features import FeatureShards, open_features

rng = np.random.default_rng(0)
X = rng.standard_normal((30, 5)).astype(np.float32)


def write(path, array, name="features"):
    if path.suffix == ".npy":
        np.save(path, array)
    else:
        save_file({name: np.ascontiguousarray(array)}, path)
    return path


@pytest.mark.parametrize("suffix", [".npy", ".safetensors"])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_one_file_is_mapped(tmp_path, suffix, dtype):
    opened = open_features(write(tmp_path / f"x{suffix}", X.astype(dtype), name="anything"))
    assert isinstance(opened, np.memmap)
    assert opened.dtype == dtype
    assert not opened.flags.writeable
    np.testing.assert_array_equal(opened, X.astype(dtype))


def test_bfloat16_is_widened_exactly(tmp_path):
    tensor = torch.cat([torch.from_numpy(X).bfloat16(), torch.tensor([[0.0, -0.0, 1e-40, 3e38, -1.0]]).bfloat16()])
    save_tensors({"features": tensor, "labels": torch.zeros(3)}, tmp_path / "x.safetensors")
    opened = open_features(tmp_path / "x.safetensors")
    assert opened.dtype == np.float32
    np.testing.assert_array_equal(np.asarray(opened), tensor.float().numpy())
    np.testing.assert_array_equal(opened[7], tensor[7].float().numpy())


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_shards_read_as_one_array(tmp_path, dtype):
    whole = X.astype(dtype)
    for number, rows in enumerate([slice(0, 7), slice(7, 8), slice(8, 30)]):
        write(tmp_path / f"{number}{['.npy', '.safetensors'][number % 2]}", whole[rows])
    (tmp_path / "notes.txt").write_text("not features")
    (tmp_path / ".hidden.npy").write_bytes(b"half written")
    opened = open_features(tmp_path)
    assert isinstance(opened, FeatureShards)
    assert (opened.shape, opened.starts, len(opened)) == ((30, 5), (0, 7, 8, 30), 30)
    assert opened.dtype == (np.float64 if dtype == np.float64 else np.float32)
    indices = [0, -1, 29, slice(None), slice(3, 25), slice(7, 8), slice(9, 9), slice(20, 2), slice(28, 3, -4),
               np.array([29, 0, 7, 7, -30]), np.array([], dtype=int), np.array([[1, 8], [9, 2]])]  # fmt: skip
    for index in indices:
        assert opened[index].dtype == opened.dtype
        np.testing.assert_array_equal(opened[index], whole[index], err_msg=str(index))
    np.testing.assert_array_equal(np.asarray(opened), whole)
    reversed_ = open_features(opened.paths[::-1])
    np.testing.assert_array_equal(reversed_[:22], whole[8:])
    with pytest.raises(IndexError, match="out of range for 30 rows"):
        opened[30]
    with pytest.raises(TypeError, match="bool"):
        opened[np.ones(30, dtype=bool)]


def test_a_manifold_of_files(tmp_path):
    from_file = Manifold(k=2).fit(open_features(write(tmp_path / "x.npy", X)))
    assert isinstance(from_file.reference_.base, np.memmap) or isinstance(from_file.reference_, np.memmap)
    write(tmp_path / "y.npy", X[:4])
    from_shards = Manifold(k=2).fit(open_features([tmp_path / "x.npy", tmp_path / "y.npy"]))
    np.testing.assert_array_equal(from_file.radii_, Manifold(k=2).fit(X).radii_)
    np.testing.assert_array_equal(from_shards.radii_, Manifold(k=2).fit(np.concatenate([X, X[:4]])).radii_)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (X[0], "has shape"),
        (X[:0], "is empty"),
        (X[:, :0], "is empty"),
        (X.astype(np.int64), "holds int64"),
        (X.astype(">f4"), "holds >f4"),
        (X.astype(np.complex64), "holds complex64"),
        (np.asfortranarray(X), "Fortran"),
        (np.where(np.arange(5) == 2, np.nan, X), "NaN.*in row 0"),
        (np.where(np.arange(30)[:, None] == 17, np.inf, X), "in row 17"),
        (np.where(np.arange(30)[:, None] == 3, 1e200, X.astype(np.float64)), "in row 3"),
    ],
)
def test_arrays_that_are_no_features(tmp_path, array, message):
    np.save(tmp_path / "bad.npy", array)
    with pytest.raises(ValueError, match=rf"bad\.npy.*{message}"):
        open_features(tmp_path / "bad.npy")


def test_values_are_checked_in_blocks_and_on_request_only(tmp_path, monkeypatch):
    monkeypatch.setattr("genmend.manifold.sharded.mapped_features._CHECKED_BYTES", 100)
    bad = X.copy()
    bad[23, 1] = np.nan
    path = write(tmp_path / "bad.npy", bad)
    with pytest.raises(ValueError, match="row 23"):
        open_features(path)
    assert open_features(path, check=False).shape == (30, 5)


def test_objects_are_never_unpickled(tmp_path):
    np.save(tmp_path / "bad.npy", np.array([[object()]]), allow_pickle=True)
    with pytest.raises(ValueError, match=r"bad\.npy holds object"):
        open_features(tmp_path / "bad.npy")


def test_what_is_no_file_or_differs(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"gone\.npy"):
        open_features(tmp_path / "gone.npy")
    with pytest.raises(ValueError, match="holds no"):
        open_features(tmp_path)
    (tmp_path / "x.csv").write_text("1,2")
    with pytest.raises(ValueError, match=r"x\.csv ends in"):
        open_features(tmp_path / "x.csv")
    one = write(tmp_path / "one.npy", X)
    for other in (X[:, :4], X.astype(np.float64)):
        with pytest.raises(ValueError, match=r"two\.npy holds .* but .*one\.npy holds"):
            open_features([one, write(tmp_path / "two.npy", other)])
    save_file({"a": X, "b": X}, tmp_path / "two.safetensors")
    with pytest.raises(ValueError, match=r"two\.safetensors holds 2 tensors \(a, b\)"):
        open_features(tmp_path / "two.safetensors")
    save_file({"a": X.astype(np.int8)}, tmp_path / "int.safetensors")
    with pytest.raises(ValueError, match=r"int\.safetensors holds I8"):
        open_features(tmp_path / "int.safetensors")


def forged(header, body=b"\0" * 600):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + body


def entry(shape=(30, 5), offsets=(0, 600), dtype="F32"):
    return {"features": {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff" * 8,
        (1 << 62).to_bytes(8, "little") + b"{}",
        forged(b"[" * 100_000),
        forged(b"{}"),
        forged(entry(shape=(-30, 5))),
        forged(entry(shape=(2**62, 2**62))),
        forged(entry(shape=(31, 5))),
        forged(entry(offsets=(0, 601))),
        forged(entry(offsets=(-8, 592))),
        forged(entry(offsets=(600, 0))),
        forged(entry(dtype="F128")),
        forged(entry(shape=("30", 5))),
        forged(entry(), body=b"\0" * 599),
        forged(entry(), body=b"\0" * 601),
        forged({"features": None}),
    ],
)
def test_hostile_safetensors(tmp_path, content):
    path = tmp_path / "bad.safetensors"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"bad\.safetensors"):
        open_features(path)


def test_padded_headers_are_read_unless_they_misalign(tmp_path):
    path, header = tmp_path / "padded.safetensors", json.dumps(entry()).encode()
    for padding in range(1, 9):
        path.write_bytes(forged(header + b" " * padding, body=X.tobytes()))
        if (8 + len(header) + padding) % 4:
            with pytest.raises(ValueError, match=r"padded\.safetensors: its values begin at byte \d+, not"):
                open_features(path)
        else:
            np.testing.assert_array_equal(open_features(path), X)


@pytest.mark.parametrize("suffix", [".npy", ".safetensors"])
def test_damaged_files_give_features_or_a_named_error(tmp_path, suffix):
    good = write(tmp_path / f"good{suffix}", X).read_bytes()
    bad = tmp_path / f"bad{suffix}"
    damaged = [good[:size] for size in (0, 3, 8, 9, 40, 100, len(good) // 2, len(good) - 1)]
    for position in rng.integers(0, len(good) - X.nbytes, 150):
        damaged.append(good[:position] + bytes([rng.integers(256)]) + good[position + 1 :])
    refused = []
    for content in damaged:
        bad.write_bytes(content)
        try:
            assert open_features(bad).ndim == 2
        except ValueError as error:
            refused.append(str(error))
    assert len(refused) >= 20
    assert all(str(bad) in message for message in refused)
