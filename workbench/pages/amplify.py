"""The page of ``genmend amplify``: same-seed pairs first, then what changed, then the settings."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure as Drawing

from genmend.diffusion.search.trials import Comparison, Scores
from genmend.diffusion.search.verdict import KEPT, verdict
from genmend.workbench.pages.page import Facts, Figure, Paragraph, Picture, Section, Table, write_report

if TYPE_CHECKING:
    from genmend.diffusion.search.comparison import AmplifyRun
    from genmend.diffusion.search.settings import AmplifySettings

__all__ = [
    "BOUNDS",
    "CHANGE_HEADER",
    "RULE",
    "change_chart",
    "change_rows",
    "in_words",
    "scorer_in_words",
    "write_amplify_report",
]

CHANGE_HEADER = ("amplified / original", "ratio", "lower", "upper")
BOUNDS = "Bounds of usability and of the share: one-sided 95 %; of novelty: 95 %; bootstrap over pairs."


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
    write_report(path, f"genmend amplify: {run.model}", in_words(run), sections)


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


def change_rows(found: Comparison, *, inside_measured: bool) -> list[list[Any]]:
    """A row for each measure: its name, amplified / original, and the bounds of that ratio, as in `CHANGE_HEADER`."""
    rows: list[list[Any]] = []
    for name, ratio in found.usability.items():
        rows.append([f"usability: {name}", ratio, found.usability_lower[name], found.usability_upper[name]])
    if np.isfinite(found.novelty):
        rows.append(["novelty", found.novelty, *found.novelty_interval])
    if inside_measured:
        rows.append(["share among real images", found.inside, found.inside_lower, found.inside_upper])
    return rows


def _figures(run: AmplifyRun, settings: AmplifySettings) -> list[Any]:
    rows = change_rows(run.comparison, inside_measured=run.inside_measured)
    if run.control is not None:
        of_control = change_rows(run.control, inside_measured=run.inside_measured)
        rows += [[f"{name} (control)", *values] for name, *values in of_control]
    blocks: list[Any] = [Paragraph(f"Verdict: {run.verdict}. {RULE}")]
    if run.control is not None:
        said = verdict(run.control, inside_measured=run.inside_measured)
        blocks.append(Paragraph(f"Of the control, the same gains in the band {settings.control!r}: {said}."))
    if rows:
        caption = f"Means over {run.comparison.n} pairs of the same prompt and seed. {BOUNDS}"
        blocks.append(Table(caption, CHANGE_HEADER, rows))
    else:
        blocks.append(Paragraph("Neither usability nor novelty was measured; give --usability and --n-cloud."))
    chart = change_chart(run.scores)
    if chart is not None:
        blocks.append(Figure("Novelty of every image.", chart))
    blocks.append(Paragraph(f"Mean change of a pixel: {run.pixel_change:.4f} of 0..1. Per image: samples.csv."))
    return blocks


def in_words(run: AmplifyRun) -> str:
    """The verdict first, then what was amplified by how much, then the figures that the verdict was told from."""
    if not run.edits and run.search is None:
        return "Nothing is amplified: every gain is 1, so the images are the same."
    if not run.edits:
        return "Nothing is amplified: no choice of gains was newer and kept what has to be, so the images are the same."
    found = run.comparison
    gains = ", ".join(f"{edit.layer} x {getattr(edit, 'gain', 1):g}" for edit in run.edits)
    if run.pixel_change == 0:
        return f"Verdict: no difference. Every image is the same; amplified were {gains}."
    few = f" that {found.n} pairs would show" if run.verdict == "no difference" else ""
    words = [f"Verdict: {run.verdict}{few}.", f"Low frequencies amplified: {gains}."]
    if np.isfinite(found.novelty):
        low, high = found.novelty_interval
        words.append(f"Novelty is {found.novelty:.3f} [{low:.3f}, {high:.3f}] of the original's.")
    for name, ratio in found.usability.items():
        words.append(
            f"Usability ({scorer_in_words(name)}) is {ratio:.3f} [{found.usability_lower[name]:.3f}, "
            f"{found.usability_upper[name]:.3f}] of the original's."
        )
    if run.inside_measured:
        words.append(
            f"The share of samples among real images is {found.inside:.3f} [{found.inside_lower:.3f}, "
            f"{found.inside_upper:.3f}] of the original's, {found.counted:.3f} in all; novelty counts there alone."
        )
    else:
        words.append("Without real images (--real FOLDER) nothing here sees whether an image is torn.")
    return " ".join(words)


def scorer_in_words(name: str) -> str:
    """What a scorer of the usability asks."""
    if name == "guide":
        return "guide: the probability that a small network gives to the garment of the prompt"
    if name.startswith("clip:"):
        return f"cosine of image and prompt by {name.removeprefix('clip:')}"
    return name


RULE = (
    "The verdict follows a rule. Newer: the interval of the novelty lies above 1; less new: below 1. Broken: usability "
    f"or the share among real images is below {KEPT:g} of the original's, also at the upper bound. Not broken: none is "
    "below that, also at the lower bound; perhaps broken: neither. Novelty is a distance in the extractor's space, "
    "which sees brightness, contrast, size and place too: 'newer' means farther from the unamplified samples there."
)
