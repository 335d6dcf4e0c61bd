"""``genmend demo``: the main job on a real pretrained face generator, from nothing to a report."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score
from torch import Tensor

from genmend.activations import Correction, edited, load_correction, save_correction
from genmend.gans import ArtifactDetector, Corrected, Detection, Generator, corrected, fit_correction
from genmend.gans.detection.detect import DetectorSettings, fit_detector, measure_samples
from genmend.gans.detection.labelled_samples import load_labelled
from genmend.gans.detection.soft_logistic import cross_validated_scores
from genmend.gans.families.pretrained import load_faces
from genmend.storage.pieces import Work
from genmend.storage.tables import write_csv, write_json
from genmend.storage.weights import fetch_weights
from genmend.workbench.pages.charts import ladder_chart, roc_chart, score_histogram
from genmend.workbench.pages.correct import before_after_grid
from genmend.workbench.pages.page import Facts, Figure, Paragraph, Picture, Section, Table, write_report

__all__ = ["DemoRun", "run_demo"]

N_SAMPLES, N_SHOWN = 2_000, 16


@dataclass(frozen=True)
class DemoRun:
    """Result of ``genmend demo``."""

    detection: Detection
    result: Corrected
    reloaded_equal: bool
    labelled: dict[str, float]
    settings: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """JSON's view, as in ``summary.json``."""
        changed = self.result.changed
        inside = {
            "before": float((self.result.manifold_before[changed] <= 1).mean()) if changed.any() else None,
            "after": float((self.result.manifold_after[changed] <= 1).mean()) if changed.any() else None,
        }
        return {
            "detection": self.detection.to_dict(),
            "correction": self.result.to_dict(),
            "corrected_samples_inside_normal_manifold": inside,
            "reloaded_correction_gives_equal_images": self.reloaded_equal,
            "auroc_against_labels": self.labelled,
            "settings": self.settings,
        }


def run_demo(
    out: Path,
    *,
    labels: Path | None = None,
    settings: DetectorSettings | None = None,
    seed: int = 0,
    resume: bool = True,
    progress: bool = True,
) -> DemoRun:
    """Sample, detect, correct, save, load again, compare, report.

    Parameters
    ----------
    out : Path
        Gets ``faces.correction.safetensors``, ``scores.csv``, ``before_after.png``, ``summary.json``, ``report.html``.
    labels : Path, optional
        Folder with ``latents.npy`` and ``labels.csv`` (columns rater_a, rater_b: 0 normal to 2 clear artifact): the ROC
        curves are drawn against them. They are used for nothing else.
    """
    for name in ("faces", "efficientnet-lite0"):
        fetch_weights(name)
    settings = settings or DetectorSettings()
    generator, work = load_faces(), Work(out / "work", resume, progress)
    detector = fit_detector(generator, settings, work)
    latents = generator.latents(N_SAMPLES, seed)
    features, counts = measure_samples(generator, detector, latents, work)
    detection = detector.score_measured(features, counts)
    correction = fit_correction(generator, detector, progress=progress)
    path = out / "faces.correction.safetensors"
    save_correction(path, correction)
    result = corrected(generator, correction)(latents, features=features, progress=progress)
    reloaded_equal = _reloaded_equal(generator, correction, path, latents[detection.flagged][:64])
    scores, truth = _against_labels(generator, detector, labels, work)
    used = asdict(settings) | {"n_samples": N_SAMPLES, "sample_seed": seed, "correction": correction.facts}
    run = DemoRun(
        detection,
        result,
        reloaded_equal,
        {name: float(roc_auc_score(truth, values)) for name, values in scores.items()},
        used,
    )
    write_csv(out / "scores.csv", detection.columns() | {"rung": result.rung})
    write_json(out / "summary.json", run.to_dict())
    _write_demo_report(out, run, generator, correction, latents, scores, truth)
    return run


def _reloaded_equal(generator: Generator, correction: Correction, path: Path, latents: Tensor) -> bool:
    """Whether the saved file does on a fresh copy of the model exactly what the correction did on this one."""
    fresh, loaded = load_faces(), load_correction(path)
    last = len(loaded.ladder) - 1
    with edited(fresh.module, loaded, rung=last):
        fixed = fresh.generate(latents)
    with edited(generator.module, correction, rung=last):
        wanted = generator.generate(latents)
    gated, gated_wanted = corrected(fresh, loaded)(latents), corrected(generator, correction)(latents)
    same_rungs = bool((gated.rung == gated_wanted.rung).all())
    return torch.equal(fixed, wanted) and torch.equal(gated.images, gated_wanted.images) and same_rungs


def _against_labels(
    generator: Generator, detector: ArtifactDetector, folder: Path | None, work: Work
) -> tuple[dict[str, NDArray[np.float64]], NDArray[np.bool_]]:
    """Scores of the consensus samples (both raters 0 or both 2) and which are artifacts; empty without labels."""
    if folder is None:
        return {}, np.zeros(0, dtype=bool)
    labelled = load_labelled(folder, generator)
    features, counts = measure_samples(generator, detector, labelled.latents, work)
    found = detector.score_measured(features, counts)
    supervised = cross_validated_scores(
        detector.supervised_inputs(features, counts), labelled.share, regularisation=1e-3
    )
    agreed = labelled.normal | labelled.broken
    scores = {
        "rare activation (no labels)": found.rare_activation,
        "distance to normal (no labels)": found.distance_to_normal,
        "combined (no labels)": found.combined,
        "supervised (labels, 5-fold)": supervised,
    }
    return {name: values[agreed] for name, values in scores.items()}, labelled.broken[agreed]


def _write_demo_report(
    out: Path,
    run: DemoRun,
    generator: Generator,
    correction: Correction,
    latents: Tensor,
    scores: dict[str, NDArray[np.float64]],
    truth: NDArray[np.bool_],
) -> None:
    detection, result, totals = run.detection, run.result, run.to_dict()
    order = np.argsort(-detection.combined, kind="stable")
    middle = len(order) // 2

    def grid(rows: NDArray[np.int64]) -> bytes:
        chosen = torch.from_numpy(rows.copy())
        images = result.before[chosen], result.images[chosen]
        return before_after_grid(generator, correction, latents[chosen], *images, result.rung[rows])

    broken, normal = grid(order[:N_SHOWN]), grid(order[middle : middle + N_SHOWN])
    (out / "before_after.png").write_bytes(broken)
    counts = {name: values for name, values in totals["correction"].items() if not isinstance(values, dict)}
    changed = result.changed
    manifold = {"before": result.manifold_before[changed], "after": result.manifold_after[changed]}
    gate = {"before": result.gate_before, "after": result.gate_after}
    sections = [
        Section(
            "Before and after",
            [
                Picture(f"The {N_SHOWN} most broken of {N_SAMPLES}: before, where neurons were switched off (brighter "
                        "= more of them), after.", broken),
                Picture(f"{N_SHOWN} normal ones, from the middle of the ranking: the gate leaves them alone.", normal),
            ],
        ),
        Section(
            "Which samples are broken",
            [
                Figure("Combined score; what lies right of the line is flagged.",
                       score_histogram({"samples": detection.combined}, "combined score", detection.threshold)),
                *([Figure("Against the labels of two raters, clear artifact for both against normal for both.",
                          roc_chart(scores, truth))] if scores else [Paragraph("No labels were given: no ROC curve.")]),
            ],
        ),
        Section(
            "What the correction did",
            [
                Figure("The rung of the ladder that was taken.",
                       ladder_chart(result.to_dict()["n_by_rung"], len(correction.ladder), int(result.given_up.sum()))),
                Figure("Gate score of all samples, higher = more broken.",
                       score_histogram(gate, "gate score", correction.gate.threshold if correction.gate else None)),
                *([Figure("Distance / radius in the model's own normal manifold, corrected samples only; at most 1 is "
                          "inside.", score_histogram(manifold, "distance / radius", 1.0))] if changed.any() else []),
                Table("Totals", ["what", "value"], list(counts.items())),
            ],
        ),
        Section("Settings", [Facts("Exactly what this run used", totals)]),
    ]  # fmt: skip
    write_report(
        out / "report.html",
        "genmend demo: finding and mending the artifacts of a face generator",
        f"Of {N_SAMPLES} samples {int(detection.flagged.sum())} are flagged as broken; {int(changed.sum())} were "
        f"corrected, {int(result.given_up.sum())} given up, the rest left untouched bit for bit. The correction file, "
        f"loaded onto a fresh copy of the model, gives {'equal' if run.reloaded_equal else 'DIFFERENT'} images.\n\n"
        "Normal means: like the model's own normal samples, not like photographs.",
        sections,
    )
