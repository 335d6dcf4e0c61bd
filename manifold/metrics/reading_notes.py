"""What to keep in mind when reading and comparing the totals of two sets: sizes, copies, crowding, undefined values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from genmend.manifold.copying.identical_rows import row_keys
from genmend.manifold.engine.radii import knn_radii
from genmend.manifold.metrics.evaluation_result import EvaluationAtK
from genmend.manifold.metrics.kernel_distance import SUBSET_SIZE, subset_size

__all__ = ["FEW_SAMPLES", "reading_notes"]

# Below this the metrics move by several hundredths from draw to draw.
FEW_SAMPLES = 1000
# Two sets of one distribution reach about 1.06 (Naeem et al., README of prdc); few samples scatter beyond it.
_HIGH_DENSITY, _STANDARD_ERRORS = 1.1, 4.0
# Of a ball's radius: closer than chance brings two samples together, unless the reference itself has such pairs.
_NEAR = 0.1


def reading_notes(
    reference: np.ndarray,
    query: np.ndarray,
    asked: Sequence[str],
    at: Mapping[int, EvaluationAtK],
    nearest: Mapping[str, np.ndarray] | None = None,
) -> tuple[str, ...]:
    """Sentences without a full stop, for whoever shows the result of checked features.

    `nearest` holds how far each sample of a set is from the nearest other one of it, by the set's name.
    """
    n, m, d = len(reference), len(query), reference.shape[1]
    found = _sizes(n, m)
    copies, near, doubles = _copies(reference, query, at)
    found += doubles + _near_doubles(nearest or {})
    if copies:
        found.append(f"{copies} of the {m} query samples are exact copies of reference samples: what is said of them "
                     f"is no news; score against samples that they were not taken from, or leave them out")  # fmt: skip
    if near:
        found.append(f"{near} of the {m} query samples are near copies of reference samples, less than a tenth of a "
                     f"ball's radius away, as hardly any of the reference's own are: copied or memorised?")  # fmt: skip
    for k, values in at.items():
        if _is_crowded(values, m, (copies + near) / m):
            found.append(f"density at k = {k} is {values.totals['density']:.3g}: above 1 usually means that the query "
                         f"gathers in few large balls, not that it is good; see clipped_density")  # fmt: skip
        if "rarity" in asked and np.isnan(values.arrays["reference_rarity"]).all():
            found.append(f"no reference sample is in a ball of another at k = {k}: rarity has no percentile"
                         + ("" if values.arrays["radius"].any() else "; all radii are 0"))  # fmt: skip
    if "kid" in asked and subset_size(n, m) < SUBSET_SIZE:
        found.append(f"kid takes subsets of {subset_size(n, m)} samples, not the usual {SUBSET_SIZE}")
    if "frechet" in asked and min(n, m) <= d:
        found.append(f"{min(n, m)} samples of {d} features have a singular covariance: the Fréchet distance is far off")
    return tuple(found)


def _sizes(n: int, m: int) -> list[str]:
    found = []
    if n != m:
        found.append(f"{n} reference and {m} query samples: values depend on both; compare only equal sizes")
    if min(n, m) < FEW_SAMPLES:
        found.append(f"only {min(n, m)} samples in the smaller set: differences of several hundredths are chance")
    return found


def _copies(reference: np.ndarray, query: np.ndarray, at: Mapping[int, EvaluationAtK]) -> tuple[int, int, list[str]]:
    """Numbers of exact and of near copies of the reference among the query, and what to say of doubles in one set."""
    ours, theirs = row_keys((reference, query))
    known = set(ours)
    exact = np.array([digest in known for digest in theirs])
    doubles = [
        f"{len(digests) - len(set(digests))} of the {len(digests)} {name} samples are exact copies of others of it"
        for name, digests in (("reference", ours), ("query", theirs))
        if len(set(digests)) < len(digests)
    ]
    smallest = at[min(at)].arrays if at else {}
    if "score" not in smallest:
        return int(exact.sum()), 0, doubles
    near = int(((smallest["score"] < _NEAR) & ~exact).sum())
    if near:  # as many as the reference's own pairs let expect, and their scatter?
        radius = smallest["radius"]
        own = float(np.mean(knn_radii(reference, 1)[radius > 0] < _NEAR * radius[radius > 0])) if radius.any() else 1.0
        expected = own * len(query)
        near = near if near > 3 * expected + 3 * np.sqrt(expected) else 0
    return int(exact.sum()), near, doubles


def _near_doubles(nearest: Mapping[str, np.ndarray]) -> list[str]:
    """What to say of samples of one set that are nearly others of it, where the other set has hardly any such.

    Compared with a tenth of the set's middle distance: rows that differ by noise or by compression.
    """
    counts = {}
    for name, distances in nearest.items():
        apart = distances[distances > 0]
        near = int(np.sum(apart < _NEAR * np.median(apart))) if len(apart) else 0
        counts[name] = near, len(distances), _near_by_chance(apart)
    found = []
    for name, other in (("reference", "query"), ("query", "reference")):
        if len(counts) < 2 or not counts[name][0]:
            continue
        (near, n, chance), (others, m, _) = counts[name], counts[other]
        expected = max(others * n / m, chance)
        if near > 3 * expected + 3 * np.sqrt(expected):
            found.append(f"{near} of the {n} {name} samples are nearly identical to others of it, less than a tenth of "
                         f"the usual distance away, as hardly any of the {other} are")  # fmt: skip
    return found


def _near_by_chance(apart: np.ndarray) -> float:
    """How many of these distances to the nearest other, (n,), would lie below a tenth of their median by chance alone.

    Where points are scattered evenly in d dimensions, the d-th power of that distance is exponential: d follows from
    the quartiles, 1.573 / log(upper / lower). In few dimensions such neighbours are common, in many there are none.
    """
    if len(apart) < 2:
        return 0.0
    lower, upper = np.quantile(apart, (0.25, 0.75))
    if lower == upper:
        return 0.0
    dimension = 1.573 / np.log(upper / lower)
    return float(len(apart) * (1 - 0.5 ** (_NEAR**dimension)))


def _is_crowded(values: EvaluationAtK, m: int, copied: float) -> bool:
    """Whether density is farther above 1 than chance, and copies of the reference, would bring it.

    Ball counts scatter over the queries as they do; query counts, in two sets of one distribution, as a negative
    binomial law says (see `metrics.calibration`), whatever the dimension.
    """
    density = values.totals.get("density")
    if density is None or density - copied / values.k <= _HIGH_DENSITY:
        return False
    k, n = values.k, len(values.arrays["radius"])
    variance = np.var(values.arrays["ball_count"] / k) / m + (1 + n / m) / (k * n)
    return bool(density - copied / k - 1 > _STANDARD_ERRORS * np.sqrt(variance))
