"""The pages of docs/results: each is what its experiment writes from the results that are committed."""

from pathlib import Path

import pytest

from experiments.markdown import estimate, number, table
from experiments.pages import (
    DOCS,
    PAGES,
    ROOT,
    SPEED,
    SUMMARIES,
    file_stem,
    index_text,
    main,
    page_text,
    results_folder,
    shown_pictures,
    write_page,
)
from experiments.speed_page import speed_text


@pytest.mark.parametrize("name", [*PAGES, *SUMMARIES])
def test_the_committed_page_is_what_its_results_say(name):
    assert page_text(name) == (DOCS / f"{file_stem(name)}.md").read_text(encoding="utf-8")


def test_the_index_lists_every_page():
    assert index_text() == (DOCS / "index.md").read_text(encoding="utf-8")


def test_the_page_on_speed_is_what_the_benchmarks_left():
    assert speed_text() == SPEED.read_text(encoding="utf-8")


def test_every_result_file_has_a_page_and_every_page_an_experiment():
    folders = {path.parent for path in ROOT.glob("experiments/*/results/*/results.json")}
    assert folders == {results_folder(name) for name in PAGES}
    assert {path.stem for path in DOCS.glob("*.md")} == {file_stem(name) for name in (*PAGES, *SUMMARIES)} | {"index"}
    for name in PAGES:
        script = (ROOT / "experiments" / f"{name}.py").read_text(encoding="utf-8")
        assert f'write_page("{name}")' in script


def test_pictures_are_those_of_the_results_and_no_others_are_kept():
    for name in PAGES:
        shown = shown_pictures((DOCS / f"{file_stem(name)}.md").read_text(encoding="utf-8"))
        for path in shown:
            assert (DOCS / path).read_bytes() == (results_folder(name) / Path(path).name).read_bytes()
        kept = {path.name for path in results_folder(name).glob("*.png")}
        assert kept == {Path(path).name for path in shown}
        assert {path.name for path in (DOCS / file_stem(name)).glob("*")} == kept


def test_a_page_is_written_with_its_pictures(tmp_path):
    page = write_page("images/sets", tmp_path)
    assert page.read_text(encoding="utf-8") == page_text("images/sets")
    pictures = shown_pictures(page_text("images/sets"))
    assert pictures
    assert all((tmp_path / path).is_file() for path in pictures)


def test_an_unknown_page_is_refused(monkeypatch):
    monkeypatch.setattr("sys.argv", ["pages", "faces/nothing"])
    with pytest.raises(SystemExit, match="no experiment 'faces/nothing'"):
        main()


def test_numbers_are_rounded_and_have_no_negative_zero():
    assert number(-0.0004, 3, sign=True) == "0.000"
    assert number(0.25, 2, sign=True) == "+0.25"
    assert number(None) == "-"
    assert estimate(0.12, (-0.1, 0.3456), 2, sign=True) == "+0.12 [-0.10, +0.35]"
    assert table(("a", "b"), [(1, "x|y")]) == "| a | b |\n| --- | --- |\n| 1 | x\\|y |"


def test_experiments_import_the_library_alone():
    for path in ROOT.glob("experiments/**/*.py"):
        assert "genmend.workbench" not in path.read_text(encoding="utf-8"), path
