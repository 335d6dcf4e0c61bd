"""The page of ``genmend detect``, and the words for thresholds that ``genmend correct`` has too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from genmend.gans import Generator
from genmend.gans.detection.artifact_detector import MOST_BEYOND, ArtifactDetector
from genmend.gans.detection.detect import DetectRun
from genmend.gans.detection.majority_trust import in_words
from genmend.workbench.pages.charts import score_histogram
from genmend.workbench.pages.gans.train_detector import training_in_words
from genmend.workbench.pages.page import (
    Facts,
    Figure,
    Paragraph,
    Picture,
    Section,
    Table,
    warning_sections,
    write_report,
)
from genmend.workbench.pages.pictures import gallery, shown_images

__all__ = ["found_in_words", "threshold_choices", "write_detect_page"]

_NAMES = {
    "top 5 %": "a fixed 5 % of the model's own samples",
    "default": "the default: where 1 in 20 looks normal, or as many as may be broken, up to a fifth",
    "wide": "wide: 1 in 5",
    "widest": "widest: 1 in 2",
    "in use": "in use",
}


def write_detect_page(path: Path, run: DetectRun, generator: Generator, latents: Tensor) -> None:
    """Write the page: the most and the least broken samples, the scores, the settings."""
    detection = run.detection
    order = np.argsort(-detection.combined, kind="stable")
    shown = min(24, len(order))
    worst, best = order[:shown].copy(), order[::-1][:shown].copy()
    blocks = [
        Picture(f"{title}: rows {', '.join(map(str, rows))}", gallery(shown_images(generator, latents[rows])))
        for title, rows in (("The most broken", worst), ("The least broken", best))
    ]
    scores = {run.model: detection.combined}
    histogram = score_histogram(scores, "combined score (higher = more broken)", detection.threshold)
    totals = run.to_dict()
    found = totals["evidence"]
    choices = [] if found is None else [threshold_choices(found["thresholds"], "--threshold", "flags")]
    write_report(
        path,
        f"genmend detect: {run.model}",
        f"{int(detection.flagged.sum())} of {len(order)} samples are flagged as broken (combined score above "
        f"{detection.threshold:.3g}). {found_in_words(found)}\n\n{_normal(run)}",
        [
            *warning_sections(run.to_dict()["probe"]),
            Section("Samples", blocks),
            Section(
                "Scores",
                [
                    Figure("Combined score of all samples.", histogram),
                    *choices,
                    Paragraph("Per sample: scores.csv."),
                ],
            ),
            Section("Settings", [Facts("What this run used", totals)]),
        ],
    )


def _normal(run: DetectRun) -> str:
    """What normal means here, and whether that can be trusted."""
    detector = run.detector
    if run.majority is not None:
        return (
            "Normal means: like the model's own normal samples, not like photographs.\n\n"
            f"{in_words(run.majority.to_dict())}"
        )
    if detector.supervised_ is not None:
        training = detector.training_
        how_well = "" if training is None else f": {training_in_words(training)}"
        return f"Broken means: as in the labels that the detector was trained on{how_well}."
    assert isinstance(detector, ArtifactDetector)
    n, beyond = len(detector.manifold_.reference_), detector.beyond_normal_ or 0.0
    text = (
        f"Normal means: like the {n} normal images that were given. {beyond:.0%} of the model's own samples are more "
        "unlike them than all but 5 % of them are."
    )
    if beyond > MOST_BEYOND:
        text += (
            " The images are of another kind than the model's, so the half of its samples most unlike them is flagged: "
            "trust the ranking, not the number."
        )
    return text


def threshold_choices(rows: Sequence[Mapping[str, Any]], option: str, verb: str) -> Table:
    """A table of thresholds; `option` sets one, `verb` says what is done to flagged samples."""
    caption = (
        f"What each threshold does to these samples; {option} sets one. How many look normal is estimated from the "
        "lower half of the own samples' scores, mirrored: no label is behind it."
    )
    table = []
    for row in rows:
        used = "in use: " if row["in_use"] and row["name"] != "in use" else ""
        against = "as now" if row["in_use"] else _against(row, verb)
        table.append([used + _NAMES[row["name"]], row["threshold"], row["flagged"], row["normal"], against])
    return Table(caption, ["threshold", "score", "flagged", "of these look normal, about", "against now"], table)


def _against(row: Mapping[str, Any], verb: str) -> str:
    more, normal = row["more"], row["more_normal"]
    if not more and not normal:
        return "as now"
    words = f"{verb} {abs(more)} {'more' if more >= 0 else 'fewer'}"
    return f"{words}, touches {abs(normal)} {'more' if normal >= 0 else 'fewer'} that look normal"


def found_in_words(found: Mapping[str, Any] | None) -> str:
    """Whether the model's own samples have a heavier tail than chance, how sure, and which score spoke."""
    if found is None:
        return ""
    low, high = found["broken_share_interval"]
    if not found["heavier_than_chance"]:
        said = (
            "No sign of broken samples: the scores of the model's own samples have no heavier tail than chance (beyond "
            f"it: {_percent(found['broken_share'])}, 95 % interval {_percent(low)} to {_percent(high)})."
        )
        if found["share_is_a_setting"] is not None:
            said += f" That {_percent(found['share_is_a_setting'])} of them are flagged is a setting, not a finding."
        return said
    said = (
        f"About {_percent(found['broken_share'])} of the model's own samples look worse than chance explains (95 % "
        f"interval {_percent(low)} to {_percent(high)})."
    )
    if found["share_is_a_setting"] is not None:
        said += f" That {_percent(found['share_is_a_setting'])} are flagged is a setting, not a finding."
    speaks = {
        "both": "Both signs speak: neurons that are rarely active, and distance from the model's normal samples.",
        "rare activation": "Mostly rarely active neurons speak, less the distance from the model's normal samples.",
        "distance": "Mostly the distance from the model's normal samples speaks, less the rarely active neurons.",
    }
    return f"{said} {speaks[found['speaks']]}"


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"
