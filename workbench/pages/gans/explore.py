"""Pictures and page of ``genmend explore``: each query, its region's samples, the control, and where boundaries lie."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from matplotlib.figure import Figure as Drawing
from matplotlib.layout_engine import ConstrainedLayoutEngine
from numpy.typing import NDArray
from torch import Tensor

from genmend.gans import Generator
from genmend.gans.boundaries import farthest_points
from genmend.manifold.figures.image_grid import to_pixels
from genmend.workbench.pages.page import (
    Answer,
    Facts,
    Figure,
    Number,
    Paragraph,
    Section,
    Table,
    warning_sections,
    write_report,
)
from genmend.workbench.pages.pictures import shown_images

if TYPE_CHECKING:
    from genmend.gans.boundaries.explore import QueryRegion

__all__ = ["explore_answer", "query_picture", "write_explore_report"]

MIXED = 1.1  # split R-hat above which walks have not
_SHOWN = 8  # queries on the page, and samples of each
_SETS = {
    "region": "region",
    "rotated": "region, rotated",
    "l2_ball": "L2 ball",
    "linf_ball": "L-infinity ball",
    "random_set": "random boundaries",
    "random_set_rotated": "random boundaries, rotated",
}


def query_picture(generator: Generator, found: QueryRegion) -> Drawing:
    """The query, the samples of its region that are farthest from each other, the same ones rotated, the boundaries."""
    chosen = farthest_points(torch.cat([found.query, found.latents]), _SHOWN + 1)[1:] - 1
    query = to_pixels(shown_images(generator, found.query))[0]
    rows = {
        "region": to_pixels(shown_images(generator, found.latents[chosen])),
        "rotated": to_pixels(shown_images(generator, found.rotated[chosen])),
    }
    where = _positions(found.mask)
    n_columns = 1 + len(chosen) + (where is not None)
    layout = ConstrainedLayoutEngine(w_pad=0.02, h_pad=0.02, hspace=0.01, wspace=0.01)
    drawing = Drawing(figsize=(1.15 * n_columns, 2.75), layout=layout)
    axes = drawing.subplots(2, n_columns, squeeze=False)
    for axis in axes.flat:
        axis.axis("off")
    _show(axes[0, 0], query, "query", "tab:blue")
    for row, (name, images) in enumerate(rows.items()):
        for column, image in enumerate(images):
            _show(axes[row, 1 + column], image, name if column == 0 else "", "tab:red" if row else "tab:green")
    if where is not None:
        heat = axes[0, -1].imshow(where, cmap="inferno", vmin=0, vmax=max(int(where.max()), 1))
        axes[0, -1].set_title("neurons kept", fontsize=8)
        bar = drawing.colorbar(heat, ax=axes[1, -1], location="top", fraction=0.9, aspect=8)
        bar.ax.tick_params(labelsize=7)
    return drawing


def write_explore_report(
    path: Path, summary: dict[str, Any], queries: Sequence[QueryRegion], generator: Generator
) -> None:
    """The page: pictures first, then what they show in figures, then the settings."""
    explored = {i: found for i, found in enumerate(queries) if not found.none_because}
    mean = summary["mean"]
    caption = (
        "Query {}. Above: samples of its region, the farthest from each other first. Below, the control: the same "
        "latents rotated round the query, with the same distances and norms."
    )
    shown = list(explored.items())[:_SHOWN]
    pictures = [Figure(caption.format(i), query_picture(generator, found)) for i, found in shown]
    write_report(
        path,
        f"genmend explore: {summary['model']}",
        replace(explore_answer(summary, queries), pictures=pictures[:1]),
        [
            *warning_sections(summary["probe"]),
            *([Section("More regions", pictures[1:], True)] if pictures[1:] else []),
            Section("How alike", [_alike_table(mean), _per_query_table(queries)], True),
            Section(
                "How few",
                [_fewness_table(mean, len(explored)), Paragraph("Latents: explored.npz; table: queries.csv.")],
                True,
            ),
            Section(
                "Settings", [Facts("What this run used", {"layer": summary["layer"], **summary["settings"]})], True
            ),
        ],
    )


def explore_answer(summary: dict[str, Any], queries: Sequence[QueryRegion]) -> Answer:
    """How much alike a region's samples are beside the same ones rotated, and beside a region of random boundaries."""
    mean = summary["mean"]
    n = sum(not found.none_because for found in queries)
    ratio = mean["region_pixel_variance"] / max(mean["rotated_pixel_variance"], 1e-12)
    verdict = "more alike than its size alone explains" if ratio < 1 else "no more alike than its size explains"
    return Answer(
        f"{mean['n_members']:.0f} of {mean['n_candidates']:.0f} active {summary['settings']['granularity']}s of layer "
        f"{summary['layer']}{f' (mean over {n} queries)' if n > 1 else ''} alone reproduce the image, to a root mean "
        f"square error of {summary['settings']['tolerance']} of 0..1; the samples on its side of all their boundaries "
        f"are {verdict}.",
        Number(
            "Pixel variance, of that of the same samples rotated round the query", f"{ratio:.2f}", _beside_random(mean)
        ),
        doubts=[text for text in (_no_better(mean, ratio), _not_mixed(mean), _left_out(queries)) if text],
    )


def _random_ratio(mean: dict[str, Any]) -> float | None:
    """The same of a region of as many boundaries by lot; None where it was not measured."""
    if mean["random_set_pixel_variance"] is None:
        return None
    return float(mean["random_set_pixel_variance"] / max(mean["random_set_rotated_pixel_variance"], 1e-12))


def _beside_random(mean: dict[str, Any]) -> str:
    ratio = _random_ratio(mean)
    return "" if ratio is None else f"as many active ones chosen at random: {ratio:.2f}"


def _no_better(mean: dict[str, Any], ratio: float) -> str:
    random = _random_ratio(mean)
    if random is None or random > ratio or ratio >= 1:
        return ""
    return "As many boundaries chosen at random hold samples that are as alike: it is not these that make them so."


def _not_mixed(mean: dict[str, Any]) -> str:
    if mean["r_hat"] is None or mean["r_hat"] < MIXED:
        return ""
    return f"The walks have not mixed (split R-hat up to {mean['r_hat']:.3f}): give more --n-moves."


def _left_out(queries: Sequence[QueryRegion]) -> str:
    """Which queries have no region, and why."""
    reasons = [
        f"Query {i} has no region. {found.none_because}" for i, found in enumerate(queries) if found.none_because
    ]
    return " ".join(reasons)


def _positions(mask: Tensor) -> NDArray[np.int64] | None:
    """Members at each position (h, w); None where units or a flat layer have none."""
    return mask.sum(0).numpy() if mask.ndim == 3 else None


def _show(axis: Any, pixels: NDArray[np.uint8], title: str, color: str) -> None:
    axis.imshow(pixels, interpolation="nearest")
    axis.set_title(title, fontsize=8, color=color, loc="left", pad=3)


def _alike_table(mean: dict[str, Any]) -> Table:
    keys = ("pixel_variance", "feature_distance", "spread", "norm", "inside")
    return Table(
        "Means over the queries; lower variance and feature distance = more alike. All sets have the same mean "
        "distance to the query but those of random boundaries: the walls of as many neurons drawn at random, explored "
        "the same way. A rotated set has the spread and norms of the set it is made of, the balls have not.",
        ["set", "pixel variance", "feature distance", "latent spread", "latent norm", "share inside the region"],
        [[label, *(mean[f"{name}_{key}"] for key in keys)] for name, label in _SETS.items()],
    )


def _per_query_table(queries: Sequence[QueryRegion]) -> Table:
    keys = (
        "n_members",
        "acceptance",
        "r_hat",
        "mean_distance",
        "region_spread",
        "region_pixel_variance",
        "rotated_pixel_variance",
        "region_feature_distance",
        "rotated_feature_distance",
    )
    return Table(
        "Each query.",
        ["query", *(key.replace("_", " ") for key in keys)],
        [[i, *(found.to_dict().get(key) for key in keys)] for i, found in enumerate(queries)],
    )


def _fewness_table(mean: dict[str, Any], n_queries: int) -> Table:
    others = {"magnitude": "by magnitude", "first_order": "by first-order effect", "random": "at random"}
    rows = [["learnt gates", mean["n_members"], mean["rmse"]]]
    rows += [[label, mean[f"{name}_n_needed"], mean[f"{name}_rmse_at_n"]] for name, label in others.items()]
    return Table(
        f"Members that each choice needs to stay within the tolerance, and its error with as many as the gates chose; "
        f"means over {n_queries} queries.",
        ["chosen", "members needed", "RMSE at the gates' number"],
        rows,
    )
