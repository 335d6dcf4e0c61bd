"""The page of ``genmend detect``, and the words for thresholds that ``genmend correct`` has too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from genmend.gans import Generator
from genmend.gans.detection.artifact_detector import MOST_BEYOND, ArtifactDetector, Detection
from genmend.gans.detection.detect import DetectRun
from genmend.gans.detection.majority_trust import in_words
from genmend.manifold.figures.series_histogram import series_histogram
from genmend.workbench.pages.gans.train_detector import training_in_words
from genmend.workbench.pages.page import (
    Answer,
    Facts,
    Figure,
    Number,
    Paragraph,
    Section,
    Table,
    warning_sections,
    write_report,
)
from genmend.workbench.pages.pictures import shown_images, thumbnails

__all__ = ["detect_answer", "found_in_words", "threshold_choices", "write_detect_page"]

N_SHOWN = 16
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
    worst, best = order[:N_SHOWN].copy(), order[::-1][:N_SHOWN].copy()
    broken, normal = (
        thumbnails(title, shown_images(generator, latents[rows]), [_label(detection, row) for row in rows])
        for title, rows in (("Scored most broken.", worst), ("Scored least broken.", best))
    )
    scores = {run.model: detection.combined}
    histogram = series_histogram(scores, "combined score (higher = more broken)", detection.threshold)
    totals = run.to_dict()
    found = totals["evidence"]
    choices = [] if found is None else [threshold_choices(found["thresholds"], "--threshold", "flags")]
    write_report(
        path,
        f"genmend detect: {run.model}",
        replace(detect_answer(run), pictures=[broken]),
        [
            *warning_sections(totals["probe"]),
            Section("The least broken", [normal], True),
            Section(
                "Scores and thresholds",
                [Figure("Combined score of all samples.", histogram), *choices, Paragraph("Per sample: scores.csv.")],
                True,
            ),
            Section("Settings", [Facts("What this run used", totals)], True),
        ],
    )


def _label(detection: Detection, row: int) -> str:
    return f"{detection.combined[row]:.2f}, row {row}"


def detect_answer(run: DetectRun) -> Answer:
    """Whether there is a sign of broken samples at all, first; then how many of these are flagged."""
    detection, found = run.detection, run.to_dict()["evidence"]
    n, flagged = len(detection.combined), int(detection.flagged.sum())
    finding, *rest = [""] if found is None else found_in_words(found).split("\n")
    said = f"{flagged} of these {n} samples are flagged as broken."
    normal = next((row["normal"] for row in found["thresholds"] if row["in_use"]), None) if found else None
    known = "" if normal is None else f"about {normal} of the flagged look normal; "
    majority = None if run.majority is None else run.majority.to_dict()
    doubts = [in_words(majority)] if majority and majority["doubted"] else []
    return Answer(
        f"{finding} {said}".strip(),
        Number("Flagged", f"{flagged} of {n}", f"{known}score above {detection.threshold:.3g}"),
        doubts,
        more="\n\n".join([*rest, _normal(run)]),
    )


def _normal(run: DetectRun) -> str:
    """What normal means here, and whether that can be trusted."""
    detector = run.detector
    if run.majority is not None:
        trust = run.majority.to_dict()
        told = "" if trust["doubted"] else f"\n\n{in_words(trust)}"  # a doubt stands above
        return f"Normal means: like the model's own normal samples, not like photographs.{told}"
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
    """Whether the model's own samples have a heavier tail than chance; a line behind it, which score spoke."""
    if found is None:
        return ""
    low, high = found["broken_share_interval"]
    setting = found["share_is_a_setting"]
    if not found["heavier_than_chance"]:
        said = (
            "No sign of broken samples: the scores of the model's own samples have no heavier tail than chance (beyond "
            f"it: {_percent(found['broken_share'])}, 95 % interval {_percent(low)} to {_percent(high)})."
        )
        if setting is not None:
            said += f" That {_percent(setting)} of them are flagged is a setting, not a finding."
        return said
    said = (
        f"About {_percent(found['broken_share'])} of the model's own samples look worse than chance explains (95 % "
        f"interval {_percent(low)} to {_percent(high)})."
    )
    if setting is not None:
        said += f" That {_percent(setting)} are flagged is a setting, not a finding."
    speaks = {
        "both": "Both signs speak: neurons that are rarely active, and distance from the model's normal samples.",
        "rare activation": "Mostly rarely active neurons speak, less the distance from the model's normal samples.",
        "distance": "Mostly the distance from the model's normal samples speaks, less the rarely active neurons.",
    }
    return f"{said}\n{speaks[found['speaks']]}"


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"
