"""The pages of a dissection: a report with the best units of each concept, and a page of all units for each layer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from tqdm import tqdm

from genmend.gans import Generator
from genmend.gans.dissection.artifact_study import N_FRECHET
from genmend.gans.dissection.causal_study import CausalStudy
from genmend.gans.dissection.figures import distance_histogram
from genmend.manifold.figures.image_grid import image_grid
from genmend.workbench.pages.dissect_gallery import unit_rows
from genmend.workbench.pages.page import Facts, Figure, Paragraph, Picture, Section, Table, write_report

if TYPE_CHECKING:
    from genmend.gans.dissection.dissection import DissectRun

__all__ = ["write_dissect_report", "write_pages"]

UNITS_A_CONCEPT, MOST_SHOWN, MOST_ROWS = 3, 90, 100
N_FAR, N_FAR_PICTURED = 20, 12
LEGEND = "The samples that excite the unit most; dark where it is off, its edge yellow."


def write_pages(folder: Path, run: DissectRun, generator: Generator, *, progress: bool = False) -> None:
    """``LAYER.html`` for each layer, with a gallery of every unit, under the concept that it agrees with best."""
    folder.mkdir(parents=True, exist_ok=True)
    for layer, units in tqdm(run.layers.items(), desc="pages", disable=not progress, leave=False):
        pictures = dict(_pictures(run, generator, layer, range(len(units.iou))))
        labels = [run.label(layer, unit) for unit in range(len(units.iou))]
        sections = []
        for label in sorted(set(labels), key=lambda name: (-labels.count(name), name)):
            chosen = [unit for unit, name in enumerate(labels) if name == label]
            chosen.sort(key=lambda unit: -units.iou[unit])
            sections.append(Section(f"{label} ({len(chosen)})", [pictures[unit] for unit in chosen], closed=True))
        summary = (
            f"All {len(labels)} units of {layer}, under the concept of highest IoU each; {int(units.detector.sum())} "
            f"are detectors. {LEGEND}"
        )
        write_report(folder / f"{layer}.html", f"{run.model}: units of {layer}", summary, sections)


def write_dissect_report(path: Path, run: DissectRun, generator: Generator) -> None:
    """The report: which concepts have units, the best units' galleries, causes, tables, settings."""
    total = sum(len(units.iou) for units in run.layers.values())
    found = sum(int(units.detector.sum()) for units in run.layers.values())
    judged = ", ".join(f"{n} samples for {name}" for name, n in run.n_judged.items())
    summary = (
        f"{found} of {total} units in {', '.join(run.layers)} detect one of {len(run.concepts)} concepts "
        f"({judged}).\n\n"
        "A unit detects the concept that its mask overlaps best where their intersection over union, pooled over all "
        f"images, is above 0.05 and {_rule(run)}. Agreement is no cause: see Causes where it was tested."
    )
    write_report(
        path,
        f"genmend dissect: {run.model}",
        summary,
        [
            Section("Concepts", _concept_blocks(run)),
            Section("Units", _gallery_blocks(run, generator), closed=True),
            *(
                [Section("Causes", [block for study in run.causal for block in _causal_blocks(study)], closed=True)]
                if run.causal
                else []
            ),
            *([Section("Far from normal", _far_blocks(run, generator), closed=True)] if run.artifact_units else []),
            Section(
                "Table", [_table(run), Paragraph("All units: units.csv; all pairs: iou.safetensors.")], closed=True
            ),
            Section("Settings", [Facts("What this run used", run.settings)], closed=True),
        ],
    )


def _rule(run: DissectRun) -> str:
    if run.settings["rule"] == "paper":
        return "they agree on more than 75 % of the pixels"
    return "the information quality ratio is above 0.01"


def _pictures(run: DissectRun, generator: Generator, layer: str, units: Sequence[int]) -> Iterator[tuple[int, Picture]]:
    found = run.layers[layer]
    # A unit without a label has no threshold of its own: its upper quantile serves.
    thresholds = np.where(np.isfinite(found.threshold), found.threshold, found.top_threshold)
    for unit, png in unit_rows(generator, layer, found.samples, thresholds, units, run.settings["seed"]):
        low, high = found.interval[unit]
        caption = f"{layer} unit {unit}: {run.label(layer, unit)}, IoU {found.iou[unit]:.3f} [{low:.3f}, {high:.3f}]"
        yield unit, Picture(caption, png, alt=f"{caption}. {LEGEND}", density=0.6)


def _gallery_blocks(run: DissectRun, generator: Generator) -> list[Paragraph | Picture]:
    """Up to 3 detectors of each concept, the concepts with the surest unit first."""
    ranked = sorted(
        (
            (float(units.iou[unit]), layer, int(unit))
            for layer, units in run.layers.items()
            for unit in np.flatnonzero(units.detector)
        ),
        reverse=True,
    )
    groups: dict[str, list[tuple[str, int]]] = {}
    for _, layer, unit in ranked:
        group = groups.setdefault(run.label(layer, unit), [])
        if len(group) < UNITS_A_CONCEPT:
            group.append((layer, unit))
    shown = [pair for group in groups.values() for pair in group][:MOST_SHOWN]
    drawn = {
        (layer, unit): picture
        for layer in run.layers
        for unit, picture in _pictures(run, generator, layer, [unit for name, unit in shown if name == layer])
    }
    pages = ", ".join(f"pages/{layer}.html" for layer in run.layers)
    text = (
        f"{LEGEND} Up to {UNITS_A_CONCEPT} detectors of each concept, of {len(groups)} concepts; every unit: {pages}."
        if shown
        else f"No unit is a detector. Every unit: {pages}."
    )
    return [Paragraph(text), *(drawn[pair] for pair in shown)]


def _concept_blocks(run: DissectRun) -> list[Figure | Table]:
    counts = {layer: run.detectors(layer) for layer in run.layers}
    names = sorted(
        {name for layer in counts.values() for name in layer}, key=lambda name: -sum(c[name] for c in counts.values())
    )
    rows = [[name, *(counts[layer][name] for layer in counts)] for name in names]
    rows.append(["all", *(sum(layer.values()) for layer in counts.values())])
    return [
        Figure("How many units detect each concept.", run.plot()),
        Table("Detectors by concept and layer.", ["concept", *counts], rows),
    ]


def _causal_blocks(study: CausalStudy) -> list[Paragraph | Picture | Table]:
    effect = study.effect
    text = (
        f"{effect.concept}, {len(effect.units)} units of {effect.layer} by {study.ranking}. Off in {effect.n_present} "
        f"images that have it, they erase {effect.erased:.0%} of its pixels (random units: "
        f"{np.mean(effect.random_erased):.0%}); put in where it usually is in {effect.n_absent} images without it, "
        f"they add {effect.added:.0%} of its usual amount (random units: {np.mean(effect.random_added):.0%})."
    )
    rows = [
        ["its units", effect.erased, effect.added, effect.effect],
        *(
            [f"random units, draw {number}", erased, added, erased + added]
            for number, (erased, added) in enumerate(zip(effect.random_erased, effect.random_added, strict=True), 1)
        ),
    ]
    pictures = []
    for title, names in (("off", list(study.rows)[:3]), ("put in", list(study.rows)[3:])):
        caption = f"{effect.concept}, units {title}. Rows: {'; '.join(names)}."
        pictures.append(Picture(caption, image_grid([study.rows[name] for name in names]), density=0.75))
    return [
        Paragraph(text),
        *pictures,
        Table(f"{effect.concept} in {effect.layer}", ["units", "erased", "added", "effect"], rows),
    ]


def _far_blocks(run: DissectRun, generator: Generator) -> list[Paragraph | Figure | Picture | Table]:
    """Units whose top images are furthest from own-normal ones: distribution, table, galleries."""
    found = run.artifact_units
    assert found is not None
    text = (
        f"For each unit, the {found.n_top} of {found.n_pool} samples that excite it most, and how far they lie from "
        f"the generator's own normal samples in {found.extractor}: their kernel distance (unit-KID), about 0 for "
        "samples like these. Not relative to photographs; no proof that a unit breaks images: switch it off and look."
    )
    rows = [
        (layer, unit, run.label(layer, unit), float(found.kid[layer][unit]), found.frechet[layer].get(unit))
        for layer, unit in found.worst(N_FAR)
    ]
    pictures = {}
    for layer, values in run.layers.items():
        units = [unit for name, unit in found.worst(N_FAR_PICTURED) if name == layer]
        drawn = unit_rows(generator, layer, found.samples[layer], values.top_threshold, units, run.settings["seed"])
        for unit, png in drawn:
            caption = f"{layer} unit {unit}: unit-KID {found.kid[layer][unit]:.4f}"
            pictures[layer, unit] = Picture(caption, png, alt=f"{caption}. {LEGEND}", density=0.6)
    return [
        Paragraph(text),
        Figure(
            "All units; the number of units on a logarithmic scale.", distance_histogram(found.kid, found.extractor)
        ),
        Table(
            f"The {len(rows)} units furthest off; frechet_{found.extractor} of the {N_FRECHET} worst of each layer.",
            ["layer", "unit", "concept", "unit-KID", "Fréchet distance"],
            rows,
        ),
        *(pictures[pair] for pair in found.worst(N_FAR_PICTURED)),
    ]


def _table(run: DissectRun) -> Table:
    """The detectors of highest IoU."""
    rows = [
        (layer, int(unit), run.label(layer, int(unit)), units.iou[unit], *units.interval[unit], units.accuracy[unit])
        for layer, units in run.layers.items()
        for unit in np.flatnonzero(units.detector)
    ]
    rows.sort(key=lambda row: -row[3])
    return Table(
        f"The {min(MOST_ROWS, len(rows))} detectors of highest IoU, of {len(rows)}.",
        ["layer", "unit", "concept", "IoU", "low", "high", "pixel accuracy"],
        rows[:MOST_ROWS],
    )
