"""``genmend dissect``: what each unit of a generator stands for, and what it causes; tables, galleries and a report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from genmend.gans import Generator
from genmend.gans.dissection.concepts import Concepts
from genmend.gans.dissection.dissection import DissectRun, dissect
from genmend.gans.editing.unit_labels import labels_of_run, save_labels
from genmend.gans.settings import DissectSettings
from genmend.storage.atomic import whole_file
from genmend.storage.container import write_arrays
from genmend.storage.pieces import Work
from genmend.storage.tables import write_csv, write_json
from genmend.workbench.pages.gans.dissect import write_dissect_report, write_pages
from genmend.workbench.pages.page import need_packages

__all__ = ["run_dissect"]


def run_dissect(
    generator: Generator,
    out: Path,
    *,
    layers: Sequence[str] = (),
    settings: DissectSettings | None = None,
    concepts: Mapping[str, Concepts] | None = None,
    resume: bool = True,
    progress: bool = True,
) -> DissectRun:
    """Dissect with `genmend.gans.dissect`, and write everything to `out`.

    Files: ``units.csv``, ``units.safetensors`` (its labels, as the page of `genmend serve` reads them),
    ``iou.safetensors``, ``summary.json``, ``concepts.png``, ``report.html`` and ``pages/LAYER.html``; ``work/`` holds
    what an interrupted run goes on from. All are there once the units have their labels, and again after each cause
    that is tested.
    """
    need_packages()
    work = Work(out / "work", resume, progress)

    def write(run: DissectRun) -> None:
        _write_tables(out, run)
        save_labels(out / "units.safetensors", labels_of_run(run, generator))
        write_dissect_report(out / "report.html", run, generator)
        if not run.causal and not run.untested and run.artifact_units is None:  # the first time
            write_pages(out / "pages", run, generator, progress=progress)

    return dissect(generator, layers, settings=settings, concepts=concepts, work=work, finished=write)


def _write_tables(out: Path, run: DissectRun) -> None:
    out.mkdir(parents=True, exist_ok=True)
    write_csv(out / "units.csv", run.columns())
    tensors = {
        f"{layer}.{name}": value.contiguous()
        for layer, table in run.agreement.items()
        for name, value in vars(table).items()
        if value is not None
    }
    with whole_file(out / "iou.safetensors") as temporary:
        write_arrays(temporary, tensors, {"concepts": "\n".join(run.concepts)})
    write_json(out / "summary.json", run.to_dict())
    with whole_file(out / "concepts.png") as temporary:
        run.plot().savefig(temporary, dpi=110)
