"""What the Samples tab shows of a comparison: the sentence, the planes, the table, galleries, one picture's place."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from html import escape
from typing import Any, TypeVar, cast
from weakref import WeakKeyDictionary

import numpy as np

from genmend.manifold import nearest_neighbors
from genmend.manifold.figures import charts, galleries
from genmend.workbench.app.comparison import Comparison
from genmend.workbench.app.page_parts import figure_html, note_html, pictures_html, pixels_of, table_html
from genmend.workbench.commands.score import ScoreRun

__all__ = ["GALLERIES", "gallery_of", "names_of", "place_of", "planes", "sets_table", "verdict"]

Show = TypeVar("Show", bound=Callable[..., Any])
N_SHOWN, N_NEIGHBOURS = 12, 5
# Name of a gallery -> title, rows of an evaluation, the value behind, in words; and whose samples they are.
GALLERIES: dict[str, tuple[str, Callable[..., np.ndarray], str, str, str]] = {
    "rare": ("Rarest on the manifold, rarity", galleries.rarest, "rarity", "rarity", "query"),
    "off": ("Farthest off the manifold, in radii", galleries.worst_outside, "score", "distance / radius", "query"),
    "missed": ("Missed by the samples, radius", galleries.worst_missed, "radius", "radius", "reference"),
}
_COLUMNS = ("precision", "recall", "density", "coverage", "rarity_percentile_mean")


def _drawn_once(show: Show) -> Show:
    """Draw once for each comparison, as long as it is kept: every session opens on the same example."""
    kept: WeakKeyDictionary[Comparison, dict[tuple[str, ...], Any]] = WeakKeyDictionary()

    @wraps(show)
    def shown(comparison: Comparison, *names: str) -> Any:
        drawn = kept.setdefault(comparison, {})
        if names not in drawn:
            drawn[names] = show(comparison, *names)
        return drawn[names]

    return cast("Show", shown)


def verdict(comparison: Comparison, name: str) -> str:
    """One sentence on a set, each share beside what two sets alike would reach; what to mind is folded."""
    result = comparison.runs[name].to_dict()
    totals = result["k"][str(comparison.k)]
    sizes_differ = result["n_query"] != result["n_reference"]
    shares = (
        ("precision", "expected_precision", "of its samples lie on the manifold of the reference"),
        ("recall", "" if sizes_differ else "expected_precision", "of the reference is within their reach"),
    )
    said = [
        f"<strong>{totals[share]:.0%}</strong> {words}" + _yardstick(totals.get(expected))
        for share, expected, words in shares
        if totals.get(share) is not None
    ]
    notes = "".join(f"<li>{escape(note)}.</li>" for note in result["warnings"])
    count = len(result["warnings"])
    folded = f"<details><summary>To keep in mind ({count})</summary><ul>{notes}</ul></details>" if notes else ""
    return (
        f'<p class="verdict"><strong>{escape(name)}</strong> beside {escape(comparison.reference_name)}: '
        f"{'; '.join(said)}.</p>{note_html(comparison.about)}{folded}"
    )


def _yardstick(alike: float | None) -> str:
    return "" if alike is None else f" (two sets alike: {alike:.0%})"


@_drawn_once
def planes(comparison: Comparison) -> str:
    """Every set in the plane of precision and recall, and in that of density and coverage."""
    evaluations = {name: run.evaluation for name, run in comparison.runs.items()}
    drawn = (
        (charts.precision_recall_plane, "Precision to the right and recall upwards"),
        (charts.density_coverage_plane, "Density to the right and coverage upwards"),
    )
    pictures = []
    for draw, words in drawn:
        try:
            said = f"{words}, a point for each of: {', '.join(evaluations)}"
            pictures.append(figure_html(draw(evaluations, comparison.k), said))
        except ValueError:  # its metric was not asked for
            continue
    return f'<div class="figures">{"".join(pictures)}</div>'


@_drawn_once
def sets_table(comparison: Comparison) -> str:
    """A row for each set, below what two sets alike would have."""
    k = str(comparison.k)
    found = {name: run.to_dict() for name, run in comparison.runs.items()}
    first = next(iter(found.values()))
    alike = first["k"][k]
    same_size = all(one["n_query"] == one["n_reference"] for one in found.values())
    expected = alike.get("expected_precision")
    rows = [["two sets alike", None, expected, expected if same_size else None, 1.0, alike.get("expected_coverage")]]
    rows[0] += [0.5, 0.0]
    for name, one in found.items():
        rows.append([name, one["n_query"], *(one["k"][k].get(column) for column in _COLUMNS), one.get("kid")])
    header = ["set", "samples", "precision", "recall", "density", "coverage", "rarity (rank)", "kernel distance"]
    return table_html(
        header,
        rows,
        f"k = {k}. Compare each row with the first; rarity is a rank among the reference's own, 0.5 as rare as it.",
    )


def names_of(comparison: Comparison) -> list[str]:
    """The sets, the last added first."""
    return list(comparison.runs)[::-1]


@_drawn_once
def gallery_of(comparison: Comparison, name: str, kind: str) -> list[tuple[np.ndarray, str]]:
    """The pictures of a gallery with their values; none where the samples are no pictures."""
    run = comparison.runs[name]
    samples = _samples(run, kind)
    if samples.kind != "images" or samples.sample is None:
        return []
    values = run.per_sample()[f"k{comparison.k}_{GALLERIES[kind][2]}"]
    return [(pixels_of(samples.sample(row)), f"{values[row]:.2f}") for row in _rows(comparison, run, kind)]


def named_rows(comparison: Comparison, name: str) -> str:
    """The rows behind the galleries as tables, for sounds and features, which have no picture."""
    run, parts = comparison.runs[name], []
    for kind, (title, _, value, words, _) in GALLERIES.items():
        samples = _samples(run, kind)
        if samples.kind != "images":
            values = run.per_sample()[f"k{comparison.k}_{value}"]
            rows = [[int(row), samples.names[row], float(values[row])] for row in _rows(comparison, run, kind)]
            parts.append(table_html(["row", "name", words], rows, f"{title}: the first {len(rows)}"))
    return "".join(parts)


def place_of(comparison: Comparison, name: str, kind: str, index: int) -> str:
    """One picture of a gallery: its nearest neighbours in the other set, and its place in the histogram.

    Raises
    ------
    IndexError
        If the gallery has fewer pictures.
    """
    run, k = comparison.runs[name], comparison.k
    row = int(_rows(comparison, run, kind)[index])
    own = _samples(run, kind)
    others, whose = (run.query, f"samples of {name}") if kind == "missed" else (run.reference, "reference samples")
    found = nearest_neighbors(others.values, own.values[row : row + 1], min(N_NEIGHBOURS, len(others)))
    arrays = run.per_sample()
    if own.sample is None or others.sample is None:
        raise ValueError("These samples have no pictures.")
    near = [
        (others.sample(int(other)), f"{others.names[other]}: {distance:.2f}")
        for other, distance in zip(found.indices[0], found.distances[0], strict=True)
    ]
    said = _said(arrays, k, kind, row)
    return (
        f"<h3>{escape(own.names[row])}</h3>{note_html(said)}"
        f'<div class="place">{pictures_html([(own.sample(row), "this one")], "The picture")}'
        f"{pictures_html(near, f'Its nearest {whose}')}</div>"
        f"<p>To the right of the picture: its nearest {whose}, with their distances in feature units.</p>"
        f"{_histogram(run, arrays, k, kind, row)}"
    )


def _said(arrays: Any, k: int, kind: str, row: int) -> str:
    if kind == "missed":
        radius = arrays[f"k{k}_radius"][row]
        return (
            f"None of the samples comes within {radius:.2f}, the distance to this reference sample's own neighbour {k}."
        )
    if kind == "off":
        score = arrays[f"k{k}_score"][row]
        return f"It lies off the manifold: {score:.2f} radii from the centre of the nearest ball, where 1 is its edge."
    rank = arrays[f"k{k}_rarity_percentile"][row] if f"k{k}_rarity_percentile" in arrays else None
    ranked = "" if rank is None else f", rarer than {rank:.0%} of the reference itself"
    return f"It lies on the manifold with rarity {arrays[f'k{k}_rarity'][row]:.2f}{ranked}."


def _histogram(run: ScoreRun, arrays: Any, k: int, kind: str, row: int) -> str:
    """The histogram that the picture has a place in, with a line at that place."""
    if kind == "off":
        figure, at = charts.score_histogram(run.evaluation, k), float(arrays[f"k{k}_score"][row])
        words = "distances of all samples from the manifold"
    else:
        name = "reference_rarity" if kind == "missed" else "rarity"
        figure, at = charts.rarity_histogram(run.evaluation, k), float(arrays[f"k{k}_{name}"][row])
        words = "rarity of the samples and of the reference"
    (ax,) = figure.axes
    if np.isfinite(at):
        ax.axvline(min(at, ax.get_xlim()[1]), color="crimson", linewidth=2, label=f"this picture: {at:.2f}")
        ax.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=1, fontsize="small", frameon=False)
    else:
        words += "; this one has no rarity, since it lies outside every ball but its own"
    return figure_html(figure, f"Histogram of the {words}, with this picture's place")


def _samples(run: ScoreRun, kind: str) -> Any:
    return run.reference if GALLERIES[kind][4] == "reference" else run.query


def _rows(comparison: Comparison, run: ScoreRun, kind: str) -> np.ndarray:
    return GALLERIES[kind][1](run.evaluation, comparison.k, N_SHOWN)
