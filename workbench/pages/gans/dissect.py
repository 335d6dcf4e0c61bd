"""The pages of a dissection: a report with the best units of each concept, and a page of all units for each layer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from genmend.gans import Generator
from genmend.gans.dissection.artifact_study import N_FRECHET
from genmend.gans.dissection.causal_study import CausalStudy
from genmend.gans.dissection.figures import distance_histogram
from genmend.manifold.figures.image_grid import image_grid
from genmend.storage.leftovers import remove_others
from genmend.storage.progress import with_progress
from genmend.workbench.pages.blocks import Block
from genmend.workbench.pages.gans.dissect_gallery import unit_rows
from genmend.workbench.pages.page import (
    Answer,
    Card,
    Facts,
    Figure,
    Gallery,
    Number,
    Paragraph,
    Picture,
    Section,
    Table,
    warning_sections,
    write_report,
)

if TYPE_CHECKING:
    from genmend.gans.dissection.dissection import DissectRun, LayerUnits

__all__ = ["dissect_answer", "layer_answer", "write_dissect_report", "write_pages"]

UNITS_A_CONCEPT, MOST_SHOWN, MOST_ROWS = 3, 60, 3_000
N_FAR, N_FAR_PICTURED = 20, 12
_SHOWN_OF_LARGE = 32
LEGEND = "The samples that excite the unit most; dark where it is off, its edge yellow."


def write_pages(folder: Path, run: DissectRun, generator: Generator, *, progress: bool = False) -> None:
    """``LAYER.html`` for each layer, with a gallery of every unit, under the concept that it agrees with best.

    Of a large model the 32 units that agree most beyond chance are shown: every unit has other samples to generate.
    """
    remove_others(folder, "*.html", {f"{layer}.html" for layer in run.layers})
    folder.mkdir(parents=True, exist_ok=True)
    for layer, units in with_progress(run.layers.items(), "pages of units", len(run.layers), show=progress):
        n_shown = min(len(units.iou), _SHOWN_OF_LARGE) if generator.is_large else len(units.iou)
        shown = np.argsort(-np.nan_to_num(units.above_null, nan=-1.0), kind="stable")[:n_shown].tolist()
        pictures = dict(_pictures(run, generator, layer, sorted(shown)))
        labels = [run.label(layer, unit) for unit in sorted(shown)]
        sections = []
        for label in sorted(set(labels), key=lambda name: (-labels.count(name), name)):
            chosen = [unit for unit in shown if run.label(layer, unit) == label]
            sections.append(Section(f"{label} ({len(chosen)})", [pictures[unit] for unit in chosen], closed=True))
        answer = replace(layer_answer(run, layer, n_shown), pictures=[pictures[unit] for unit in shown[:1]])
        write_report(folder / f"{layer}.html", f"{run.model}: units of {layer}", answer, sections)


def layer_answer(run: DissectRun, layer: str, n_shown: int) -> Answer:
    """How many units of a layer detect which concepts more than chance does."""
    units = run.layers[layer]
    n, found = len(units.iou), int(units.detector.sum())
    most = [f"{name} ({count})" for name, count in run.detectors(layer).most_common(3)]
    here = "all of them" if n_shown == n else f"the {n_shown} that agree most beyond chance"
    return Answer(
        f"{found} of {n} units of {layer} detect a concept more than chance does"
        + (f"; most often: {', '.join(most)}." if most else "."),
        _typical([units]),
        more=f"Here are {here}, each under the concept that it agrees with most above chance, whether or not it "
        f"detects it; above the one furthest beyond chance. {LEGEND}",
    )


def _typical(layers: Sequence[LayerUnits]) -> Number | None:
    """The detectors' median IoU beside that with the masks of other samples; None where there are no detectors."""
    iou, null = (np.concatenate([getattr(units, name)[units.detector] for units in layers]) for name in ("iou", "null"))
    if not len(iou):
        return None
    return Number(
        "Their median IoU", f"{np.median(iou):.3f}", f"beside the masks of other samples: {np.median(null):.3f}"
    )


def write_dissect_report(path: Path, run: DissectRun, generator: Generator) -> None:
    """The report: the best units with their pictures, which concepts have units, causes, all units, settings."""
    parts: list[tuple[str, Sequence[Block], bool]] = [
        ("Best units", _gallery_blocks(run, generator), False),
        ("Concepts", _concept_blocks(run), True),
    ]
    if run.causal or run.untested:
        tested = [block for study in run.causal for block in _causal_blocks(study)]
        parts.append(("Causes", [*tested, *(Paragraph(reason) for reason in run.untested.values())], True))
    if run.artifact_units:
        parts.append(("Far from normal", _far_blocks(run, generator), True))
    parts += [
        ("All units", [_table(run), Paragraph("The same: units.csv; all pairs: iou.safetensors.")], True),
        ("Settings", [Facts("What this run used", run.settings)], True),
    ]
    sections = warning_sections(run.to_dict()["probe"])
    sections += [Section(title, blocks, closed=closed) for title, blocks, closed in parts]
    write_report(path, f"genmend dissect: {run.model}", dissect_answer(run), sections)


def dissect_answer(run: DissectRun) -> Answer:
    """How many units detect a concept more than chance does, and how far above chance they are."""
    units = run.layers.values()
    total, found = sum(len(rows.iou) for rows in units), sum(int(rows.detector.sum()) for rows in units)
    judged = ", ".join(f"{n} samples for {name}" for name, n in run.n_judged.items())
    more = (
        "A unit detects a concept where the intersection over union of its mask and the concept's, pooled over all "
        f"images, is above 0.05, {_rule(run)}, and the agreement is more than chance gives: the same with the masks "
        f"of {run.settings['n_shuffles']} other samples for each, at most 5 % of the finds false over all units and "
        "concepts. Agreement is no cause: see Causes where it was tested."
    )
    doubts = []
    if run.pending:
        doubts.append(f"Unfinished: this run is still at work on {', '.join(run.pending)}.")
    if run.untested:
        doubts.append(f"Not tested: causes of {', '.join(run.untested)}. {' '.join(run.untested.values())}")
    return Answer(
        f"{found} of {total} units in {', '.join(run.layers)} detect one of {len(run.concepts)} concepts more than "
        f"chance does ({judged}).",
        _typical(list(units)),
        doubts,
        more=more,
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
        iou, null = found.iou[unit], found.null[unit]
        caption = f"{layer} unit {unit}: {run.label(layer, unit)}, IoU {iou:.3f}, by chance {null:.3f}"
        yield unit, Picture(caption, png, alt=f"{caption}. {LEGEND}", density=0.6)


def _gallery_blocks(run: DissectRun, generator: Generator) -> list[Paragraph | Gallery]:
    """Up to 3 detectors of each concept, those furthest above chance first."""
    ranked = sorted(
        (
            (float(units.above_null[unit]), layer, int(unit))
            for layer, units in run.layers.items()
            for unit in np.flatnonzero(units.detector)
        ),
        reverse=True,
    )
    groups: Counter[str] = Counter()
    shown: list[tuple[str, int]] = []
    for _, layer, unit in ranked:
        label = run.label(layer, unit)
        groups[label] += 1
        if groups[label] <= UNITS_A_CONCEPT and len(shown) < MOST_SHOWN:
            shown.append((layer, unit))
    pages = ", ".join(f"pages/{layer}.html" for layer in run.layers)
    if not shown:
        return [Paragraph(f"No unit detects a concept more than chance does. Every unit: {pages}.")]
    drawn = {
        (layer, unit): picture
        for layer in run.layers
        for unit, picture in _pictures(run, generator, layer, [unit for name, unit in shown if name == layer])
    }
    cards = [
        Card(
            f"{run.label(layer, unit)}: {layer} unit {unit}",
            drawn[layer, unit],
            {"layer": layer} | _values(run, layer, unit),
        )
        for layer, unit in shown
    ]
    text = (
        f"{LEGEND} Up to {UNITS_A_CONCEPT} units of each of {len(groups)} concepts, those furthest above chance first; "
        f"every unit: {pages}."
    )
    return [Gallery(text, cards)]


def _values(run: DissectRun, layer: str, unit: int) -> dict[str, Any]:
    """What is told of a unit, by name."""
    units = run.layers[layer]
    low, high = units.interval[unit]
    return {
        "concept": run.label(layer, unit),
        "above chance": float(units.above_null[unit]),
        "IoU": float(units.iou[unit]),
        "95 % interval": f"{low:.3f} to {high:.3f}",
        "by chance": float(units.null[unit]),
        "level": float(units.p_adjusted[unit]),
    }


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
    """The units, those furthest above chance first."""
    rows: list[dict[str, Any]] = [
        {"layer": layer, "unit": unit, "detects": bool(units.detector[unit])}
        | _values(run, layer, unit)
        | {"pixel accuracy": float(units.accuracy[unit])}
        for layer, units in run.layers.items()
        for unit in range(len(units.iou))
    ]
    rows.sort(key=lambda row: (-row["above chance"], row["layer"], row["unit"]))
    return Table(
        f"{min(MOST_ROWS, len(rows))} of {len(rows)} units. Level: adjusted p-value against chance.",
        list(rows[0]),
        [list(row.values()) for row in rows[:MOST_ROWS]],
        searchable=True,
    )
