"""Results in a notebook: a small table with a figure, rows for pandas."""

import sys

import numpy as np
import pytest

from genmend.storage.notebook import NotebookResult


class Result(NotebookResult):
    def to_dict(self):
        deep = {"a": {"b": {"c": 1}}}
        return {
            "model": "<b>faces</b>", "n_flagged": 3, "share": 0.123456, "doubted": False, "nothing": None,
            "settings": {"seed": 0}, "k": {"3": {"precision": 0.5}}, "rows": [{"x": 1}, {"x": 2}], "deep": deep,
        }  # fmt: skip

    def columns(self):
        return {"name": np.array(["a", "b"]), "score": np.array([0.5, np.nan])}


def test_a_result_is_a_small_table():
    page = Result()._repr_html_()
    assert "<caption>Result</caption>" in page
    assert "&lt;b&gt;faces" in page
    for name, text in (
        ("n flagged", "3"),
        ("share", "0.1235"),
        ("doubted", "no"),
        ("k, 3, precision", "0.5"),
        ("rows", "2"),
    ):
        assert f"<tr><th>{name}</th><td>{text}</td></tr>" in page
    assert "seed" not in page
    assert "<img" not in page


def test_a_result_that_can_be_drawn_is_drawn():
    figure = pytest.importorskip("matplotlib.figure").Figure(figsize=(1, 1))

    class Drawn(Result):
        def plot(self):
            return figure

    assert 'src="data:image/png;base64,iVBOR' in Drawn()._repr_html_()


def test_rows_become_a_table_of_pandas(monkeypatch):
    pandas = pytest.importorskip("pandas")
    table = Result().to_pandas()
    assert isinstance(table, pandas.DataFrame)
    assert table.columns.tolist() == ["name", "score"]
    assert table["score"].isna().tolist() == [False, True]
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ModuleNotFoundError, match="needs pandas, which is not installed: run `pip install pandas`"):
        Result().to_pandas()
