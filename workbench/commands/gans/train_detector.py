"""``genmend train-detector``: learn from labels what is broken, and write a detector file with its report."""

from __future__ import annotations

from pathlib import Path

from genmend.gans import Generator, save_detector
from genmend.gans.detection.train_detector import TrainRun, train_detector
from genmend.gans.settings import TrainSettings
from genmend.storage.pieces import Work
from genmend.storage.tables import write_csv, write_json
from genmend.workbench.pages.gans.train_detector import write_train_detector_page
from genmend.workbench.pages.page import need_packages

__all__ = ["run_train_detector"]


def run_train_detector(
    out: Path,
    *,
    generator: Generator | None = None,
    labels: Path | None = None,
    good: Path | None = None,
    bad: Path | None = None,
    settings: TrainSettings | None = None,
    resume: bool = True,
    progress: bool = True,
) -> TrainRun:
    """Train with `genmend.gans.train_detector`, and write everything to `out`.

    Files: ``detector.safetensors``, ``scores.csv`` (of the labelled samples, each by a model that did not see it),
    ``summary.json`` with AUROC and curve, ``report.html``; ``work/`` holds what an interrupted run goes on from.
    """
    need_packages()
    work = Work(out / "work", resume, progress)
    run = train_detector(generator, labels=labels, good=good, bad=bad, settings=settings, work=work)
    out.mkdir(parents=True, exist_ok=True)
    save_detector(out / "detector.safetensors", run.detector)
    write_csv(out / "scores.csv", run.columns())
    write_json(out / "summary.json", run.to_dict())
    write_train_detector_page(out / "report.html", run)
    return run
