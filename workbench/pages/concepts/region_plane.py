"""The picture of regions in a plane through three samples."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure as Drawing
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.patheffects import withStroke

from genmend.concepts.regions.planes import Plane
from genmend.concepts.regions.samples import RegionsRun
from genmend.concepts.regions.slices import RegionSlice
from genmend.workbench.pages.page import Figure, Section

__all__ = ["draw_plane", "plane_sections"]

# Okabe and Ito 2008: told apart by all kinds of colour vision.
LINES = ("#000000", "#d55e00", "#0072b2", "#cc79a7")
AREAS = ("#56b4e9", "#e69f00", "#009e73", "#f0e442", "#cc79a7", "#0072b2")
REST = "#bbbbbb"
LETTERS = "ABC"


def plane_sections(run: RegionsRun, name: str) -> list[Section]:
    """The section on the plane of 'query' or of 'kinds'; nothing where there is none."""
    plane = run.planes.get(name)
    if plane is None or plane.seen is None:
        return []
    images = run.samples.shown(plane.numbers).permute(0, 2, 3, 1).numpy()
    names = [run.samples.names[number] for number in plane.numbers]
    of_latents = run.samples.latents is not None
    points = (
        "latents between and beyond theirs" if of_latents else "blends of the three images, which are no photographs"
    )
    anchors = "; ".join(
        f"{letter}, {role}: {name}" for letter, role, name in zip(LETTERS, plane.roles, names, strict=True)
    )
    caption = (
        f"A plane through three samples ({anchors}); {plane.seen.classes.size} points, {points}. The darker, the more "
        "neurons of the layer are in the same state as in A. A line goes round the points in which as many neurons of "
        "a region's rule as it asks for are in its states."
    )
    drawing = draw_plane(
        plane, images, run.samples.class_name, run.states.configurations[plane.numbers[0] : plane.numbers[0] + 1]
    )
    return [Section("In a plane", [Figure(caption, drawing)])]


def draw_plane(plane: Plane, images: np.ndarray, class_name: Any, query: Any) -> Drawing:
    """The share of neurons in the state of the first sample, the classes where there are any, and the three samples.

    Parameters
    ----------
    plane
        With what the model does there.
    images
        RGB in 0..1 of the three samples, shape ``(3, h, w, 3)``.
    class_name
        Names a class by its number; None where the model gives none.
    query : Configurations
        Of the first sample.
    """
    seen = plane.seen
    assert seen is not None
    n_wide = 2 if class_name is not None else 1
    ratio = (seen.up[-1] - seen.up[0]) / (seen.across[-1] - seen.across[0])
    drawing = Drawing(figsize=(4.5 * n_wide + 0.9, min(max(3.4 * ratio, 2.4), 6.0) + 1.2), layout="constrained")
    grid = drawing.add_gridspec(3, n_wide + 1, width_ratios=[*(4.0, 5.2)[:n_wide], 1.1])
    share = 1 - seen.differing(query) / seen.configurations.n_neurons
    axes = drawing.add_subplot(grid[:, 0])
    shown = axes.imshow(share, cmap="Greys", extent=_extent(seen), origin="lower", vmin=share.min(), vmax=1)
    drawing.colorbar(
        shown, ax=axes, orientation="horizontal", label="share of neurons in the state of A", shrink=0.8, pad=0.02
    )
    _outline(axes, plane, seen)
    if class_name is not None:
        beside = drawing.add_subplot(grid[:, 1])
        _classes(beside, seen, class_name)
        _outline(beside, plane, seen, legend=False)
    for letter, image, row in zip(LETTERS, images, range(3), strict=False):
        small = drawing.add_subplot(grid[row, n_wide])
        small.imshow(image.clip(0, 1))
        small.set_title(letter, fontsize=9, pad=2)
        small.set_axis_off()
    return drawing


def _extent(seen: RegionSlice) -> tuple[float, float, float, float]:
    half = (seen.across[1] - seen.across[0]) / 2
    return seen.across[0] - half, seen.across[-1] + half, seen.up[0] - half, seen.up[-1] + half


def _outline(axes: Axes, plane: Plane, seen: RegionSlice, *, legend: bool = True) -> None:
    """A line round each region, with a white rim so that it is seen on any ground, and the letters of the samples."""
    handles = []
    for colour, (name, region) in zip(LINES, plane.regions.items(), strict=False):
        agreeing, inside = seen.agreeing(region), seen.contains(region)
        if inside.any() and not inside.all():
            found = axes.contour(
                seen.across, seen.up, agreeing, levels=[region.at_least - 0.5], colors=colour, linewidths=2
            )
            found.set_path_effects([withStroke(linewidth=4, foreground="white")])
        where = "" if inside.any() and not inside.all() else " (everywhere)" if inside.all() else " (nowhere)"
        handles.append(Line2D([], [], color=colour, linewidth=2, label=f"{name}{where}"))
    for letter, (x, y) in zip(LETTERS, seen.anchors, strict=True):
        axes.plot(x, y, "o", markersize=13, markerfacecolor="white", markeredgecolor="black")
        axes.text(x, y, letter, ha="center", va="center", fontsize=9, color="black")
    axes.set_xticks([])
    axes.set_yticks([])
    if legend:
        axes.legend(handles=handles, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, fontsize=8, frameon=False)


def _classes(axes: Axes, seen: RegionSlice, class_name: Any) -> None:
    """The class that the model gives each point: the most frequent by name, the others grey."""
    numbers, counts = np.unique(seen.classes, return_counts=True)
    named = numbers[np.argsort(-counts, kind="stable")][: len(AREAS)]
    colours = np.full(seen.classes.shape, len(AREAS))
    for place, number in enumerate(named):
        colours[seen.classes == number] = place
    cmap = ListedColormap([*AREAS, REST])
    axes.imshow(
        colours, cmap=cmap, extent=_extent(seen), origin="lower", vmin=0, vmax=len(AREAS), interpolation="nearest"
    )
    handles = [Patch(color=AREAS[place], label=class_name(int(number))) for place, number in enumerate(named)]
    if len(numbers) > len(named):
        handles.append(Patch(color=REST, label=f"{len(numbers) - len(named)} other classes"))
    axes.legend(handles=handles, loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=8, frameon=False)
    axes.set_title("class by the model", fontsize=9)
