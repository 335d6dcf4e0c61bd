"""The page of ``genmend amplify``: same-seed pairs first, then what changed, then the settings."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure as Drawing

from genmend.diffusion.search.trials import Scores
from genmend.workbench.pages.page import Facts, Figure, Paragraph, Picture, Section, Table, write_report

if TYPE_CHECKING:
    from genmend.diffusion.search.comparison import AmplifyRun
    from genmend.diffusion.search.settings import AmplifySettings

__all__ = ["change_chart", "write_amplify_report"]


def write_amplify_report(path: Path, run: AmplifyRun, settings: AmplifySettings, pairs: Sequence[bytes]) -> None:
    """Write the page; `pairs` are pictures of each prompt."""
    summary = run.to_dict()
    rows = "from above: original, amplified" + (f", control band {settings.control!r}" if run.control else "")
    pictures = [
        Picture(f"{prompt!r}, seeds from {settings.seed} on; {rows}.", picture)
        for prompt, picture in zip(settings.prompts, pairs, strict=True)
    ]
    sections = [
        Section("Same seeds, without and with", pictures),
        Section("What changed", _figures(run, settings)),
    ]
    if run.search is not None:
        caption = (
            f"{len(run.search.trials)} measurements of the search. Its own seeds flatter the choice; the figures above "
            "are of other seeds."
        )
        sections.append(Section("The search", [Figure(caption, run.search.plot())]))
    sections.append(
        Section("Settings", [Facts("What this run used", summary["settings"]), Facts("Gains", summary["gains"])])
    )
    write_report(path, f"genmend amplify: {run.model}", _in_words(run), sections)


def change_chart(scores: Sequence[Scores]) -> Drawing | None:
    """Histograms of novelty, originals and amplified; None where it was not measured."""
    values = [found.novelty[np.isfinite(found.novelty)] for found in scores]
    if not all(len(found) for found in values):
        return None
    drawing = Drawing(figsize=(6.0, 3.0), layout="constrained")
    axes = drawing.subplots()
    bins = np.histogram_bin_edges(np.concatenate(values), bins=30).tolist()
    for found, name, colour in zip(values, ("original", "amplified"), ("tab:gray", "tab:orange"), strict=True):
        axes.hist(found, bins, label=name, color=colour, alpha=0.6)
        axes.axvline(float(found.mean()), color=colour, linewidth=1.5)
    axes.set_xlabel("novelty: distance to the 5th nearest unamplified sample (lines: means)")
    axes.set_ylabel("images")
    axes.legend()
    return drawing


def _figures(run: AmplifyRun, settings: AmplifySettings) -> list[Any]:
    header = ["amplified / original", "ratio", "lower", "upper"]
    rows: list[list[Any]] = []
    for title, found in (("", run.comparison), (" (control)", run.control)):
        if found is None:
            continue
        for name, ratio in found.usability.items():
            bounds = found.usability_lower[name], found.usability_upper[name]
            rows.append([f"usability: {name}{title}", ratio, *bounds])
        if np.isfinite(found.novelty):
            rows.append([f"novelty{title}", found.novelty, *found.novelty_interval])
        if settings.real is not None:
            rows.append([f"share among real images{title}", found.inside, found.inside_lower, None])
    blocks: list[Any] = []
    if rows:
        caption = (
            f"Means over {run.comparison.n} pairs of the same prompt and seed. Bounds of usability: one-sided 95 %; of "
            "novelty: 95 %; bootstrap over pairs."
        )
        blocks.append(Table(caption, header, rows))
    else:
        blocks.append(Paragraph("Neither usability nor novelty was measured; give --usability and --n-cloud."))
    chart = change_chart(run.scores)
    if chart is not None:
        blocks.append(Figure("Novelty of every image.", chart))
    blocks.append(Paragraph(f"Mean change of a pixel: {run.pixel_change:.4f} of 0..1. Per image: samples.csv."))
    return blocks


def _in_words(run: AmplifyRun) -> str:
    if not run.edits:
        return "Nothing is amplified: no choice of gains was newer and kept the usability, so the images are the same."
    gains = ", ".join(f"{edit.layer} x {getattr(edit, 'gain', 1):g}" for edit in run.edits)
    found = run.comparison
    words = [f"Low frequencies amplified in {gains}."]
    words += [f"Usability ({name}) is {ratio:.3f} of the original's." for name, ratio in found.usability.items()]
    if np.isfinite(found.novelty):
        low, high = found.novelty_interval
        words.append(f"Novelty is {found.novelty:.3f} [{low:.3f}, {high:.3f}] of the original's.")
    return " ".join(words)
