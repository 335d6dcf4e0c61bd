"""``genmend regions``: what a layer takes for alike: a query's region, or kinds of flagged samples."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from genmend.concepts.regions.samples import RegionSamples, RegionsRun, find_regions
from genmend.concepts.settings import RegionsSettings
from genmend.gans.generator import generator_facts
from genmend.storage.digests import sha256_of_array
from genmend.storage.leftovers import remove_others
from genmend.storage.pieces import Work
from genmend.storage.tables import write_csv, write_json, write_npy
from genmend.workbench.pages.concepts.regions import write_regions_page
from genmend.workbench.pages.page import need_packages
from genmend.workbench.pages.pictures import shown_images

if TYPE_CHECKING:
    from torch import Tensor

    from genmend.gans import Generator

__all__ = ["latent_samples", "run_regions"]


def latent_samples(generator: Generator, latents: Tensor) -> RegionSamples:
    """Latents as a generator sees them, whose samples all have their parts in the same places."""
    checked = generator.checked_latents(latents)
    return RegionSamples(
        generator.name,
        generator.module,
        [str(number) for number in range(len(checked))],
        lambda numbers: checked[list(numbers)],
        generator.output,
        lambda numbers: shown_images(generator, checked[list(numbers)]),
        [sorted(generator_facts(generator).items()), sha256_of_array(checked)],
        generator.layers[len(generator.layers) // 3] if generator.layers else "",
        False,
        latents=checked,
    )


def run_regions(
    samples: RegionSamples,
    out: Path,
    *,
    query: str = "",
    flagged: Path | None = None,
    settings: RegionsSettings | None = None,
    resume: bool = True,
    progress: bool = True,
) -> RegionsRun:
    """Find regions with `genmend.concepts.regions`, and write everything to `out`.

    Files: ``summary.json``, ``samples.csv`` (a row a sample: whether it was held out, and which regions it is in),
    ``report.html``; of a generator ``kinds/kind-1.npy`` and so on, the flagged latents of each kind beyond chance, to
    be corrected by themselves; ``work/`` holds what an interrupted run goes on from.
    """
    need_packages()
    work = Work(out / "work", resume, progress)
    run = find_regions(samples, query=query, flagged=flagged, settings=settings, work=work)
    out.mkdir(parents=True, exist_ok=True)
    _write_kinds(out / "kinds", run)
    write_csv(out / "samples.csv", run.columns())
    write_json(out / "summary.json", run.to_dict())
    write_regions_page(out / "report.html", run)
    return run


def _write_kinds(folder: Path, run: RegionsRun) -> None:
    files = {}
    if run.kinds is not None and run.samples.latents is not None:
        latents, sure = run.samples.latents, enumerate(run.kinds.beyond_chance, start=1)
        files = {f"kind-{number}.npy": latents[kind.all_flagged].numpy() for number, kind in sure}
    for name, rows in files.items():
        folder.mkdir(exist_ok=True)
        write_npy(folder / name, rows)
    remove_others(folder, "kind-*.npy", files)
