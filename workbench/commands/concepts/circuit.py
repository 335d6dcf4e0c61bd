"""``genmend circuit``: which units of a classifier make which for an image, and what they carry of its class."""

from __future__ import annotations

from pathlib import Path

from genmend.concepts.circuits.circuit_images import CircuitRun, circuits_of_images
from genmend.concepts.classifiers import gives_features, load_classifier
from genmend.concepts.labelled_classes import classifier_of_folders
from genmend.concepts.settings import CircuitSettings
from genmend.storage.pieces import Work
from genmend.storage.tables import write_json
from genmend.workbench.pages.concepts.circuits import write_circuit_page
from genmend.workbench.pages.page import need_packages

__all__ = ["run_circuit"]


def run_circuit(
    images: Path,
    out: Path,
    *,
    model: str = "mobilenet-v2",
    reference: Path | None = None,
    target: str = "",
    side: int = 224,
    device: str = "cpu",
    settings: CircuitSettings | None = None,
    resume: bool = True,
    progress: bool = True,
) -> CircuitRun:
    """Find the circuits of images with `genmend.concepts`, and write everything to `out`.

    Files: ``circuits.json``, ``circuit-0.graphml`` and on (an image each), ``report.html``; ``work/`` holds the index
    of the reference, which the next image with the same model and reference uses.
    """
    need_packages()
    kept = Work(out / "work", resume, progress)
    if gives_features(model):
        classifier = classifier_of_folders(model, images if reference is None else reference, device=device, work=kept)
    else:
        classifier = load_classifier(model, side=side)
    run = circuits_of_images(
        images,
        classifier,
        reference=reference,
        target=target,
        device=device,
        settings=settings,
        work=kept,
    )
    out.mkdir(parents=True, exist_ok=True)
    write_json(out / "circuits.json", run.to_dict())
    for number, found in enumerate(run.images):
        found.graph.save(out / f"circuit-{number}.graphml")
    write_circuit_page(out / "report.html", run)
    return run
