"""What figures read out of an evaluation, and galleries of the samples behind its numbers.

`value`, `interval` and `per_sample` say what to compute where something is not there. The galleries show the most and
the least rare samples, the ones farthest outside, and the missed samples of the reference.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from genmend.manifold.engine.inputs import to_array

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "chosen_k",
    "common_gallery",
    "gallery",
    "interval",
    "missed_gallery",
    "most_common",
    "numbers_of_k",
    "off_manifold_gallery",
    "per_sample",
    "rare_gallery",
    "rarest",
    "thumbnail",
    "value",
    "worst_missed",
    "worst_outside",
]

N_SHOWN = 25
LARGEST = 192  # pixels: a side of a thumbnail
# Inches: a cell is an image with what is written above it.
_CELL_WIDTH, _CELL_HEIGHT, _SIDE, _HEAD = 1.35, 1.55, 1.28, 0.3


def numbers_of_k(evaluation: Any) -> list[int]:
    """Every k that was computed, ascending."""
    return sorted(int(k) for k in evaluation.to_dict()["k"])


def chosen_k(evaluation: Any, k: int | None) -> int:
    """`k` where it was computed, the smallest one where it is None."""
    known = numbers_of_k(evaluation)
    if not known:
        raise ValueError("no metric of the k nearest neighbours was computed; pass one to evaluate, e.g. precision")
    if k is not None and k not in known:
        raise ValueError(f"k = {k} was not computed; {known} were; pass it to evaluate")
    return known[0] if k is None else k


def value(evaluation: Any, k: int, name: str) -> float:
    """One total of one k; NaN where it is undefined."""
    totals = evaluation.to_dict()["k"][str(k)] if k in numbers_of_k(evaluation) else {}
    if name not in totals:
        raise ValueError(f"{name} at k = {k} was not computed; pass both to evaluate")
    return float("nan") if totals[name] is None else float(totals[name])


def interval(evaluation: Any, k: int, name: str) -> tuple[float, float] | None:
    """Interval of a total, or None where there is none."""
    found = (evaluation.to_dict().get("intervals") or {}).get(str(k), {}).get(name)
    return None if found is None or None in found else (float(found[0]), float(found[1]))


def per_sample(evaluation: Any, name: str) -> np.ndarray:
    """One per-sample array, e.g. ``k3_rarity``."""
    arrays = evaluation.per_sample()
    if name not in arrays:
        raise ValueError(f"{name} was not computed; {', '.join(arrays) or 'no per-sample array'} were; "
                         f"pass its metric to evaluate")  # fmt: skip
    return to_array(arrays[name], name)


def rarest(evaluation: Any, k: int | None = None, n: int = N_SHOWN) -> np.ndarray:
    """Rows of the rarest queries inside the manifold, the rarest first."""
    return _inside_by_rarity(evaluation, k)[::-1][:n]


def most_common(evaluation: Any, k: int | None = None, n: int = N_SHOWN) -> np.ndarray:
    """Rows of the least rare queries inside the manifold, the most common first."""
    return _inside_by_rarity(evaluation, k)[:n]


def worst_outside(evaluation: Any, k: int | None = None, n: int = N_SHOWN) -> np.ndarray:
    """Rows of the queries outside every ball, the farthest (in radii) first."""
    k = chosen_k(evaluation, k)
    outside = np.flatnonzero(~per_sample(evaluation, f"k{k}_inside").astype(bool))
    return outside[np.argsort(-per_sample(evaluation, f"k{k}_score")[outside], kind="stable")][:n]


def worst_missed(evaluation: Any, k: int | None = None, n: int = N_SHOWN) -> np.ndarray:
    """Rows of the reference samples whose ball holds no query, those of the densest places first.

    A small ball that nobody entered is a common sample that is missed; a large one is an outlier of the reference.
    """
    k = chosen_k(evaluation, k)
    missed = np.flatnonzero(~per_sample(evaluation, f"k{k}_covered").astype(bool))
    return missed[np.argsort(per_sample(evaluation, f"k{k}_radius")[missed], kind="stable")][:n]


def rare_gallery(evaluation: Any, images: Sequence[Any], k: int | None = None, n: int = N_SHOWN) -> Figure:
    """The rarest queries inside the manifold, their rarity (feature units) under each.

    Parameters
    ----------
    evaluation : Evaluation
        As `manifold.evaluate` returns it.
    images : sequence
        The query in its order: arrays or tensors (h, w), (h, w, 3) or (3, h, w), uint8 or floats in [0, 1], or paths of
        image files; only those shown are read.
    k : int, optional
        One of those computed; the smallest where left out.
    n : int
        How many at most.

    Returns
    -------
    matplotlib Figure

    Raises
    ------
    ValueError
        If the images are not as many as the samples, an image has another shape, or the metric was not computed.
    """
    k = chosen_k(evaluation, k)
    values = per_sample(evaluation, f"k{k}_rarity")
    rows = rarest(evaluation, k, n)
    return gallery(images, rows, f"Rarest on the manifold (k = {k}): rarity, feature units", values)


def common_gallery(evaluation: Any, images: Sequence[Any], k: int | None = None, n: int = N_SHOWN) -> Figure:
    """The least rare queries inside the manifold; arguments and the rest as for `rare_gallery`."""
    k = chosen_k(evaluation, k)
    values = per_sample(evaluation, f"k{k}_rarity")
    rows = most_common(evaluation, k, n)
    return gallery(images, rows, f"Most common on the manifold (k = {k}): rarity, feature units", values)


def off_manifold_gallery(evaluation: Any, images: Sequence[Any], k: int | None = None, n: int = N_SHOWN) -> Figure:
    """The queries farthest outside, smallest distance / radius under each; the rest as for `rare_gallery`."""
    k = chosen_k(evaluation, k)
    values = per_sample(evaluation, f"k{k}_score")
    rows = worst_outside(evaluation, k, n)
    return gallery(images, rows, f"Farthest off the manifold (k = {k}): distance / radius", values)


def missed_gallery(evaluation: Any, images: Sequence[Any], k: int | None = None, n: int = N_SHOWN) -> Figure:
    """Reference samples whose ball holds no query, the most typical first, their radius (feature units) under each.

    `images` is the reference; the rest as for `rare_gallery`.
    """
    k = chosen_k(evaluation, k)
    values = per_sample(evaluation, f"k{k}_radius")
    rows = worst_missed(evaluation, k, n)
    return gallery(images, rows, f"Reference samples that no query is near (k = {k}): radius, feature units", values)


def gallery(images: Sequence[Any], rows: np.ndarray, title: str, values: np.ndarray, columns: int = 5) -> Figure:
    """The images of `rows` in reading order with their value and row number; `values` has one for each image.

    Raises
    ------
    ValueError
        If there are not as many images as values, or an image has another shape than those accepted.
    """
    from matplotlib.figure import Figure

    if len(images) != len(values):
        raise ValueError(f"{len(images)} images came with {len(values)} samples; give one image for each, in order")
    if not len(rows):
        figure = Figure(figsize=(6.0, 1.0), layout="constrained")
        figure.text(0.5, 0.5, f"{title}:\nthere are none", ha="center", va="center")
        return figure
    columns = min(columns, len(rows))
    lines = -(-len(rows) // columns)
    width, height = max(_CELL_WIDTH * columns, 5.4), _CELL_HEIGHT * lines + _HEAD
    figure = Figure(figsize=(width, height))
    # One pair of axes, in inches, for all: a pair for each image and a layout engine take four times as long to draw.
    ax = figure.add_axes((0, 0, 1, 1))
    ax.set_axis_off()
    left = (width - _CELL_WIDTH * columns) / 2
    for place, row in enumerate(rows):
        line, column = divmod(place, columns)
        pixels = thumbnail(images[int(row)])
        x, y = left + (column + 0.5) * _CELL_WIDTH, height - _HEAD - (line + 1) * _CELL_HEIGHT + _SIDE / 2
        half_height, half_width = (_SIDE / 2 * length / max(pixels.shape[:2]) for length in pixels.shape[:2])
        extent = (x - half_width, x + half_width, y - half_height, y + half_height)
        ax.imshow(pixels, cmap="gray", vmin=0, vmax=255, interpolation="nearest", extent=extent, aspect="auto")
        ax.text(x, extent[3] + 0.03, f"{values[row]:.3g}  (row {row})", fontsize=7, ha="center", va="bottom")
    ax.set(xlim=(0, width), ylim=(0, height))
    figure.suptitle(title, fontsize=10, y=1 - 0.05 / height, va="top")
    return figure


def _inside_by_rarity(evaluation: Any, k: int | None) -> np.ndarray:
    rarity = per_sample(evaluation, f"k{chosen_k(evaluation, k)}_rarity")
    order = np.argsort(rarity, kind="stable")  # NaN, the samples outside, comes last
    return order[: int(np.isfinite(rarity).sum())]


def thumbnail(image: Any) -> np.ndarray:
    """(h, w) or (h, w, 3) uint8, no side above LARGEST."""
    from PIL import Image

    if isinstance(image, str | os.PathLike):
        from genmend.manifold.features import read_image

        image = read_image(os.fspath(image))
    pixels = _pixels(image)
    picture = Image.fromarray(pixels)
    picture.thumbnail((LARGEST, LARGEST))
    return np.asarray(picture)


def _pixels(image: Any) -> np.ndarray:
    given = image.detach().cpu().numpy() if hasattr(image, "detach") else np.asarray(image)
    if given.ndim == 3 and given.shape[0] in (1, 3) and given.shape[2] not in (1, 3):
        given = np.moveaxis(given, 0, 2)
    if given.ndim == 3 and given.shape[2] == 1:
        given = given[..., 0]
    if given.ndim not in (2, 3) or (given.ndim == 3 and given.shape[2] != 3):
        raise ValueError(f"an image has shape {given.shape}; (h, w), (h, w, 3) and (3, h, w) are accepted")
    if given.dtype == np.uint8:
        return np.ascontiguousarray(given)
    return np.ascontiguousarray((np.clip(given.astype(np.float64), 0, 1) * 255).round().astype(np.uint8))
