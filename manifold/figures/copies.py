"""Pictures of what a generator may have copied: samples beside the training samples nearest to them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from genmend.manifold.figures.galleries import thumbnail

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["copies_gallery", "ratio_histogram"]

N_SHOWN, PAIRS_A_LINE = 10, 2
_CELL, _HEAD, _ABOVE, _GAP = 1.2, 0.55, 0.2, 0.5  # inches
_BINS = np.linspace(0, 1, 41).tolist()


def ratio_histogram(memorisation: Any, *, ax: Axes | None = None) -> Figure:
    """Nearest over second nearest distance to the training set: of the query, and of held-out samples beside them.

    Copies lie at the left, below the dotted line at one third.

    Parameters
    ----------
    memorisation : Memorisation
        As `manifold.copying.memorisation.memorisation` returns it.
    ax : matplotlib Axes, optional
        Where to draw.
    """
    from matplotlib.figure import Figure

    if ax is None:
        ax = Figure(figsize=(6.0, 3.4), layout="constrained").add_subplot()
    drawn = [("held-out samples", memorisation.test_ratio, "tab:blue"), ("query", memorisation.ratio, "tab:orange")]
    for name, values, colour in drawn:
        if len(values):
            weights = np.full(len(values), 100 / len(values))
            ax.hist(values, _BINS, weights=weights, histtype="step", linewidth=1.6, color=colour, label=name)
    ax.axvline(memorisation.near_ratio, color="black", linewidth=0.8, linestyle=":")
    ax.set(xlim=(0, 1), xlabel="nearest / second nearest distance to the training set", ylabel="% of the set")
    ax.legend(frameon=False, loc="upper left")
    figure = ax.get_figure()
    assert figure is not None
    return figure  # type: ignore[return-value]


def copies_gallery(memorisation: Any, images: Sequence[Any], train_images: Sequence[Any], n: int = N_SHOWN) -> Figure:
    """The likeliest copies first: each sample, and right of it the training samples nearest to it.

    Parameters
    ----------
    memorisation : Memorisation
        As `manifold.copying.memorisation.memorisation` returns it.
    images, train_images : sequence
        The query and the training set in their order: arrays, tensors or paths, as for `galleries.rare_gallery`; only
        those shown are read.
    n : int
        How many samples at most.

    Raises
    ------
    ValueError
        If the images are not as many as the samples, or an image has another shape.
    """
    from matplotlib.figure import Figure

    for given, wanted, name in (
        (images, memorisation.n_query, "query"),
        (train_images, memorisation.n_train, "training"),
    ):
        if len(given) != wanted:
            raise ValueError(
                f"{len(given)} images came with {wanted} {name} samples; give one image for each, in order"
            )
    rows = memorisation.most_copied(n)
    a_pair = (1 + memorisation.nearest.shape[1]) * _CELL + _GAP
    across = min(PAIRS_A_LINE, len(rows))
    width, height = a_pair * across, (_CELL + _ABOVE) * -(-len(rows) // across) + _HEAD
    figure = Figure(figsize=(width, height))
    ax = figure.add_axes((0, 0, 1, 1))
    ax.set_axis_off()
    for place, row in enumerate(rows):
        line, column = divmod(place, across)
        top = height - _HEAD - line * (_CELL + _ABOVE)
        found = zip(memorisation.nearest[row], memorisation.distances[row], strict=True)
        shown = [(images[int(row)], f"row {row}: {memorisation.ratio[row]:.3g}")]
        shown += [(train_images[int(j)], f"training row {j}: {distance:.3g}") for j, distance in found]
        for number, (image, words) in enumerate(shown):
            left = column * a_pair + _GAP / 2 + number * _CELL + (0.12 if number else 0)
            _draw(ax, thumbnail(image), left, top, words)
    ax.set(xlim=(0, width), ylim=(0, height))
    figure.suptitle(
        "Likeliest copies: sample and ratio of nearest to second nearest distance;\n"
        "right of it the nearest training samples and their distance, feature units",
        fontsize=9,
        y=1 - 0.05 / height,
        va="top",
    )
    return figure


def _draw(ax: Axes, pixels: np.ndarray, left: float, top: float, words: str) -> None:
    side = _CELL - 0.08
    h, w = (side * length / max(pixels.shape[:2]) for length in pixels.shape[:2])
    bottom = top - _ABOVE - side + (side - h) / 2
    extent = (left + (side - w) / 2, left + (side + w) / 2, bottom, bottom + h)
    ax.imshow(pixels, cmap="gray", vmin=0, vmax=255, interpolation="nearest", extent=extent, aspect="auto")
    ax.text(left + side / 2, top - _ABOVE + 0.04, words, fontsize=6, ha="center", va="bottom")
