"""Precision, recall, density and coverage: shares and counts of samples in the balls of the other set."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from genmend.manifold.engine.inputs import as_count, as_features, need_samples
from genmend.manifold.engine.radii import BLOCK_SIZE
from genmend.manifold.kept_features.given import given_sets
from genmend.manifold.metrics.evaluation import evaluate
from genmend.manifold.metrics.evaluation_result import Evaluation

__all__ = ["PRDC_METRICS", "compute_prdc", "coverage", "density", "prdc", "precision", "recall"]

# The metrics of `prdc`.
PRDC_METRICS = ("precision", "recall", "density", "coverage")


def precision(reference: Any, query: Any, k: int = 3, closed: bool = True, *, block_size: int = BLOCK_SIZE) -> float:
    """Fraction of the query inside the reference's balls, in [0, 1]; higher is better (fidelity).

    Arguments as for `prdc`; the radii of the query are not needed.

    Notes
    -----
    Source: Kynkäänniemi et al., eq. 2, arXiv 1904.06991.

    Examples
    --------
    >>> precision([[0.0], [1.0], [3.0], [7.0]], [[0.5], [2.0], [5.5], [12.0]], k=1)
    0.75
    """
    k = as_count(k, "k")
    return evaluate(reference, query, k, "precision", closed=closed, block_size=block_size)[k].totals["precision"]


def recall(reference: Any, query: Any, k: int = 3, closed: bool = True, *, block_size: int = BLOCK_SIZE) -> float:
    """Fraction of the reference inside the query's balls, in [0, 1]; higher is better (diversity).

    Precision with the roles swapped. Arguments as for `prdc`.

    Notes
    -----
    Source: Kynkäänniemi et al., eq. 2, arXiv 1904.06991.
    """
    ours, theirs = given_sets(reference, query)
    x = as_features(ours.values, "reference")  # checked before they change places, for messages
    y = as_features(theirs.values, "query", x.shape[1])
    need_samples(len(y), as_count(k, "k"), "query")
    return precision(query, reference, k, closed, block_size=block_size)


def density(reference: Any, query: Any, k: int = 5, closed: bool = True, *, block_size: int = BLOCK_SIZE) -> float:
    """Mean number of reference balls that contain a query, over k: from 0, about 1 for equal distributions.

    Higher means nearer to dense parts of the reference, but above 1 usually means that the query gathers inside the
    large balls of outliers. Arguments as for `prdc`.

    Notes
    -----
    Source: Naeem et al., eq. 3, arXiv 2002.09797.
    """
    k = as_count(k, "k")
    return evaluate(reference, query, k, "density", closed=closed, block_size=block_size)[k].totals["density"]


def coverage(reference: Any, query: Any, k: int = 5, closed: bool = True, *, block_size: int = BLOCK_SIZE) -> float:
    """Fraction of the reference balls that contain a query, in [0, 1]; higher is better (diversity).

    The authors' code takes open balls, `closed=False`; like the other three this defaults to closed ones, so that
    equal sets score 1 even where all their samples coincide. The two differ only if a query lies exactly on a sphere.
    Arguments as for `prdc`; compare with `expected_coverage`.

    Notes
    -----
    Source: Naeem et al., eq. 4, arXiv 2002.09797.
    """
    k = as_count(k, "k")
    return evaluate(reference, query, k, "coverage", closed=closed, block_size=block_size)[k].totals["coverage"]


def prdc(
    reference: Any,
    query: Any,
    k: int | Sequence[int] = (3, 5),
    closed: bool = True,
    *,
    block_size: int = BLOCK_SIZE,
) -> Evaluation:
    """All four metrics for every k, with their per-sample parts, from one sweep.

    Precision and recall are published for k = 3, density and coverage for k = 5. All depend on the sizes of both sets
    and on k: compare only like with like.

    Parameters
    ----------
    reference, query
        (n, d) and (m, d) features of the same extractor, n and m at least k + 1; real and generated samples. Numpy or
        torch (screened on the reference's device, measured on the CPU); per-sample arrays come back as what the set
        they are about came in.
    k
        One number of neighbours or several.
    closed
        Whether balls contain their sphere. `True` is the papers' definition, `False` that of the prdc package.
    block_size
        Rows and columns of the tiles compared at a time; bounds the memory, never changes a result.

    Raises
    ------
    ValueError, TypeError
        For fewer than k + 1 samples, different widths, or features that are not finite real numbers.

    Notes
    -----
    Sources: Kynkäänniemi et al. 2019, arXiv 1904.06991 (precision, recall); Naeem et al. 2020, arXiv 2002.09797
    (density, coverage).

    Examples
    --------
    >>> result = prdc([[0.0], [1.0], [3.0], [7.0]], [[0.5], [2.0], [5.5], [12.0]], k=1)
    >>> result[1].precision, result[1].recall, result[1].density, result[1].coverage
    (0.75, 1.0, 1.25, 1.0)
    """
    found = evaluate(reference, query, k, PRDC_METRICS, closed=closed, block_size=block_size)
    return found.with_arrays_like(reference, query)


def compute_prdc(real_features: Any, fake_features: Any, nearest_k: int) -> dict[str, float]:
    """Precision, recall, density and coverage with the name, the arguments and the result of the prdc package.

    For scripts written for it: `from genmend.manifold import compute_prdc` in place of `from prdc import compute_prdc`.
    Balls are open, as there. Decisions are those of float64, so a value may differ from the package's by the samples
    within its rounding of a sphere; nothing is printed, and no matrix of all pairs is held.

    Parameters
    ----------
    real_features, fake_features
        (n, d) and (m, d) features of the same extractor, n and m at least nearest_k + 1; numpy or torch.
    nearest_k
        Number of neighbours.

    Returns
    -------
    dict
        "precision", "recall" and "coverage" in [0, 1], "density" from 0; higher is better.

    Raises
    ------
    ValueError, TypeError
        For fewer than nearest_k + 1 samples, different widths, or features that are not finite real numbers.

    Notes
    -----
    Source: https://github.com/clovaai/generative-evaluation-prdc, `prdc/prdc.py`. `prdc` has the per-sample parts,
    several numbers of neighbours, and closed balls.

    Examples
    --------
    >>> compute_prdc([[0.0], [1.0], [3.0], [7.0]], [[0.5], [2.0], [5.5], [12.0]], nearest_k=1)
    {'precision': 0.75, 'recall': 1.0, 'density': 1.0, 'coverage': 1.0}
    """
    nearest_k = as_count(nearest_k, "nearest_k")
    totals = evaluate(real_features, fake_features, nearest_k, PRDC_METRICS, closed=False)[nearest_k].totals
    return {name: totals[name] for name in PRDC_METRICS}
