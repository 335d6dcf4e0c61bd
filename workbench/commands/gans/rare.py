"""``genmend rare``: diverse rare versions of reference latents, with tables, pictures and a report."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from genmend.gans import Generator
from genmend.gans.rare import RareSamples, save_density
from genmend.gans.rare.find import RareRun, find_rare
from genmend.gans.settings import RareSettings
from genmend.storage.leftovers import remove_others
from genmend.storage.pieces import Work
from genmend.storage.tables import write_csv, write_json, write_npy, write_npz
from genmend.workbench.pages.gans.rare import write_rare_report
from genmend.workbench.pages.pictures import write_images

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["run_rare"]


def run_rare(
    generator: Generator,
    out: Path,
    *,
    latents: Tensor | None = None,
    n_references: int = 16,
    normal: Path | None = None,
    settings: RareSettings | None = None,
    resume: bool = True,
    progress: bool = True,
) -> RareRun:
    """Search with `genmend.gans.find_rare`, and write everything to `out`.

    Files: ``rare.csv`` (a row a version), ``rare.npz`` (all arrays), ``latents.npy`` (of the versions found, in the
    order of the table), ``images/``, ``density.safetensors``, ``summary.json``, ``report.html``; ``work/`` holds what
    an interrupted run goes on from.
    """
    work = Work(out / "work", resume, progress)
    run = find_rare(generator, latents, n_references=n_references, normal=normal, settings=settings, work=work)
    samples = run.samples
    out.mkdir(parents=True, exist_ok=True)
    save_density(out / "density.safetensors", run.space.density)
    write_npz(out / "rare.npz", samples.arrays())
    write_npy(out / "latents.npy", samples.latents[samples.found])
    write_csv(out / "rare.csv", samples.columns())
    write_json(out / "summary.json", run.to_dict())
    references, found = _write_images(out / "images", samples, generator)
    own = run.own_log_prob, run.space.own_rarity
    write_rare_report(out / "report.html", run.to_dict(), samples, references, found, *own)
    return run


def _write_images(folder: Path, samples: RareSamples, generator: Generator) -> tuple[Tensor, Tensor]:
    """``reference_000.png`` and, for what was found, ``reference_000_rare_0.png``; returned as the page shows them."""
    rows = [row for row, found_it in enumerate(samples.found) if found_it]
    references = [f"reference_{row:03d}.png" for row in range(samples.n_references)]
    found = [f"reference_{row // samples.n_versions:03d}_rare_{row % samples.n_versions}.png" for row in rows]
    remove_others(folder, "reference_*.png", {*references, *found})
    folder.mkdir(parents=True, exist_ok=True)
    shown = write_images(folder, references, generator, samples.reference_latents)
    return shown, write_images(folder, found, generator, samples.latents[samples.found]) if found else shown[:0]
