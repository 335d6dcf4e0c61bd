"""``genmend report``: runs of one command beside each other, from what they wrote."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from genmend.storage.tables import write_csv
from genmend.workbench.pages.written_run import WrittenRun, figure_columns, read_run

__all__ = ["compare_runs", "run_report"]


def compare_runs(paths: Sequence[Path]) -> list[WrittenRun]:
    """Read the runs; all have to be of one command.

    Raises
    ------
    ValueError
        If there are fewer than two, one is given twice, one is no run, or they are of several commands.
    """
    if len(paths) < 2:
        raise ValueError("One run alone cannot be compared: give two or more folders.")
    known = {path.resolve() for path in paths}
    if len(known) < len(paths):
        raise ValueError("A folder is given twice: give each run once.")
    runs = [read_run(path) for path in paths]
    first = runs[0]
    for run in runs[1:]:
        if run.command != first.command:
            raise ValueError(
                f"{first.path} is of genmend {first.command} and {run.path} of genmend {run.command}: put runs of one "
                "command beside each other."
            )
    return runs


def run_report(paths: Sequence[Path], out: Path) -> list[WrittenRun]:
    """Write ``report.html`` and ``figures.csv`` (a row for each run and figure) to `out`; nothing is computed anew."""
    from genmend.workbench.pages.report import write_comparison

    runs = compare_runs(paths)
    if out.resolve() in {run.path.resolve() for run in runs}:
        raise ValueError(f"--out is {out}, which is one of the runs: give another folder.")
    out.mkdir(parents=True, exist_ok=True)
    write_csv(out / "figures.csv", figure_columns(runs))
    write_comparison(out / "report.html", runs)
    return runs
