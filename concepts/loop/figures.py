"""Images beside the maps that explain them."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import fill
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from genmend.concepts.loop.explain import Explanations

__all__ = ["explained_pixels", "plot_explanations"]

_RED, _BLUE = np.array([1.0, 0.0, 0.0]), np.array([0.0, 0.0, 1.0])


def explained_pixels(image: np.ndarray, attribution: np.ndarray) -> np.ndarray:
    """An image in grey under its map: red speaks for the class, blue against it, the image shows where nothing does.

    Parameters
    ----------
    image
        RGB in 0..1, shape ``(h, w, 3)``.
    attribution
        Shape ``(h, w)``.

    Returns
    -------
    RGB in 0..1, shape ``(h, w, 3)``.
    """
    # Of a map that nowhere speaks against the class, what is above its lowest.
    values = attribution - max(float(attribution.min()), 0.0)
    # The strongest hundredth would leave the rest grey.
    limit = max(float(np.quantile(np.abs(values), 0.99)), float(np.finfo(np.float32).tiny))
    strength = (np.abs(values) / limit).clip(0, 1)[..., None] * 0.85
    grey = (image.clip(0, 1).mean(-1, keepdims=True) + 0.5) / 1.7
    colour = np.where(values[..., None] > 0, _RED, _BLUE)
    pixels: np.ndarray = grey * (1 - strength) + colour * strength
    return pixels


def plot_explanations(
    explanations: Explanations, images: np.ndarray, *, n_methods: int = 5, names: Sequence[str] = ()
) -> Figure:
    """A row an image, a column a method, the best first; red speaks for the class, blue against it.

    Parameters
    ----------
    explanations
    images
        RGB in 0..1, shape ``(n, h, w, 3)``.
    n_methods
        The first so many.
    names
        Of the images' classes; their numbers if empty.
    """
    from matplotlib.figure import Figure

    shown = [each for each in explanations.explained if each.method != "random"][:n_methods]
    n, columns = len(images), len(shown) + 1
    figure = Figure(figsize=(1.9 * columns, 2.0 * n + 0.5), layout="constrained")
    grid = figure.subplots(n, columns, squeeze=False)
    for row, image in enumerate(images):
        grid[row, 0].imshow(image.clip(0, 1))
        probability = explanations.probabilities[row]
        name = names[row] if names else f"class {explanations.targets[row]}"
        grid[row, 0].set_ylabel(f"{fill(name, 18)}\np = {probability:.2f}", fontsize=8)
        for column, each in enumerate(shown, start=1):
            grid[row, column].imshow(explained_pixels(image, each.attributions[row]))
            if row == 0:
                grid[row, column].set_title(each.method.replace("-", "\n"), fontsize=8)
    grid[0, 0].set_title("image", fontsize=8)
    for axes in grid.ravel():
        axes.set_xticks([])
        axes.set_yticks([])
    return figure
