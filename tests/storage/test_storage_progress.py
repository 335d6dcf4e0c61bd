"""How far long work is: lines a minute where there is no terminal."""

import re
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from genmend.storage.progress import counted, with_progress


def test_a_line_a_minute_says_how_much_is_done_and_left(monkeypatch, capsys):
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    for _ in with_progress(range(8), "masks", 8):
        now[0] += 40
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "masks: 2 of 8 done, about 4 min left"
    assert [line.split()[1] for line in lines[:-1]] == ["2", "4", "6"]
    assert lines[-1] == "masks: done in 5 min"


def test_short_or_hidden_work_says_nothing(monkeypatch, capsys):
    assert list(with_progress("abc", "letters", 3)) == ["a", "b", "c"]
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    for _ in with_progress(range(3), "hidden", 3, show=False):
        now[0] += 100
    assert capsys.readouterr().err == ""


def test_items_that_differ_are_estimated_by_what_each_takes(monkeypatch, capsys):
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    for seconds in with_progress([300, 60, 60], "methods", 3, costs=[300, 60, 60]):
        now[0] += 2 * seconds  # twice as slow as was thought
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "methods: 3 to do, about 7 min"
    assert lines[1] == "methods: 1 of 3 done, about 4 min left"


def test_a_notebook_has_a_bar(monkeypatch, capsys):
    shell = SimpleNamespace(get_ipython=lambda: SimpleNamespace(kernel=None))
    monkeypatch.setitem(sys.modules, "IPython", shell)
    monkeypatch.setattr("genmend.storage.progress.find_spec", lambda name: None)  # without widgets a bar of text
    with counted("steps", 4, done=1) as advance:
        advance(3)
    assert "steps" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: None))  # imported, but no notebook
    assert list(with_progress("ab", "letters", 2)) == ["a", "b"]
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("room", ["storage", "manifold", "gans", "diffusion", "tts", "concepts", "workbench"])
def test_nobody_else_draws_bars(room):
    """Bars in a log are one long line; what is shown is decided in one place (the sweep's own is silent)."""
    root = Path(__file__).parents[2] / room
    found = {path.name for path in root.rglob("*.py") if re.search(r"^\s*(from|import) tqdm", path.read_text(), re.M)}
    assert found <= {"progress.py", "native_screen.py"}
