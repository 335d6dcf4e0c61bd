"""``genmend explain``: why a classifier gives images their classes, by every method that serves it."""

from __future__ import annotations

from pathlib import Path

from genmend.concepts.classifiers import load_classifier
from genmend.concepts.loop.explain_images import ExplainRun, explain_images
from genmend.concepts.settings import ExplainSettings
from genmend.storage.pieces import Work
from genmend.storage.tables import write_json, write_npz
from genmend.workbench.pages.concepts.explain import write_explain_page
from genmend.workbench.pages.page import need_packages

__all__ = ["run_explain"]


def run_explain(
    images: Path,
    out: Path,
    *,
    model: str = "mobilenet-v2",
    target: str = "",
    side: int = 224,
    device: str = "cpu",
    settings: ExplainSettings | None = None,
    resume: bool = True,
    progress: bool = True,
) -> ExplainRun:
    """Explain images with `genmend.concepts`, and write everything to `out`.

    Files: ``summary.json``, ``explanations.npz`` (method -> one number a pixel, ``(n, h, w)``), ``report.html``;
    ``work/`` holds what an interrupted run goes on from.
    """
    need_packages()
    classifier = load_classifier(model, side=side)
    work = Work(out / "work", resume, progress)
    run = explain_images(images, classifier, target=target, device=device, settings=settings, work=work)
    out.mkdir(parents=True, exist_ok=True)
    write_json(out / "summary.json", run.to_dict())
    write_npz(out / "explanations.npz", {each.method: each.attributions for each in run.explanations.explained})
    write_explain_page(out / "report.html", run)
    return run
