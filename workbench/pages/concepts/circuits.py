"""The page of ``genmend circuit``: what an image's circuit carries of its class, and the circuit as a drawing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np

from genmend.concepts.circuits.circuit import CircuitGraph, merge_alike
from genmend.concepts.circuits.circuit_images import CircuitRun, ImageCircuits
from genmend.concepts.circuits.unit_examples import unit_examples
from genmend.manifold.figures.image_grid import png
from genmend.workbench.pages.concepts.circuit_drawing import draw_circuit, short_names, shown_units
from genmend.workbench.pages.page import (
    Answer,
    Drawing,
    Facts,
    Number,
    Paragraph,
    Picture,
    Section,
    Table,
    write_report,
)

__all__ = ["circuit_answer", "drawn_circuit", "write_circuit_page"]

N_CIRCUITS = 12  # of an image, in its table
DRAWN = (
    "A column is a block, a box a unit with the places in reference images that it answers to most; a dot marks a unit "
    "of which this image is a top one. A line is an effect: the wider the larger, among those that leave one block; "
    "orange excites, blue inhibits. The strongest are drawn; all are in circuits.json."
)


def circuit_answer(totals: dict[str, Any]) -> Answer:
    """What the run found of the first image, beside random units."""
    first = totals["images"][0]
    others = len(totals["images"]) - 1
    more = f" {others} other image{'s stand' if others > 1 else ' stands'} below." if others else ""
    skipped = totals["skipped"]
    doubts = []
    if totals.get("spread"):
        doubts.append(
            f"Two runs of the model on one input differ by {totals['spread']:.2g}: what stands here is of one run."
        )
    if skipped:
        doubts.append(
            f"Reference images that cannot be used were left out, {len(skipped)} in all; {skipped[0][0]}: "
            f"{skipped[0][1]}."
        )
    number, digits = None, _digits(first["score"])
    if first["drop"] is not None:
        random = np.array(first["drop"]["random"])
        number = Number(
            "Fall of the score without the circuit",
            digits(first["drop"]["circuit"]),
            f"as many random units: {digits(random.mean())} ({digits(random.min())} to {digits(random.max())})",
        )
    return Answer(f"{_said(totals['model'], first)}{more}", number, doubts, more=totals["classes"] or "")


def _said(model: str, image: dict[str, Any]) -> str:
    digits = _digits(image["score"])
    begins = f"{model} gives {image['name']} the class {image['class']} a score of {digits(image['score'])}"
    drop = image["drop"]
    if drop is None:
        return (
            f"{begins}, and no circuit that speaks for it was found: too few reference images resemble this one. Give "
            "--reference more images, or such that are nearer to it."
        )
    random, outside = np.array(drop["random"]), np.array(drop["outside"])
    low, high = random.min(), random.max()
    carries = drop["circuit"] > max(high, outside.max())
    doubt = "" if carries else " Chance does as much in some draws: do not read a reason into this circuit."
    return (
        f"{begins}. Without the {drop['n_units']} units of its circuit it falls by {digits(drop['circuit'])}; without "
        f"as many random units of the same blocks by {digits(random.mean())} ({digits(low)} to {digits(high)} in "
        f"{len(random)} draws), without as many others that answer to the image by {digits(outside.mean())}.{doubt}"
    )


def _digits(score: float) -> Callable[[float], str]:
    """How numbers beside a score are written: a small one, as of a linear probe, with a digit more."""
    places = 1 if abs(score) >= 10 else 2
    return lambda value: f"{round(float(value), places) + 0.0:.{places}f}"  # -0.00 is 0.00


def write_circuit_page(path: Path, run: CircuitRun) -> None:
    """Write the page."""
    totals = run.to_dict()
    sections, pictures = [], []
    for number, (found, image) in enumerate(zip(run.images, totals["images"], strict=True)):
        pixels = run.classifier.shown(run.inputs[number : number + 1].cpu())[0].permute(1, 2, 0).numpy()
        shown = Picture(f"{found.name}, as the model is given it.", png((pixels * 255).round().astype(np.uint8)))
        if not number:
            pictures.append(shown)
        sections.append(
            Section(
                f"{found.name}: {image['class']}",
                [
                    *([Paragraph(_said(totals["model"], image))] if number else []),
                    *([shown] if number else []),
                    *_drawing(run, found, image["class"]),
                    _falls(image),
                    *_circuits(found.graph),
                ],
                closed=number > 0,
            )
        )
    settings = Section(
        "Settings",
        [
            Facts(
                "What this run used",
                {
                    "model": totals["model"],
                    **({"classes": totals["classes"]} if totals["classes"] else {}),
                    "blocks": ", ".join(totals["blocks"]),
                    "reference": f"{totals['n_reference']} images of {totals['reference']}",
                    "top images of a unit": totals["n_top"],
                    **totals["settings"],
                },
            )
        ],
        closed=True,
    )
    write_report(path, "genmend circuit", replace(circuit_answer(totals), pictures=pictures), [*sections, settings])


def _drawing(run: CircuitRun, found: ImageCircuits, target: str) -> list[Drawing]:
    drawn = drawn_circuit(run, found, target)
    return [] if drawn is None else [Drawing(DRAWN, drawn)]


def drawn_circuit(run: CircuitRun, found: ImageCircuits, target: str) -> ElementTree.Element | None:
    """The drawing of an image's circuit, of the part that speaks for the class in words; None where there is none."""
    graph = found.graph.towards_target()
    if not graph.units:
        graph = found.graph
    if not graph.units:
        return None
    units = shown_units(graph)
    device = run.inputs.device
    examples = unit_examples(
        run.classifier.module, run.index, lambda numbers: run.reference.some(numbers).to(device), units
    )
    numbers = sorted({example.number for some in examples.values() for example in some})
    images = {
        number: run.classifier.shown(run.reference.some([number]))[0].permute(1, 2, 0).numpy() for number in numbers
    }
    return draw_circuit(graph, units, found.graph.edges, examples, images, target=target)


def _falls(image: dict[str, Any]) -> Table:
    rows, digits = [], _digits(0)
    for name, drop in (("speaks for the class", image["drop"]), ("all of the image's circuits", image["drop_of_all"])):
        if drop is not None:
            controls = [np.array(drop[control]) for control in ("random", "outside")]
            rows.append(
                [
                    name,
                    drop["n_units"],
                    drop["circuit"],
                    *(f"{digits(falls.mean())} ({digits(falls.min())} to {digits(falls.max())})" for falls in controls),
                ]
            )
    return Table(
        "How far the score falls without the units, and without as many others of the same blocks: the mean, the least "
        "and the largest of the draws.",
        ["circuit", "units", "fall", "random units", "others that answer to the image"],
        rows,
    )


def _circuits(graph: CircuitGraph) -> list[Table]:
    merged = merge_alike(graph.circuits())[:N_CIRCUITS]
    if not merged:
        return []
    names = short_names(graph.blocks)
    rows = [
        [
            ", ".join(f"{names[block]}:{unit}" for block, unit in each.roots[:3])
            + (", ..." if len(each.roots) > 3 else ""),
            len(each.roots),
            len(each.units),
            len(each.edges),
            sum(effect for effect in each.on_target.values()),
        ]
        for each in merged
    ]
    return [
        Table(
            "Its circuits, each from units of which the image is a top one; those that share half their units are "
            "joined. The last column is the sum of what the score falls by without each of its last units.",
            ["begins at", "roots", "units", "effects", "for the class"],
            rows,
        )
    ]
