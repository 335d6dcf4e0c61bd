"""The page of ``genmend report``: what each run says, its figures beside the others', what differs, pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from genmend.workbench.pages.blocks import cell_text
from genmend.workbench.pages.page import Answer, Beside, Picture, Section, Table, write_report
from genmend.workbench.pages.written_run import Figure, WrittenRun

__all__ = ["comparison_answer", "write_comparison"]

LONGEST = 60  # characters of a setting


def write_comparison(path: Path, runs: Sequence[WrittenRun]) -> None:
    """Write the page."""
    names = [str(run.path) for run in runs]
    figures = [run.figures() for run in runs]
    settings = [run.settings() for run in runs]
    differing = _rows(settings, lambda values: len(set(map(repr, values))) > 1)
    same = _rows(settings, lambda values: len(set(map(repr, values))) == 1)
    marked = {(row, column) for row in range(len(differing)) for column in range(1, len(names) + 1)}
    captions = "Settings that differ." if differing else "No setting differs."
    pictures = [
        (str(run.path), [Picture(caption or run.command, png) for caption, png in run.pictures]) for run in runs
    ]
    sections = [
        Section("Figures", [_figures(names, figures)]),
        Section("Settings", [Table(captions, ["setting", *names], differing, marked=marked)] if differing else []),
        Section("Settings that are the same", [Table("", ["setting", *names], same)], True),
    ]
    if any(shown for _, shown in pictures):
        sections.insert(0, Section("Pictures", [Beside("What the first screen of each run shows.", pictures)]))
    write_report(
        path, f"genmend report: {len(runs)} runs of genmend {runs[0].command}", comparison_answer(runs), sections
    )


def comparison_answer(runs: Sequence[WrittenRun]) -> Answer:
    """What is compared; the first sentence and number of each run in a table."""
    rows = [[str(run.path), run.number[1] or None, run.number[2] or None, run.sentence] for run in runs]
    named = next((run.number[0] for run in runs if run.number[0]), "number")
    table = Table("What each run says.", ["run", named, "beside", "in words"], rows)
    n_differ = len(_rows([run.settings() for run in runs], lambda values: len(set(map(repr, values))) > 1))
    words = (
        "no setting differs" if not n_differ else f"{n_differ} settings differ" if n_differ > 1 else "1 setting differs"
    )
    names = [str(run.path) for run in runs]
    listed = f"{', '.join(names[:-1])} and {names[-1]}"
    return Answer(f"{len(runs)} runs of genmend {runs[0].command}: {listed}; {words}.", pictures=[table])


def _rows(settings: Sequence[Mapping[str, Any]], chosen: Any) -> list[list[str]]:
    names = dict.fromkeys(name for one in settings for name in one)
    rows = []
    for name in names:
        values = [one.get(name, "\N{EN DASH}") for one in settings]
        if chosen(values):
            rows.append([name, *(_short(cell_text(value, exact=True)) for value in values)])
    return rows


def _short(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}\N{HORIZONTAL ELLIPSIS}"


def _figures(names: Sequence[str], figures: Sequence[Mapping[str, Figure]]) -> Table:
    rows, marked = [], set()
    text = any(figure.low is not None for one in figures for figure in one.values())  # then all begin at the left
    for row, name in enumerate(dict.fromkeys(name for one in figures for name in one)):
        found = [one.get(name) for one in figures]
        rows.append([name, *(_cell(figure, text) for figure in found)])
        if _apart(found):
            marked |= {(row, column) for column in range(1, len(names) + 1)}
    caption = (
        "Figures of the summaries; in brackets intervals, where the command has them. Marked: the intervals of two "
        "runs have nothing in common."
    )
    return Table(caption, ["figure", *names], rows, searchable=True, marked=marked)


def _cell(figure: Figure | None, text: bool) -> Any:
    if figure is None or figure.value is None:
        return None
    if figure.low is None or figure.high is None:
        return cell_text(figure.value) if text else figure.value
    return f"{cell_text(figure.value)} [{cell_text(figure.low)},\N{NO-BREAK SPACE}{cell_text(figure.high)}]"


def _apart(found: Sequence[Figure | None]) -> bool:
    """Whether the interval of one run ends before that of another begins."""
    lows = [figure.low for figure in found if figure is not None and figure.low is not None]
    highs = [figure.high for figure in found if figure is not None and figure.high is not None]
    return min(len(lows), len(highs)) > 1 and max(lows) > min(highs)
