"""What the Explain tab shows: maps side by side with their scores, what each score asks, the drawing of a circuit."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import Any
from xml.etree import ElementTree

from genmend.concepts.circuits.circuit_images import CircuitRun
from genmend.concepts.loop.explain_images import ExplainRun
from genmend.concepts.loop.figures import explained_pixels
from genmend.workbench.app.page_parts import note_html, pictures_html, table_html
from genmend.workbench.pages.concepts import circuits as circuit_page
from genmend.workbench.pages.concepts import explain as explain_page

__all__ = ["Explained", "circuit_html", "maps_html", "scores_html"]

N_BEST = 5
CONTROL = "random"
_ORDER = "The best first; those that explain another class or random weights alike come last, then the control, noise."


@dataclass(frozen=True)
class Explained:
    """An explained image, and what the network takes it for."""

    run: ExplainRun
    best: tuple[tuple[str, float], ...]


def maps_html(explained: Explained) -> str:
    """The sentence, and the maps, the best method first, the control last."""
    run, totals = explained.run, explained.run.to_dict()
    image = run.images[0]
    pictures: list[tuple[Any, str]] = [(image, f"{totals['classes'][0]}, p = {totals['probabilities'][0]:.2f}")]
    for each in run.explanations.explained:
        score = f"AbPC {each.mean('AbPC')[0]:.2f}"
        name = "random, the control" if each.method == CONTROL else each.method
        pictures.append((explained_pixels(image, each.attributions[0]), f"{name}: {score}"))
    others = ", ".join(f"{name} {probability:.0%}" for name, probability in explained.best)
    said = explain_page.explain_answer(totals).in_words()
    return (
        f'<p class="verdict">{escape(said)}</p>{note_html(f"Its best classes: {others}.")}'
        f'<div class="maps">{pictures_html(pictures, "Map")}</div>'
        "<p>Red speaks for the class, blue against it. AbPC: how much faster the probability falls when pixels are "
        "removed from the top of the map than from its bottom; -1 to 1, higher is better.</p>"
    )


def scores_html(explained: Explained) -> str:
    """Every score of every method; what each asks is folded."""
    found = explained.run.explanations
    names = [measure.name for measure in found.measures]
    rows = [
        [each.method, *(float(each.mean(name)[0]) for name in names), "; ".join(each.warnings)]
        for each in found.explained
    ]
    asked = [[each.name, each.asks, "higher" if each.higher_is_better else "lower"] for each in found.measures]
    return (
        table_html(["method", *names, "to keep in mind"], rows, _ORDER)
        + f"<details><summary>What each score asks</summary>{table_html(['score', 'asks', 'better'], asked)}</details>"
    )


def circuit_html(run: CircuitRun, reference: str) -> str:
    """The sentence with its controls, and the drawing of the circuit; `reference` says what that is."""
    totals = run.to_dict()
    said = f'<p class="verdict">{escape(circuit_page.circuit_answer(totals).in_words())}</p>'
    drawn = circuit_page.drawn_circuit(run, run.images[0], totals["images"][0]["class"])
    if drawn is None:
        return said
    width = drawn.get("viewBox", "").split()[2]
    svg = ElementTree.tostring(drawn, encoding="unicode")
    words = circuit_page.DRAWN.removesuffix("; all are in circuits.json.") + "."
    return (
        f'{said}<div class="drawing" tabindex="0" role="region" aria-label="Drawing of the circuit">'
        f'<div style="min-width: {int(float(width) * 0.8)}px">{svg}</div></div>{note_html(words)}'
        f"{note_html(reference)}"
    )
