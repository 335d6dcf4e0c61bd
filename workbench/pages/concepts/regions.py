"""The page of ``genmend regions``: the members of each region first, then how pure they are, then the rules."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure as Drawing

from genmend.concepts.regions.configurations import Configurations
from genmend.concepts.regions.principal_neurons import RegionPath
from genmend.concepts.regions.samples import RegionsRun
from genmend.concepts.regions.study import KindOnHeldOut, KindsStudy, QueryStudy
from genmend.workbench.pages.concepts.region_plane import plane_sections
from genmend.workbench.pages.page import (
    Answer,
    Block,
    Facts,
    Figure,
    Number,
    Paragraph,
    Section,
    Table,
    Thumbnails,
    write_report,
)
from genmend.workbench.pages.pictures import thumbnails

__all__ = ["regions_answer", "write_regions_page"]

N_SHOWN = 24
_NEAREST = {
    "states": "nearest by the states of all neurons",
    "euclidean": "nearest by distance of the layer's mean output",
    "cosine": "nearest by angle of the layer's mean output",
}


def regions_answer(totals: dict[str, Any]) -> Answer:
    """What the run found of the query or of the flagged samples, and the share that it is judged by."""
    parts, numbers = [], []
    query, flagged = totals["query"], totals["flagged"]
    if query is not None:
        parts.append(_query_in_words(query, totals["layer"], totals["label_is"]))
        purity = query["purity"]
        if purity is not None:
            control = (
                f"as many nearest by distance {purity['euclidean']:.0%}, by angle {purity['cosine']:.0%}, all "
                f"{purity['base']:.0%}"
            )
            numbers.append(
                Number(f"Members of the region with its {totals['label_is']}", f"{purity['region']:.0%}", control)
            )
    if flagged is not None:
        parts.append(_kinds_in_words(flagged, totals["layer"]))
        control = f"random sets of as many samples: {flagged['random_kinds']:.1f}"
        numbers.append(Number("Kinds beyond chance", str(flagged["n_beyond_chance"]), control))
    return Answer(" ".join(parts), numbers[0] if numbers else None)


def _query_in_words(query: dict[str, Any], layer: str, label_is: str) -> str:
    region, n = query["region"], len(query["held_out_members"])
    said = (
        f"{query['name']}: in layer {layer}, {region['at_least']} of {len(region['neurons'])} neurons in the states of "
        f"its rule make its region. {n} of {query['n_held_out']} samples held out are in it"
    )
    purity = query["purity"]
    if purity is None:
        return f"{said}."
    best = max(purity["euclidean"], purity["cosine"])
    verdict = (
        "The region is purer than either."
        if purity["region"] > best
        else "The region is no purer than these: look at them too."
    )
    return (
        f"{said}; {purity['region']:.0%} of them have its {label_is} ({query['label']}). Of as many nearest by "
        f"distance {purity['euclidean']:.0%} do, by angle {purity['cosine']:.0%}, of all {purity['base']:.0%}. "
        f"{verdict}"
    )


def _kinds_in_words(found: dict[str, Any], layer: str) -> str:
    kinds, n_beyond = found["kinds"], found["n_beyond_chance"]
    rate = found["n_flagged_held_out"] / found["n_held_out"]
    control = (
        f"Of {found['n_shuffles']} random sets of as many samples a set has {found['random_kinds']:.1f} such kinds."
    )
    if not n_beyond:
        several = f"{len(kinds)} found in one half did not hold in the other" if kinds else "none was found"
        return (
            f"No kind of flagged samples is beyond chance in layer {layer}: {several}. {control} More samples, or "
            "another --layer, may show one."
        )
    told = "; ".join(
        f"kind {number}: {len(kind['held_out_flagged'])} of {_n_held_out(kind)} members are flagged "
        f"({kind['lift']:.1f} times as many as of all)"
        for number, kind in enumerate(kinds[:n_beyond], start=1)
    )
    kinds_are = "1 kind of flagged samples is" if n_beyond == 1 else f"{n_beyond} kinds of flagged samples are"
    return (
        f"{kinds_are} beyond chance in layer {layer}. On the half held out, of which {rate:.0%} are flagged: {told}. "
        f"{control}"
    )


def _n_held_out(kind: dict[str, Any]) -> int:
    return len(kind["held_out_flagged"]) + len(kind["held_out_others"])


def write_regions_page(path: Path, run: RegionsRun) -> None:
    """Write the page."""
    totals = run.to_dict()
    sections = []
    if run.query is not None:
        sections += _query_sections(run, run.query)
    if run.kinds is not None:
        sections += _kinds_sections(run, run.kinds)
    pictures = _first_pictures(run)
    facts = {name: totals[name] for name in ("model", "n", "layer", "shape", "threshold", "pooled")}
    sections.append(Section("Settings", [Facts("What this run used", {**facts, **totals["settings"]})], closed=True))
    write_report(
        path, f"genmend regions: {run.samples.model}", replace(regions_answer(totals), pictures=pictures), sections
    )


def _first_pictures(run: RegionsRun) -> list[Block]:
    """What the answer is about: the members of the query's region, or of the surest kind of flagged samples."""
    if run.query is not None:
        members = run.query.held_out if len(run.query.held_out) else [run.query.number]
        return [_pictures(run, "The query, and samples held out in its region", [run.query.number, *members], most=12)]
    if run.kinds is not None and run.kinds.beyond_chance:
        kind = run.kinds.beyond_chance[0]
        return [_pictures(run, "Kind 1, held out, flagged", kind.flagged, most=12)]
    return []


def _query_sections(run: RegionsRun, query: QueryStudy) -> list[Section]:
    group = [query.number, *(number for number in query.path.positive if number != query.number)]
    blocks: list[Block] = [_pictures(run, "The query, and the nearest that the rule was made of", group)]
    if len(query.held_out):
        blocks.append(_pictures(run, "In the region, of the samples held out", query.held_out))
        for name in ("cosine", "euclidean", "states"):
            blocks.append(_pictures(run, f"As many, {_NEAREST[name]}", query.neighbours[name]))
    else:
        blocks.append(Paragraph("No sample held out is in the region: a smaller --at-least lets more in."))
    sections = [Section("Region", blocks, closed=True)]
    sections += plane_sections(run, "query")
    purity = query.purity
    if purity is not None:
        rows = [("in the region", purity.region), *((_NEAREST[name], value) for name, value in _shares(purity).items())]
        caption = (
            f"Share of {purity.n} samples held out whose {run.label_is} is the query's, {query.label}; every row has "
            "as many samples."
        )
        table = Table(caption, ["samples", "share"], [*rows, ("all held out", purity.base)])
        sections.append(Section("How alike", [table], closed=True))
    sections.append(
        Section("Rule", [_path_figure(query.path), _rule_table(query.path, run.states.configurations)], closed=True)
    )
    return sections


def _shares(purity: Any) -> dict[str, float]:
    return {"states": purity.hamming, "euclidean": purity.euclidean, "cosine": purity.cosine}


def _kinds_sections(run: RegionsRun, found: KindsStudy) -> list[Section]:
    if not found.kinds:
        return []
    sections = []
    for number, kind in enumerate(found.kinds, start=1):
        sure = kind in found.beyond_chance
        blocks: list[Block] = []
        for caption, numbers in (
            ("Held out, in the region, flagged", kind.flagged),
            ("Held out, in the region, not flagged", kind.others),
            ("Flagged samples that it was found in", kind.kind.flagged),
        ):
            if len(numbers):
                blocks.append(_pictures(run, caption, numbers))
        blocks.append(_rule_table(kind.kind.path, run.states.configurations))
        title = f"Kind {number}" if sure else f"Kind {number}: not beyond chance"
        sections.append(Section(title, blocks, closed=not sure))
    caption = (
        f"On {found.n_held_out} samples held out, {found.n_flagged_held_out} of them flagged. Chance: how probable as "
        "many flagged ones are in as many at random, for all kinds together. Nearest: flagged share of as many nearest "
        "to the sample that the kind was found round."
    )
    head = ["kind", "members", "flagged", "share", "lift", "chance", "nearest by distance", "nearest by angle"]
    rows = [_kind_row(number, kind) for number, kind in enumerate(found.kinds, start=1)]
    said = []
    if run.samples.latents is not None and found.beyond_chance:
        said.append(
            Paragraph(
                "The flagged latents of each kind beyond chance are in kinds/: genmend correct mends one kind by "
                "itself with --latents kinds/kind-1.npy."
            )
        )
    return [*sections, *plane_sections(run, "kinds"), Section("How sure", [Table(caption, head, rows), *said])]


def _kind_row(number: int, kind: KindOnHeldOut) -> list[Any]:
    n = len(kind.flagged) + len(kind.others)
    figures = (kind.share, kind.lift, kind.chance, kind.euclidean, kind.cosine)
    return [number, n, len(kind.flagged), *(None if np.isnan(value) else value for value in figures)]


def _pictures(run: RegionsRun, caption: str, numbers: Sequence[int] | np.ndarray, most: int = N_SHOWN) -> Thumbnails:
    shown = [int(number) for number in numbers[:most]]
    more = f" ({len(shown)} of {len(numbers)})" if len(shown) < len(numbers) else ""
    names = [run.samples.names[number] for number in shown]
    return thumbnails(f"{caption}{more}.", run.samples.shown(shown), names)


def _rule_table(path: RegionPath, seen: Configurations) -> Table:
    region = path.region
    neurons = np.array(region.neurons)
    on = seen.states(neurons).mean(0)
    places = np.stack(np.unravel_index(neurons, seen.shape), axis=1)
    named = ["channel", "row", "column"] if len(seen.shape) == 3 else ["neuron"] if len(seen.shape) == 1 else []
    head = named or [f"axis {axis}" for axis in range(len(seen.shape))]
    rows = [
        [*map(int, place), "on" if state else "off", float(share if state else 1 - share), int(n)]
        for place, state, share, n in zip(places, region.states, on, path.n_inside, strict=True)
    ]
    return Table(
        f"{region.at_least} of these {len(neurons)} make a member. Inside: samples that it was made from, in the "
        "region of the neurons so far.",
        [*head, "state", "share of all samples in it", "inside"],
        rows,
    )


def _path_figure(path: RegionPath) -> Figure:
    drawing = Drawing(figsize=(6, 2.6), layout="constrained")
    axis = drawing.subplots()
    size = np.arange(1, len(path.n_inside) + 1)
    axis.plot(size, path.n_inside, label="samples inside")
    axis.plot(size, path.n_positive_inside, label="of these, the ones it was made of")
    axis.set_yscale("log")
    axis.set_xlabel("neurons of the rule")
    axis.legend(fontsize=8, frameon=False)
    return Figure("How the region narrows with each neuron of its rule; samples that it was made from.", drawing)
