"""The one format of arrays and facts: back bit for bit, whole or refused, with and without torch."""

import json
import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch
from safetensors import SafetensorError
from safetensors.numpy import save_file

from genmend.storage import load, save
from genmend.storage.container import ContainerError

KIND = "genmend.toy"
ARRAYS = {
    "plain": np.arange(6, dtype=np.float32).reshape(2, 3),
    "transposed": np.arange(6, dtype=np.float64).reshape(2, 3).T,
    "mask": np.arange(4) > 1,
    "none": np.zeros((0, 2), dtype=np.int64),
}
FACTS = {"number": 0.1, "words": ["é", None, True], "nested": {"a": [1, 2]}}


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "toy.safetensors"
    save(path, KIND, ARRAYS, FACTS)
    return path


class OurError(ValueError):
    pass


def test_arrays_and_facts_come_back(path):
    arrays, facts = load(path, KIND)
    assert facts == FACTS
    assert arrays.keys() == ARRAYS.keys()
    for name, values in ARRAYS.items():
        assert (arrays[name].dtype, arrays[name].shape) == (values.dtype, values.shape)
        assert arrays[name].tobytes() == values.tobytes()


def test_tensors_come_back_also_those_that_numpy_lacks_or_that_share_memory(tmp_path):
    base = torch.arange(6.0).reshape(2, 3)
    given = {
        "a": base,
        "same": base,
        "turned": base.T,
        "half": base.bfloat16(),
        "learnt": base.clone().requires_grad_(),
    }
    save(tmp_path / "t", KIND, given | {"array": ARRAYS["transposed"]}, FACTS)
    tensors, facts = load(tmp_path / "t", KIND, framework="torch")
    assert facts == FACTS
    assert all(
        torch.equal(tensors[name], values) and tensors[name].dtype == values.dtype for name, values in given.items()
    )
    assert torch.equal(tensors["array"], torch.from_numpy(ARRAYS["transposed"]))


def test_the_same_content_gives_the_same_bytes(path):
    before = path.read_bytes()
    for given in (ARRAYS, dict(reversed(ARRAYS.items())), {n: torch.from_numpy(v.copy()) for n, v in ARRAYS.items()}):
        save(path, KIND, given, FACTS)
        assert path.read_bytes() == before


def test_what_was_loaded_does_not_follow_the_file(path):
    arrays, _ = load(path, KIND, framework="torch")
    before = arrays["plain"].clone()
    content = path.read_bytes()
    with path.open("rb+") as file:
        file.seek(-len(content) // 2, 2)
        file.write(bytes(len(content) // 2))
    assert torch.equal(arrays["plain"], before)


def test_what_is_built_of_it_is_returned_and_its_faults_are_the_file_s(path):
    assert load(path, KIND, lambda arrays, facts: (len(arrays), facts["number"])) == (4, 0.1)
    for fault in (ValueError("no"), KeyError("no"), TypeError("no"), AttributeError("no"), RuntimeError("no")):

        def build(arrays, facts, fault=fault):
            raise fault

        with pytest.raises(OurError, match=r"toy\.safetensors cannot be loaded as a toy: .*no") as caught:
            load(path, KIND, build, error=OurError)
        assert caught.value.__cause__ is fault


def test_without_a_file_the_command_that_writes_one_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"There is no toy file .*nowhere; `genmend play` writes one\."):
        load(tmp_path / "nowhere", KIND, command="play")
    with pytest.raises(IsADirectoryError):
        load(tmp_path, KIND)


def test_another_kind_or_version_is_refused(path):
    with pytest.raises(
        ContainerError, match=r"it has no 'genmend\.other' in its metadata.*something else than genmend"
    ):
        load(path, "genmend.other")
    with pytest.raises(ContainerError, match=r"its schema is 1, and genmend\.toy/2 is read; update genmend"):
        load(path, KIND, schema=2)
    save(path, KIND, ARRAYS, FACTS, schema=2)
    assert load(path, KIND, schema=2)[1] == FACTS
    for schema in (2, True, "1", None):
        save_file(ARRAYS, path, {KIND: json.dumps({"schema": schema})})
        with pytest.raises(ContainerError, match="its schema is"):
            load(path, KIND)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_json_has_no_nan_neither_way(path, value):
    before = path.read_bytes()
    with pytest.raises(ValueError, match="not JSON compliant"):
        save(path, KIND, ARRAYS, {"a": [value]})
    assert path.read_bytes() == before
    save_file({}, path, {KIND: json.dumps({"schema": 1, "a": [value]})})
    with pytest.raises(ContainerError, match=r"it holds -?(NaN|Infinity), which is no JSON"):
        load(path, KIND)


@pytest.mark.parametrize("text", ["", "[]", "null", "{", "[" * 100_000, '{"schema": ' + "9" * 5000 + "}"])
def test_metadata_that_is_no_object_is_refused(path, text):
    save_file({}, path, {KIND: text})
    with pytest.raises(ContainerError, match=r"toy\.safetensors"):
        load(path, KIND)


def test_damaged_files_and_pickles_are_refused_and_never_run(path):
    content = path.read_bytes()
    for length in range(0, len(content), 7):
        path.write_bytes(content[:length])
        with pytest.raises(ContainerError, match="no intact safetensors file"):
            load(path, KIND)
    path.write_bytes(pickle.dumps(print))
    with pytest.raises(ContainerError, match=r"pickle.* never opened"):
        load(path, KIND)


def test_a_write_that_fails_leaves_the_old_file(path, monkeypatch):
    before = path.read_bytes()

    def full(arrays, path, metadata):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    for place, given in (("numpy", ARRAYS), ("torch", {"a": torch.ones(2)})):
        monkeypatch.setattr(f"safetensors.{place}.save_file", full)
        with pytest.raises(OSError, match="No space"):
            save(path, KIND, given, FACTS)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_forms_from_before_there_was_one_format(path):
    """Detectors and densities had the version in an entry of its own, probe moves all facts."""
    save_file(ARRAYS, path, {"schema": "genmend.toy/1", "toy": json.dumps(FACTS)})
    assert load(path, KIND)[1] == FACTS
    save_file(ARRAYS, path, {"format": "genmend.toy.1", "layer": "a"})
    assert load(path, KIND)[1]["layer"] == "a"
    for metadata in (
        {"schema": "genmend.toy/2", "toy": json.dumps(FACTS)},
        {"schema": "genmend.toy/x", "toy": json.dumps(FACTS)},
        {"schema": "genmend.toy/1", "toy": '{"a": NaN}'},
        {"schema": "genmend.toy/1"},
        {"format": "genmend.toy.2"},
    ):
        save_file(ARRAYS, path, metadata)
        with pytest.raises(ContainerError, match=r"toy\.safetensors cannot be loaded as a toy"):
            load(path, KIND)


def test_torch_is_not_imported_for_arrays(path):
    code = (
        "import sys, numpy as np, genmend.storage as s\n"
        "arrays, facts = s.load(sys.argv[1], 'genmend.toy')\n"
        "s.save(sys.argv[1], 'genmend.toy', arrays, facts); s.digest(arrays['plain']); s.Work(), s.find_weights\n"
        "s.whole_file, s.fetch_weights, s.cache_folder\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code, str(path)], check=True)


def test_what_safetensors_cannot_write_is_an_error_of_the_file_system(path, monkeypatch):
    before = path.read_bytes()

    def full(*_, **__):
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr("safetensors.numpy.serialize_file", full)
    with pytest.raises(OSError, match=r"can't be written in .*No space left on device"):
        save(path, "genmend.test", {"a": np.zeros(2)}, {})
    assert list(path.parent.iterdir()) == [path]
    assert path.read_bytes() == before
