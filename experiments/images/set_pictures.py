"""Pictures of the image-set experiment: pairs in the precision-recall plane, degradation curves, sample galleries."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from PIL import Image

from experiments.images.data import LEVELS
from genmend.manifold.figures import charts as figures

UNITS = {"blur": "sigma (pixels)", "JPEG": "quality", "noise": "standard deviation (0..1)"}
DRAWN = {"precision": "3", "recall": "3", "density": "5", "coverage": "5", "clipped_density": "5"}


def plane_figure(evaluations: Mapping[str, Any], space: str) -> Figure:
    """Every pair as a point, k = 3."""
    figure = figures.precision_recall_plane(evaluations, 3)
    figure.set_size_inches(8, 5)
    figure.suptitle(f"reference, query; features: {space}", fontsize=10)
    return figure


def degradation_figure(evaluations: Mapping[tuple[str, str], Any]) -> Figure:
    """A row a feature space, a column a kind of degradation: metrics against its levels, from clean to worst."""
    spaces = list(dict.fromkeys(space for space, _ in evaluations))
    figure = Figure(figsize=(10, 2.9 * len(spaces)), layout="constrained")
    grid = figure.subplots(len(spaces), len(LEVELS), sharey="row", squeeze=False)
    for row, space in enumerate(spaces):
        for ax, (kind, levels) in zip(grid[row], LEVELS.items(), strict=True):
            names = ["crops, other crops", *(f"crops, {kind} {level:g}" for level in levels)]
            totals = [evaluations[space, name].to_dict()["k"] for name in names]
            for metric, k in DRAWN.items():
                ax.plot([result[k][metric] for result in totals], "o-", markersize=3, label=f"{metric} (k = {k})")
            ax.set_xticks(range(len(names)), ["clean", *(f"{level:g}" for level in levels)])
            ax.set_title(f"{kind}, {space}", fontsize=9)
            ax.set_xlabel(f"{kind}: {UNITS[kind]}", fontsize=9)
    for ax in grid[:, 0]:
        ax.set_ylabel("metric (no unit)")
        ax.set_ylim(0, None)  # now that the whole row, which shares it, is drawn
    figure.legend(
        *grid[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=5, fontsize=8, frameon=False
    )
    return figure


def save_galleries(folder: Path, kinds: tuple[str, ...], evaluation: Any, pair: Any) -> None:
    """The galleries of one pair, named after it."""
    stem = pair.name.replace(", ", "_").replace(" ", "_")
    for kind in kinds:
        images = pair.reference if kind == "missed" else pair.query
        figure = getattr(figures, f"{kind}_gallery")(evaluation, images, 3, n=15)
        save_figure(figure, folder / f"{stem}_{kind}.png", dpi=100)


def save_figure(figure: Figure, path: Path, dpi: int = 80) -> None:
    """As a PNG of 64 colours, a third of the size."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi)
    Image.open(buffer).convert("RGB").quantize(64).save(path, optimize=True)
