"""Results as files: floats in full, nothing for NaN, JSON that every reader takes."""

import json

import numpy as np
import pytest

from genmend.storage.tables import without_nan, write_csv, write_json, write_npz


def test_a_table_holds_every_digit_and_an_empty_cell_for_nan(tmp_path):
    columns = {"name": np.array(["a", "b"]), "score": np.array([1 / 3, np.nan]), "inside": np.array([True, False])}
    write_csv(tmp_path / "a.csv", columns)
    assert (tmp_path / "a.csv").read_text().splitlines() == [
        "index,name,score,inside",
        "0,a,0.3333333333333333,1",
        "1,b,,0",
    ]
    with pytest.raises(ValueError, match="shorter"):
        write_csv(tmp_path / "a.csv", {"x": np.zeros(2), "y": np.zeros(1)})
    assert "0.3333333333333333" in (tmp_path / "a.csv").read_text()  # the old one


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_json_has_no_nan_and_the_old_file_stays(tmp_path, value):
    write_json(tmp_path / "a.json", {"x": 1.5})
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "a.json", {"x": [value]})
    assert json.loads((tmp_path / "a.json").read_text()) == {"x": 1.5}
    assert without_nan({"a": (value, 1.5, "x"), "b": {"c": value}}) == {"a": [None, 1.5, "x"], "b": {"c": None}}


def test_arrays_come_back_without_pickle(tmp_path):
    write_npz(tmp_path / "a.npz", {"x": np.arange(3), "names": np.array(["a", "b"])})
    with np.load(tmp_path / "a.npz", allow_pickle=False) as stored:
        assert stored["x"].tolist() == [0, 1, 2]
        assert stored["names"].tolist() == ["a", "b"]
