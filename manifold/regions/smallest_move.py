"""The shortest step from outside a ball into it that survives rounding."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from genmend.manifold.engine.balls import is_within
from genmend.manifold.engine.distances import pair_distances
from genmend.manifold.engine.inputs import is_tensor, to_array

# Shares of the radius by which to end below the sphere: none, then from one rounding of float64 to the centre itself.
_DEPTHS = (0.0, *(4.0**power for power in range(-26, 1)))


def step_inside(
    features: np.ndarray, centers: np.ndarray, radii: np.ndarray, closed: bool, given: Any
) -> tuple[np.ndarray, np.ndarray]:
    """Move each vector straight towards its ball's centre until it is inside, also after rounding.

    Of all points of a ball, the nearest to a vector outside lies on the segment to the centre. Rounded to the type in
    which the vectors came it may lie outside by a hair: then the step goes deeper, little by little.

    Parameters
    ----------
    features
        (m, d) checked vectors, each outside its ball.
    centers, radii
        (m, d) and (m,): the ball of each.
    closed
        Whether balls contain their sphere.
    given
        What the vectors came in; decides the type to round to (`stored_like`).

    Returns
    -------
    (m, d) float64, values of that type, and (m,) bool: whether a point of that type lies inside. Where none was found
    (a ball smaller than the type resolves) the vector is as before.
    """
    start, middle = features.astype(np.float64), centers.astype(np.float64)
    shares = radii / pair_distances(features, np.arange(len(features)), centers, np.arange(len(features)))
    ended, arrived = start.copy(), np.zeros(len(features), dtype=bool)
    for depth in _DEPTHS:
        left = np.flatnonzero(~arrived)
        if not left.size:
            break
        way = (start[left] - middle[left]) * (shares[left, None] * (1 - depth))
        with np.errstate(over="ignore"):  # infinite in half precision: not inside
            tried = to_array(stored_like(middle[left] + way, given, features.dtype), "vectors").astype(np.float64)
        inside = is_within(pair_distances(tried, np.arange(len(left)), centers, left), radii[left], closed)
        ended[left[inside]], arrived[left[inside]] = tried[inside], True
    return ended, arrived


def stored_like(values: np.ndarray, given: Any, otherwise: np.dtype) -> Any:
    """`values` as an array or tensor of the kind and floating type of `given`; `otherwise` where it has no such type.

    A tensor comes back on the same device.
    """
    if is_tensor(given):
        torch = sys.modules["torch"]
        dtype = given.dtype if given.is_floating_point() else torch.from_numpy(np.empty(0, otherwise)).dtype
        return torch.from_numpy(values).to(dtype).to(given.device)
    dtype = getattr(given, "dtype", otherwise)
    return values.astype(dtype if isinstance(dtype, np.dtype) and dtype.kind == "f" else otherwise)
