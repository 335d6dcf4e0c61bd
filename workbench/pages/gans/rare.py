"""Pictures and page of ``genmend rare``: each reference with its rare versions, and density against rarity."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure as Drawing
from matplotlib.layout_engine import ConstrainedLayoutEngine
from numpy.typing import NDArray
from torch import Tensor

from genmend.gans.rare import RareSamples
from genmend.manifold.figures.image_grid import to_pixels
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

__all__ = ["density_chart", "rare_answer", "versions_picture", "write_rare_report"]

_SHOWN = 16  # references on the page


def versions_picture(
    samples: RareSamples, references: Tensor, found: Tensor, n_references: int | None = None
) -> Drawing:
    """A row a reference: its image, then its versions, the rarity percentile under each.

    `references` (r, 3, h, w) and `found` (n_found, 3, h, w) are the images, the latter in the rows' order.
    """
    shown = min(samples.n_references, n_references or samples.n_references)
    n_columns = 1 + samples.n_versions
    layout = ConstrainedLayoutEngine(w_pad=0.02, h_pad=0.02, hspace=0.01, wspace=0.01)
    drawing = Drawing(figsize=(1.15 * n_columns, 1.35 * shown + 0.3), layout=layout)
    axes = drawing.subplots(shown, n_columns, squeeze=False)
    place = np.cumsum(samples.found) - 1
    reference_pixels, found_pixels = to_pixels(references), to_pixels(found)
    for row in range(shown):
        _cell(axes[row, 0], reference_pixels[row], _label(samples.reference_rarity_percentile[row]), "tab:blue")
        for version in range(samples.n_versions):
            i = row * samples.n_versions + version
            if samples.found[i]:
                _cell(axes[row, 1 + version], found_pixels[place[i]], _label(samples.rarity_percentile[i]))
            else:
                _cell(axes[row, 1 + version], np.full_like(reference_pixels[row], 235), "given up", "grey")
    axes[0, 0].set_title("reference", fontsize=8, color="tab:blue")
    axes[0, 1].set_title("rare versions", fontsize=8, loc="left")
    return drawing


def density_chart(
    samples: RareSamples,
    own_log_prob: NDArray[np.float64],
    own_rarity: NDArray[np.float64],
    label: str = "own normal samples",
) -> Drawing:
    """Log-density against rarity: normal samples (each among the others), references, and versions."""
    drawing = Drawing(figsize=(6.4, 4.2), layout="constrained")
    axes = drawing.subplots()
    axes.scatter(own_rarity, own_log_prob, s=4, color="lightgrey", label=label)
    axes.scatter(samples.reference_rarity, samples.reference_log_prob, s=22, color="tab:blue", label="references")
    axes.scatter(samples.rarity, samples.log_prob, s=14, color="tab:red", label="rare versions")
    axes.set_xlabel("rarity (feature units; further right = rarer)")
    axes.set_ylabel("log-density (nats per dimension; lower = rarer)")
    axes.legend()
    return drawing


def write_rare_report(
    path: Path,
    summary: dict[str, Any],
    samples: RareSamples,
    references: Tensor,
    found: Tensor,
    own_log_prob: NDArray[np.float64],
    own_rarity: NDArray[np.float64],
) -> None:
    """The page: pictures first, then what they are, then the settings."""
    shown = min(_SHOWN, samples.n_references)
    caption = (
        f"{'The first ' if shown < samples.n_references else ''}{shown} references and their rare versions. Under "
        f"each: the share of the {_normal(summary)} that are no rarer, in per cent; 'outside' is outside the normal "
        "manifold."
    )
    before, after = summary["reference_rarity_percentile_mean"], summary["rarity_percentile_mean"]
    picture = Figure(caption, versions_picture(samples, references, found, shown))
    write_report(
        path,
        f"genmend rare: {summary['model']}",
        replace(rare_answer(summary), pictures=[picture]),
        [
            *warning_sections(summary["probe"]),
            Section(
                "How rare",
                [
                    Table(
                        "Means; the percentile over those inside.",
                        ["", "rarity percentile", "log-density", "inside"],
                        [
                            ["references", before, summary["reference_log_prob_mean"], summary["reference_inside"]],
                            ["rare versions", after, summary["log_prob_mean"], 1.0 if summary["n_found"] else None],
                        ],
                    ),
                    Figure(
                        "The density was optimised, rarity was not.",
                        density_chart(samples, own_log_prob, own_rarity, _normal(summary).removeprefix("model's ")),
                    ),
                    Paragraph("Per version: rare.csv; arrays: rare.npz; latents of those found: latents.npy."),
                ],
                True,
            ),
            Section("Settings", [Facts("What this run found and used", summary)], True),
        ],
    )


def rare_answer(summary: dict[str, Any]) -> Answer:
    """How many rare versions were found, and how rare they are beside their references."""
    n = summary["n_found"] + summary["n_given_up"]
    before, after = summary["reference_rarity_percentile_mean"], summary["rarity_percentile_mean"]
    own = "" if summary.get("normal_images") else ", not like photographs"
    number = None
    if after is not None:
        known = "" if before is None else f"their references: {before:.0%}"
        number = Number(f"Of the {_normal(summary)} no rarer", f"{after:.0%}", known)
    return Answer(
        f"{summary['n_found']} of {n} versions were found, {summary['n_given_up']} given up: all found ones lie inside "
        "the normal manifold, are rarer than their reference (of a lower density where that lies outside), no further "
        f"from it than d*, and {_limit(summary)}.",
        number,
        more=f"Normal means: like the {_normal(summary)}{own}.",
    )


def _normal(summary: dict[str, Any]) -> str:
    """What samples are rare among."""
    given = summary.get("normal_images")
    return f"{given} normal images given" if given else "model's own normal samples"


def _limit(summary: dict[str, Any]) -> str:
    if summary["max_artifact_score"] is None:
        return "had no artifact limit to keep, as asked for: they may be broken"
    return "below the artifact limit"


def _cell(axes: Any, pixels: NDArray[np.uint8], label: str, color: str = "black") -> None:
    axes.imshow(pixels, interpolation="nearest")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_xlabel(label, fontsize=8, color=color, labelpad=1)
    for spine in axes.spines.values():
        spine.set_visible(False)


def _label(percentile: float) -> str:
    return "outside" if np.isnan(percentile) else f"{100 * percentile:.1f} %"
