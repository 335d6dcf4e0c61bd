"""``genmend explore``: what the generator itself treats as alike, round queries, with tables, pictures and a report."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from genmend.gans import Generator
from genmend.gans.boundaries.explore import ExploreRun, explore
from genmend.gans.settings import ExploreSettings
from genmend.storage.pieces import Work
from genmend.storage.tables import write_csv, write_json, write_npz
from genmend.workbench.pages.gans.explore import write_explore_report

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["run_explore"]


def run_explore(
    generator: Generator,
    out: Path,
    *,
    latents: Tensor | None = None,
    n_queries: int = 4,
    settings: ExploreSettings | None = None,
    resume: bool = True,
    progress: bool = True,
    work: Path | None = None,
) -> ExploreRun:
    """Explore with `genmend.gans.explore`, and write everything to `out`.

    Files: ``queries.csv`` (a row a query), ``explored.npz`` (queries, masks, latents, rotated latents),
    ``summary.json``, ``report.html``; ``work/`` (or the folder `work`, which runs may share) holds what an interrupted
    run goes on from.
    """
    kept = Work(work or out / "work", resume, progress)
    run = explore(generator, latents, n_queries=n_queries, settings=settings, work=kept)
    out.mkdir(parents=True, exist_ok=True)
    write_npz(out / "explored.npz", run.arrays())
    write_csv(out / "queries.csv", run.columns())
    write_json(out / "summary.json", run.to_dict())
    write_explore_report(out / "report.html", run.to_dict(), run.queries, generator)
    return run
