"""What the benchmark of extraction keeps: runs beside the known ones, and of each contender the least for the table."""

import json

import extraction_speed as bench
from extraction_speed import Run


def test_more_runs_are_kept_beside_those_of_as_many_images(tmp_path, monkeypatch):
    monkeypatch.setattr(bench, "result_file", lambda name, suffix: tmp_path / (name + suffix))
    first, second = Run("genmend", 4.0, 5.0), Run("genmend", 3.0, 9.0)
    for run in (first, second):
        bench.save([run], 500, "here")
    kept = json.loads((tmp_path / "extraction.json").read_text())
    assert [run["cpu"] for run in kept["runs"]] == [4.0, 3.0]
    bench.save([first], 20, "here")
    assert json.loads((tmp_path / "extraction.json").read_text())["runs"] == [vars(first)]
    other = Run("another", 6.0, 6.0)
    assert bench.least([first, other, second]) == [second, other]
    assert "| another | 6.0 s | 2.00 | 167 |" in bench.table([first, other, second], 500)
