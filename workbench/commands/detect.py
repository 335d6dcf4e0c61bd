"""``genmend detect``: score latents of a generator, flag the broken samples, write tables and a report."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from torch import Tensor

from genmend.gans import Generator, load_detector, save_detector
from genmend.gans.detection.kept_detector import DetectorSettings, DetectRun, check_detector, fitted_detector, measured
from genmend.storage.tables import write_csv, write_json
from genmend.workbench.pages.detect import write_detect_page

__all__ = ["run_detect"]


def run_detect(
    generator: Generator,
    latents: Tensor,
    out: Path,
    *,
    detector_file: Path | None = None,
    settings: DetectorSettings | None = None,
    threshold: float | None = None,
    resume: bool = True,
    progress: bool = True,
) -> DetectRun:
    """Score, flag, and write everything to `out`.

    Files: ``scores.csv``, ``manifold.csv``, ``detector.safetensors``, ``summary.json``, ``report.html``; ``work/``
    holds what an interrupted run goes on from.
    """
    settings = settings or DetectorSettings()
    work = out / "work"
    if detector_file is None:
        detector = fitted_detector(generator, work, settings, resume=resume, progress=progress)
    else:
        detector = load_detector(detector_file)
        check_detector(detector, generator)
    if threshold is not None:
        detector.threshold_ = threshold
    detection = detector.score_measured(*measured(generator, detector, latents, work, resume=resume, progress=progress))
    used = asdict(settings) | {"threshold": detector.threshold_, "detector_file": str(detector_file or "")}
    run = DetectRun(generator.name, detection, used)
    out.mkdir(parents=True, exist_ok=True)
    save_detector(out / "detector.safetensors", detector)
    write_csv(out / "scores.csv", detection.columns())
    write_csv(out / "manifold.csv", {"inside": detection.inside, "rarity": detection.rarity})
    write_json(out / "summary.json", run.to_dict())
    write_detect_page(out / "report.html", run, generator, latents)
    return run
