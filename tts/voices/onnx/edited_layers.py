"""Vectors of a graph's layers, whatever the order of its axes, and what to add to a layer for it to give others."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from genmend.tts.text.tokens import Tokens, check_same_layout

__all__ = ["find_deltas", "vectors_of"]

_ROUNDING = 1e-5


def vectors_of(output: np.ndarray, axes: str) -> NDArray[np.float32]:
    """A layer's output as (sentences, tokens, units); `axes` are its own, e.g. "bdn"."""
    return np.asarray(output, np.float32).transpose([axes.index(axis) for axis in "bnd"])


def find_deltas(
    tokens: Tokens,
    vectors: Mapping[str, np.ndarray],
    layers: Sequence[str],
    axes: Mapping[str, str],
    run: Callable[[str, dict[str, np.ndarray]], np.ndarray],
) -> dict[str, np.ndarray]:
    """Find what to add to each layer for it to give these vectors; deeper layers see the shallower ones' edits.

    Parameters
    ----------
    vectors
        layer -> (n, d).
    layers
        All of the voice, shallow to deep.
    axes
        layer -> the order of its axes.
    run
        A layer's output, given deltas as below.

    Returns
    -------
    dict
        ``delta.LAYER`` -> values in the layer's own order of axes, as `expose_layers` makes inputs of them.

    Raises
    ------
    ValueError
        If vectors do not have the shape of their layer.
    """
    deltas: dict[str, np.ndarray] = {}
    for layer in sorted(vectors, key=list(layers).index):
        wanted = check_same_layout(tokens, vectors[layer], layer)
        given = vectors_of(run(layer, deltas), axes[layer])[0]
        if wanted.shape != given.shape:
            raise ValueError(f"vectors of {layer!r} have shape {wanted.shape}, but the voice has {given.shape}.")
        delta = wanted - given
        # Encoded alone or in a batch, a row differs by rounding; that is no edit, and must not change a sample.
        near = np.linalg.norm(delta, axis=1) <= _ROUNDING * np.linalg.norm(given, axis=1)
        delta = np.where(near[:, None], 0, delta)[None]
        deltas[f"delta.{layer}"] = np.ascontiguousarray(delta.transpose(["bnd".index(axis) for axis in axes[layer]]))
    return deltas
