"""``genmend report``: runs beside each other."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from genmend.workbench.cli.options import MEASURE, Out, note

__all__ = ["commands"]

commands = typer.Typer()


@commands.command(rich_help_panel=MEASURE, epilog="Example: genmend report found-a found-b --out compared")
def report(
    runs: Annotated[list[Path], typer.Argument(help="Two or more folders that one command wrote with other settings.")],
    out: Out = Path("compared"),
) -> None:
    """Runs of one command beside each other: figures, settings that differ, pictures."""
    from genmend.workbench.commands.report import run_report
    from genmend.workbench.pages.report import comparison_answer

    compared = run_report(runs, out)
    note(comparison_answer(compared).in_words())
    note("\n".join(f"{run.path}: {run.number[0]} {run.number[1]}" for run in compared if run.number[1]))
    note(f"Report: {out / 'report.html'}")
