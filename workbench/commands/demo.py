"""``genmend demo``: the main job on a real pretrained face generator, from nothing to a report."""

from __future__ import annotations

from pathlib import Path

from genmend.gans.demonstration import Demonstration, demonstrate
from genmend.gans.settings import DetectorSettings
from genmend.storage.atomic import write_bytes
from genmend.storage.pieces import Work
from genmend.storage.tables import write_csv, write_json
from genmend.storage.weights import fetch_weights
from genmend.workbench.pages.demo import before_after_picture, write_demo_report

__all__ = ["run_demo"]


def run_demo(
    out: Path,
    *,
    labels: Path | None = None,
    settings: DetectorSettings | None = None,
    seed: int = 0,
    resume: bool = True,
    progress: bool = True,
) -> Demonstration:
    """Do what `genmend.gans.demonstration.demonstrate` does, and write everything to `out`.

    Files: ``faces.correction.safetensors``, ``scores.csv``, ``before_after.png``, ``summary.json``, ``report.html``;
    ``work/`` holds what an interrupted run goes on from.
    """
    for name in ("faces", "efficientnet-lite0"):
        fetch_weights(name)
    file, work = out / "faces.correction.safetensors", Work(out / "work", resume, progress)
    run = demonstrate(file, labels=labels, settings=settings, seed=seed, work=work)
    write_csv(out / "scores.csv", run.detection.columns() | {"rung": run.result.rung})
    write_json(out / "summary.json", run.to_dict())
    broken = before_after_picture(run, run.most_broken)
    write_bytes(out / "before_after.png", broken)
    write_demo_report(out / "report.html", run, broken)
    return run
