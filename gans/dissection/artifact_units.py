"""Units that break images: how far the images that excite a unit most lie from normal ones.

Source: Bau et al., arXiv 1811.10597, section 4.3, which takes the FID of each unit's top images. That is noisy for few
images and slow for many units, so the ranking here is by kernel distance (unit-KID), for all units at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from genmend.manifold import frechet_distance
from genmend.manifold.engine.inputs import to_array
from genmend.storage.progress import with_progress

__all__ = ["unit_frechet", "unit_kid"]

_ROWS = 512


def unit_kid(
    peaks: Tensor | NDArray[np.floating],
    features: NDArray[np.floating],
    reference: NDArray[np.floating],
    *,
    n_top: int = 500,
) -> NDArray[np.float64]:
    """Kernel distance of each unit's top images to the reference, (u,); higher is further off.

    The unbiased squared maximum mean discrepancy of `manifold.kid` (its kernel, one subset: all of both sets), so about
    0, also below, for units whose top images are like the reference.

    Parameters
    ----------
    peaks : (n, u)
        The highest activation of each unit in each image (`unit_peaks`).
    features : (n, d)
        Of the same images.
    reference : (m, d)
        Of normal images, none of them among the n.
    n_top : int
        Images a unit, at least 2; equal peaks are taken in order.

    Raises
    ------
    ValueError
        If the shapes do not fit, or there are fewer than `n_top` images or 2 reference images.
    """
    peaks, features, reference = to_array(peaks, "peaks"), np.asarray(features), np.asarray(reference)
    if len(peaks) != len(features) or features.shape[1:] != reference.shape[1:]:
        raise ValueError(
            f"peaks {peaks.shape}, features {features.shape} and reference {reference.shape} do not fit: "
            "give (n, u), (n, d) and (m, d)."
        )
    if not 2 <= n_top <= len(features) or len(reference) < 2:
        raise ValueError(
            f"n_top is {n_top} of {len(features)} images, with {len(reference)} reference images: at least 2 of each "
            "are needed, and no more than there are."
        )
    top = np.zeros(peaks.shape)
    np.put_along_axis(top, top_images(peaks, n_top), 1.0, axis=0)
    features, reference = features.astype(np.float64), reference.astype(np.float64)
    among, apart = np.zeros(peaks.shape[1]), np.zeros(peaks.shape[1])
    for rows in _blocks(len(features)):
        among += ((_kernel_of_pairs(features, rows) @ top) * top[rows]).sum(0)
        apart += _kernel(features[rows], reference).mean(1) @ top[rows]
    m = len(reference)
    within = np.sum([_kernel_of_pairs(reference, rows).sum() for rows in _blocks(m)]) / (m * (m - 1))
    return np.asarray(among / (n_top * (n_top - 1)) + within - 2 * apart / n_top)


def unit_frechet(
    peaks: Tensor | NDArray[np.floating],
    features: NDArray[np.floating],
    reference: NDArray[np.floating],
    units: Sequence[int],
    *,
    n_top: int = 500,
    progress: bool = False,
) -> NDArray[np.float64]:
    """Fréchet distance of the top images of the named units to the reference, (len(units),).

    The paper's unit-FID where the features are Inception's and the reference is real images; otherwise to be called
    by the extractor's name. Some seconds a unit for wide features; other arguments as in `unit_kid`.
    """
    peaks = to_array(peaks, "peaks")
    rows = top_images(peaks[:, list(units)], n_top)
    return np.array([
        frechet_distance(reference, np.asarray(features)[rows[:, column]])
        for column in with_progress(range(len(units)), "units", len(units), show=progress)
    ])  # fmt: skip


def top_images(peaks: NDArray[np.floating], n_top: int) -> NDArray[np.intp]:
    """Indices of each unit's `n_top` images of highest peak, (n_top, u); of equal ones the earlier."""
    return np.argsort(-peaks, axis=0, kind="stable")[:n_top]


def _blocks(n: int) -> Iterator[slice]:
    return (slice(start, min(start + _ROWS, n)) for start in range(0, n, _ROWS))


def _kernel(x: NDArray[Any], y: NDArray[Any]) -> NDArray[Any]:
    base = x @ y.T / x.shape[1] + 1
    return base * base * base


def _kernel_of_pairs(x: NDArray[Any], rows: slice) -> NDArray[Any]:
    """The kernel of some rows of x with all, 0 for each with itself."""
    kernel = _kernel(x[rows], x)
    kernel[np.arange(len(kernel)), rows.start + np.arange(len(kernel))] = 0
    return kernel
