"""A circuit as a drawing: a column a block, a box a unit with the places that it answers to, a line an effect."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping, Sequence
from io import BytesIO
from xml.etree import ElementTree

import numpy as np
from PIL import Image

from genmend.concepts.circuits.circuit import CircuitGraph, Edge, Unit
from genmend.concepts.circuits.unit_examples import UnitExample

__all__ = ["draw_circuit", "short_names", "shown_units"]

N_UNITS = 7  # of each block, that are drawn
N_LINES = 4  # that leave a unit
N_LETTERS = 26  # of a block's name, that fit a column
CROP, GAP = 44, 4  # pixels of an example, between two
ROW, COLUMN, TOP = 92, 250, 60
EXCITES, INHIBITS = "#c2410c", "#1d4ed8"


def shown_units(graph: CircuitGraph, most: int = N_UNITS) -> list[Unit]:
    """The units of each block that weigh most: for the class, and by what they do to those that are shown after them.

    Units that others lead to come first, so that the drawing shows paths.
    """
    own = {unit: max(effect, 0.0) for unit, effect in graph.on_target.items()}
    led_to = {edge.target for edge in graph.edges}
    weight: dict[Unit, float] = {}
    shown: list[Unit] = []
    for block in sorted({block for block, _ in graph.units}, reverse=True):
        units = [unit for unit in graph.units if unit[0] == block]
        for unit in units:
            paths = sum(abs(edge.sensitivity) * weight.get(edge.target, 0.0) for edge in graph.after.get(unit, []))
            weight[unit] = own.get(unit, 0.0) + paths
        units.sort(key=lambda unit: (weight[unit] == 0, unit not in led_to, -weight[unit], unit))
        for unit in units[most:]:
            weight[unit] = 0.0  # what is not shown draws nothing to itself
        # Who leads to nothing that is shown is left out, where there is a class to lead to.
        shown = [unit for unit in units[:most] if weight[unit] or not any(own.values())] + shown
    return shown


def draw_circuit(
    graph: CircuitGraph,
    units: Sequence[Unit],
    edges: Sequence[Edge],
    examples: Mapping[Unit, Sequence[UnitExample]],
    images: Mapping[int, np.ndarray],
    *,
    target: str,
) -> ElementTree.Element:
    """The drawing.

    Parameters
    ----------
    graph
    units
        Those to draw, see `shown_units`.
    edges
        Those between them are drawn, also where they inhibit and are no part of the circuit.
    examples
        Of each unit.
    images
        Number of an example -> RGB in 0..1, ``(h, w, 3)``.
    target
        The class in words, drawn as a last column.
    """
    columns = sorted({block for block, _ in units})
    on_target = {unit: graph.on_target[unit] for unit in units if unit in graph.on_target}
    centres = _centres(units, columns)
    n_rows = max(sum(1 for unit in units if unit[0] == block) for block in columns)
    width, height = COLUMN * len(columns), TOP + ROW * n_rows
    width += 60 + 10 * len(target) if on_target else 0
    svg = ElementTree.Element(
        "svg", {"xmlns": "http://www.w3.org/2000/svg", "viewBox": f"0 0 {width} {height}", "role": "img"}
    )
    _say(svg, "title", f"Units of the circuit that speaks for {target}, block by block")
    drawn = [edge for edge in edges if edge.source in centres and edge.target in centres]
    for block in columns:
        lines = [edge for edge in drawn if edge.source[0] == block]
        largest = max((abs(edge.effect) for edge in lines), default=1.0)
        for edge in _strongest(lines):
            said = f"{graph.name(edge.source)} to {graph.name(edge.target)}: effect {edge.effect:.3g}"
            shared = f", top images in common {edge.flow:.0%}"
            _line(svg, _right(centres[edge.source]), _left(centres[edge.target]), edge.effect, largest, said + shared)
    if on_target:
        end = (COLUMN * len(columns) + COLUMN / 2, TOP + ROW * n_rows / 2)
        largest = max(map(abs, on_target.values()))
        for unit, effect in on_target.items():
            said = f"{graph.name(unit)}: the score of {target} falls by {effect:.3g} without it"
            _line(svg, _right(centres[unit]), (end[0] - 90, end[1]), effect, largest, said)
        _text(svg, end[0] - 84, end[1] + 5, target, size=16)
    for number, block in enumerate(columns):
        n_all = sum(1 for unit in graph.units if unit[0] == block)
        n_shown = sum(1 for unit in units if unit[0] == block)
        title = _text(svg, COLUMN * number + 20, 24, short_names(graph.blocks)[block], size=15)
        _say(title, "title", graph.blocks[block])
        _text(svg, COLUMN * number + 20, 42, f"{n_shown} of {n_all} units", size=11, soft=True)
    for unit in units:
        _box(svg, graph, unit, centres[unit], examples[unit], images)
    return svg


def short_names(blocks: Sequence[str]) -> list[str]:
    """Names of blocks that fit a column: without what they share at the end, and at the beginning but its last part.

    Names that fit stay whole.

    >>> short_names(["tower.encoder.layers.10.mlp.activation", "tower.encoder.layers.11.mlp.activation"])
    ['layers.10', 'layers.11']
    """
    if max(map(len, blocks)) <= N_LETTERS:
        return list(blocks)
    parts = [name.split(".") for name in blocks]
    n_first, n_last = (_shared([own[::step] for own in parts]) for step in (1, -1))
    short = [
        ".".join(own[max(n_first - 1, 0) : len(own) - n_last]) or name for own, name in zip(parts, blocks, strict=True)
    ]
    return [name if len(name) <= N_LETTERS else f"\N{HORIZONTAL ELLIPSIS}{name[1 - N_LETTERS :]}" for name in short]


def _shared(parts: Sequence[Sequence[str]]) -> int:
    """How many of the first parts all share."""
    return next((n for n, own in enumerate(zip(*parts, strict=False)) if len(set(own)) > 1), min(map(len, parts)))


def _centres(units: Sequence[Unit], columns: Sequence[int]) -> dict[Unit, tuple[float, float]]:
    centres = {}
    for number, block in enumerate(columns):
        for row, unit in enumerate(unit for unit in units if unit[0] == block):
            centres[unit] = (COLUMN * number + COLUMN / 2, TOP + ROW * row + ROW / 2)
    return centres


def _strongest(lines: Sequence[Edge]) -> list[Edge]:
    """Of each unit's lines the strongest, the weakest first, so that strong ones lie above."""
    kept: list[Edge] = []
    for source in {edge.source for edge in lines}:
        own = sorted((edge for edge in lines if edge.source == source), key=lambda edge: -abs(edge.effect))
        kept += own[:N_LINES]
    return sorted(kept, key=lambda edge: (abs(edge.effect), edge.source, edge.target))


def _right(centre: tuple[float, float]) -> tuple[float, float]:
    return centre[0] + _box_width() / 2, centre[1]


def _left(centre: tuple[float, float]) -> tuple[float, float]:
    return centre[0] - _box_width() / 2, centre[1]


def _box_width() -> int:
    return 3 * CROP + 4 * GAP


def _line(
    svg: ElementTree.Element,
    start: tuple[float, float],
    end: tuple[float, float],
    effect: float,
    largest: float,
    said: str,
) -> None:
    (left, above), (right, below), middle = start, end, (start[0] + end[0]) / 2
    path = f"M{left:.0f} {above:.0f} C{middle:.0f} {above:.0f} {middle:.0f} {below:.0f} {right:.0f} {below:.0f}"
    colour, width = (EXCITES if effect > 0 else INHIBITS), 1 + 11 * abs(effect) / largest
    line = ElementTree.SubElement(svg, "path", {"d": path, "stroke": colour, "stroke-width": f"{width:.1f}"})
    _say(line, "title", said)


def _box(
    svg: ElementTree.Element,
    graph: CircuitGraph,
    unit: Unit,
    centre: tuple[float, float],
    examples: Sequence[UnitExample],
    images: Mapping[int, np.ndarray],
) -> None:
    left, top = centre[0] - _box_width() / 2, centre[1] - ROW / 2 + 4
    group = ElementTree.SubElement(svg, "g")
    root = unit in graph.roots
    said = f"unit {unit[1]} of {graph.blocks[unit[0]]}" + (", which the image is a top one of" if root else "")
    _say(group, "title", said)
    box = {"x": f"{left:.0f}", "y": f"{top:.0f}", "width": str(_box_width()), "height": str(ROW - 12), "rx": "5"}
    ElementTree.SubElement(group, "rect", box | ({"class": "root"} if root else {}))
    _text(group, left + GAP, top + 16, f"unit {unit[1]}" + (" \N{BLACK CIRCLE}" if root else ""), size=12)
    for number, example in enumerate(examples):
        place = {
            "x": f"{left + GAP + number * (CROP + GAP):.0f}",
            "y": f"{top + 24:.0f}",
            "width": str(CROP),
            "height": str(CROP),
            "href": _crop_uri(images[example.number], example.place),
        }
        ElementTree.SubElement(group, "image", place)


def _crop_uri(image: np.ndarray, place: tuple[float, float] | None) -> str:
    """The surroundings of a place, a JPEG in a data URI."""
    height, width = image.shape[:2]
    side = min(height, width) if place is None else round(0.45 * min(height, width))
    down, right = place or (0.5, 0.5)
    top = int(np.clip(round(down * height - side / 2), 0, height - side))
    left = int(np.clip(round(right * width - side / 2), 0, width - side))
    pixels = (image[top : top + side, left : left + side] * 255).round().astype(np.uint8)
    buffer = BytesIO()
    # Twice as fine as it is drawn, to be looked at nearer.
    Image.fromarray(pixels).resize((2 * CROP, 2 * CROP)).save(buffer, format="JPEG", quality=80)
    return "data:image/jpeg;base64," + b64encode(buffer.getvalue()).decode("ascii")


def _text(
    parent: ElementTree.Element, x: float, y: float, text: str, *, size: int, soft: bool = False
) -> ElementTree.Element:
    place = {"x": f"{x:.0f}", "y": f"{y:.0f}", "font-size": str(size)}
    return _say(parent, "text", text, place | ({"class": "soft"} if soft else {}))


def _say(
    parent: ElementTree.Element, tag: str, text: str, attributes: Mapping[str, str] | None = None
) -> ElementTree.Element:
    made = ElementTree.SubElement(parent, tag, dict(attributes or {}))
    made.text = text
    return made
