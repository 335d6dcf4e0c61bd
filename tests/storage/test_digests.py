"""Digests are names of files and keys of caches that users have: their values never change."""

import hashlib

import numpy as np
import pytest
import torch

from genmend.storage import digest
from genmend.storage.digests import settings_key, sha256_of, sha256_of_array, sha256_of_file, sha256_of_json

ARRAYS = {
    "plain": np.arange(12, dtype=np.float32).reshape(4, 3),
    "transposed": np.arange(12, dtype=np.float64).reshape(3, 4).T,
    "number": np.float64(3.5).reshape(()),
    "no rows": np.zeros((0, 3)),
    "no columns": np.zeros((3, 0)),
    "bool": np.arange(5) > 2,
    "strided": np.arange(20)[::3],
}


def test_values_of_before_this_module_was():
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    assert digest(x, "text", 1, None) == "2a583a2a5c85fe0dcab772f70a85140e"
    assert settings_key({"b": [1, None], "a": "é"}) == "8920de3941419361"
    assert sha256_of_array(x).startswith("e2c0a71510b5394d")


@pytest.mark.parametrize("name", ARRAYS)
def test_of_an_array_its_values_in_order(name):
    values = ARRAYS[name]
    expected = hashlib.sha256(np.ascontiguousarray(values).tobytes()).hexdigest()
    assert sha256_of_array(values) == expected
    assert sha256_of_array(torch.tensor(values)) == expected
    assert (
        sha256_of(["a", values, b"b"])
        == hashlib.sha256(b"a" + np.ascontiguousarray(values).tobytes() + b"b").hexdigest()
    )


def test_tensors_of_types_that_numpy_lacks_and_with_gradients():
    values = torch.arange(6.0).reshape(2, 3)
    halves = values.bfloat16()
    assert sha256_of_array(halves) == hashlib.sha256(halves.view(torch.uint8).numpy().tobytes()).hexdigest()
    assert sha256_of_array(values.clone().requires_grad_()) == sha256_of_array(values)
    assert sha256_of_array(values.T) == sha256_of_array(values.numpy().T)


def test_blocks_of_rows_change_nothing(monkeypatch):
    whole = {name: digest(values) for name, values in ARRAYS.items()}
    monkeypatch.setattr("genmend.storage.digests._HASHED_BYTES", 1)
    assert {name: digest(values) for name, values in ARRAYS.items()} == whole


def test_of_a_file_its_bytes_and_of_json_its_sorted_text(tmp_path):
    (tmp_path / "file").write_bytes(b"content")
    assert sha256_of_file(tmp_path / "file") == sha256_of([b"content"]) == hashlib.sha256(b"content").hexdigest()
    assert sha256_of_json({"b": 1, "a": 2}) == sha256_of_json({"a": 2, "b": 1}) == sha256_of(['{"a": 2, "b": 1}'])
    assert settings_key({"a": 2}) == sha256_of_json({"a": 2})[:16]
    with pytest.raises(TypeError):
        settings_key({"a": object()})
