"""``genmend detect``: score latents of a generator, flag the broken samples, write tables and a report."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from genmend.gans import Generator, save_detector
from genmend.gans.detection.detect import DetectRun, detect
from genmend.gans.settings import DetectorSettings
from genmend.storage.pieces import Work
from genmend.storage.tables import write_csv, write_json
from genmend.workbench.pages.gans.detect import write_detect_page

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["run_detect"]


def run_detect(
    generator: Generator,
    latents: Tensor,
    out: Path,
    *,
    detector_file: Path | None = None,
    normal: Path | None = None,
    settings: DetectorSettings | None = None,
    threshold: float | None = None,
    resume: bool = True,
    progress: bool = True,
) -> DetectRun:
    """Score and flag with `genmend.gans.detect`, and write everything to `out`.

    Files: ``scores.csv``, ``manifold.csv``, ``detector.safetensors``, ``summary.json``, ``report.html``; ``work/``
    holds what an interrupted run goes on from.
    """
    work = Work(out / "work", resume, progress)
    run = detect(
        generator,
        latents,
        detector=detector_file,
        normal=normal,
        settings=settings,
        threshold=threshold,
        work=work,
    )
    out.mkdir(parents=True, exist_ok=True)
    save_detector(out / "detector.safetensors", run.detector)
    write_csv(out / "scores.csv", run.detection.columns())
    write_csv(out / "manifold.csv", {"inside": run.detection.inside, "rarity": run.detection.rarity})
    write_json(out / "summary.json", run.to_dict())
    write_detect_page(out / "report.html", run, generator, latents)
    return run
