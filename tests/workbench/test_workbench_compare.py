"""Runs beside each other: read from what the commands wrote, nothing computed anew."""

import csv
import json

import numpy as np
import pytest

from genmend.manifold.figures.image_grid import png
from genmend.workbench.commands.report import compare_runs, run_report
from genmend.workbench.pages.page import Answer, Comparison, Number, Picture, Section, write_report
from genmend.workbench.pages.written_run import read_run


def write_run(folder, title="genmend score: a against b", value=0.5, **totals):
    """A folder as a command leaves it."""
    folder.mkdir()
    summary = {
        "n_query": 10,
        "k": {"3": {"precision": value, "recall": 0.25}},
        "intervals": {"3": {"precision": [value - 0.1, value + 0.1]}},
        "usability": {"guide": 0.9},
        "usability_lower": {"guide": 0.8},
        "usability_upper": {"guide": 1.0},
        "share": 0.2,
        "share_interval": [0.1, 0.3],
        "methods": [{"method": "dga", "scores": {"AbPC": {"mean": 0.5, "half_width": 0.1}}}],
        "warnings": ["few"],
        "settings": {"k": [3], "seed": 0, "search": {"n_steps": 5}},
    }
    (folder / "summary.json").write_text(json.dumps(summary | totals))
    pixels = np.zeros((4, 6, 3), np.uint8)
    shown = Picture("Off the manifold", png(pixels))
    answer = Answer(
        f"{value:.0%} look <real>.",
        Number("Precision", f"{value:.1%}", "alike: 70 %"),
        pictures=[shown, Comparison("x", shown, shown)],
    )
    write_report(
        folder / "report.html", title, answer, [Section("More", [Picture("Not of the first screen", png(pixels))])]
    )
    return folder


def test_a_run_is_read_from_its_summary_and_its_page(tmp_path):
    run = read_run(write_run(tmp_path / "a"))
    assert (run.command, run.sentence) == ("score", "50% look <real>.")
    assert run.number == ("Precision", "50.0%", "alike: 70 %")
    assert [caption for caption, _ in run.pictures] == ["Off the manifold"] * 3
    figures = {name: (figure.value, figure.low, figure.high) for name, figure in run.figures().items()}
    assert figures == {
        "n query": (10, None, None),
        "precision, k = 3": (0.5, 0.4, 0.6),
        "recall, k = 3": (0.25, None, None),
        "usability, guide": (0.9, 0.8, 1.0),
        "share": (0.2, 0.1, 0.3),
        "methods, dga, scores, AbPC, mean": (0.5, 0.4, 0.6),
    }
    assert run.settings() == {"k": [3], "seed": 0, "search.n_steps": 5}


def test_runs_stand_beside_each_other(tmp_path):
    settings = {"k": [3], "seed": 1, "search": {"n_steps": 5}, "new": True}
    paths = [write_run(tmp_path / "a"), write_run(tmp_path / "b", value=0.9, settings=settings)]
    run_report(paths, tmp_path / "compared")
    page = (tmp_path / "compared" / "report.html").read_text()
    assert "2 runs of genmend score" in page
    assert "2 settings differ" in page
    assert page.count("look &lt;real&gt;.") == 2
    differing = page.partition("Settings that differ.")[2].partition("</table>")[0]
    assert 'class=" marked">0</td>' in differing
    assert 'class=" marked">1</td>' in differing
    assert "search.n_steps" not in differing
    # Of figures whose intervals have nothing in common; the others are as they are.
    table = page.partition("Figures of the summaries")[2].partition("</table>")[0]
    assert table.count("marked") == 2
    assert "0.9 [0.8,\N{NO-BREAK SPACE}1]" in table
    with (tmp_path / "compared" / "figures.csv").open() as file:
        rows = {(row["run"], row["figure"]): row for row in csv.DictReader(file)}
    assert rows[str(paths[1]), "precision, k = 3"]["high"] == "1.0"
    assert rows[str(paths[0]), "recall, k = 3"]["low"] == ""


def test_what_is_no_run_or_of_another_command_is_said_in_a_sentence(tmp_path):
    score, other = write_run(tmp_path / "a"), write_run(tmp_path / "b", title="genmend detect: faces")
    (tmp_path / "empty").mkdir()
    broken = write_run(tmp_path / "broken")
    (broken / "summary.json").write_text("{")
    edited = write_run(tmp_path / "edited", title="genmend speak: joe, edited", edits=[])
    spoken = write_run(tmp_path / "spoken", title="genmend speak: joe")
    foreign = write_run(tmp_path / "foreign", title="Something else")
    for paths, words in (
        ([score], "One run alone cannot be compared"),
        ([score, score], "A folder is given twice"),
        ([score, tmp_path / "none"], "none is no finished run of genmend"),
        ([score, tmp_path / "empty"], "empty is no finished run of genmend"),
        ([score, broken], "broken cannot be read"),
        ([score, foreign], "foreign holds no page of a command of genmend"),
        ([score, other], "a is of genmend score and .*b of genmend detect: put runs of one command"),
        ([spoken, edited], "genmend speak and .* of genmend speak --edit"),
    ):
        with pytest.raises(ValueError, match=words):
            compare_runs(paths)
    with pytest.raises(ValueError, match="which is one of the runs"):
        run_report([score, write_run(tmp_path / "c")], score)
    assert "Precision" in (score / "report.html").read_text()
