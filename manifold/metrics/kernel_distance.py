"""Kernel distance (KID where the features are Inception's): how far apart the two distributions are."""

from __future__ import annotations

from typing import Any

import numpy as np

from genmend.manifold.engine.inputs import as_features

N_SUBSETS, SUBSET_SIZE = 100, 1000
_ROWS = 512


def kid(reference: Any, query: Any, *, seed: int = 0) -> float:
    """Mean over 100 random subsets of the squared maximum mean discrepancy; 0 for equal distributions, LOWER is better.

    Unbiased, so slightly negative values are as good as 0. Subsets hold 1,000 samples of each set, drawn without
    replacement; where a set is smaller, as many as the smaller set has. If that is all of both there is one subset.

    Parameters
    ----------
    reference, query
        (n, d) and (m, d) features, n and m at least 2; numpy or torch.
    seed
        Chooses the subsets.

    Raises
    ------
    ValueError, TypeError
        For a set of one sample, different widths, or features that are not finite real numbers.

    Notes
    -----
    Source: Bińkowski et al., "Demystifying MMD GANs", arXiv 1801.01401. The kernel is not invariant to
    translation or scale: compare values of the same features only.
    """
    x = as_features(reference, "reference")
    y = as_features(query, "query", x.shape[1])
    for name, features in (("reference", x), ("query", y)):
        if len(features) < 2:
            raise ValueError(f"{name} has 1 sample; KID needs at least 2 in each set; give more or leave kid out")
    size = subset_size(len(x), len(y))
    if len(x) == len(y) == size:
        return squared_mmd(x, y)
    rng = np.random.default_rng(seed)
    subsets = [[rng.choice(len(z), size, replace=False) for z in (x, y)] for _ in range(N_SUBSETS)]
    if len(x) ** 2 + len(y) ** 2 + len(x) * len(y) < 3 * N_SUBSETS * size**2:
        return _mean_from_whole_kernels(x, y, subsets)
    return float(np.mean([squared_mmd(x[i], y[j]) for i, j in subsets]))


def subset_size(n: int, m: int) -> int:
    """Samples of each set in one subset."""
    return min(SUBSET_SIZE, n, m)


def squared_mmd(x: np.ndarray, y: np.ndarray) -> float:
    """Unbiased estimate of the squared maximum mean discrepancy under the kernel (x.y / d + 1)^3, in float64."""
    x, y = x.astype(np.float64), y.astype(np.float64)
    with np.errstate(over="ignore", invalid="ignore"):  # of huge features: infinite or undefined
        return float(_mean_of_pairs(x) + _mean_of_pairs(y) - 2 * np.mean(_kernel(x, y)))


def _kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    base = x @ y.T
    base /= x.shape[1]
    base += 1
    return base * base * base  # ** 3 takes many times as long


def _mean_of_pairs(x: np.ndarray) -> float:
    """Mean of the kernel over the pairs of different samples of one set."""
    kernel = _kernel(x, x)
    np.fill_diagonal(kernel, 0)
    return float(kernel.sum()) / (len(x) * (len(x) - 1))


def _mean_from_whole_kernels(x: np.ndarray, y: np.ndarray, subsets: list[list[np.ndarray]]) -> float:
    """Mean of `squared_mmd` over subsets of rows of x and y, where the kernel of all pairs is less work than theirs."""
    size = len(subsets[0][0])
    in_x, in_y = (_members([pair[side] for pair in subsets], len(z)) for side, z in enumerate((x, y)))
    x, y = x.astype(np.float64), y.astype(np.float64)
    total = 0.0
    with np.errstate(over="ignore", invalid="ignore"):  # of huge features: infinite or undefined
        for a, in_a, b, in_b, weight in ((x, in_x, x, in_x, 1), (y, in_y, y, in_y, 1), (x, in_x, y, in_y, -2)):
            n_pairs = size * (size - (a is b))
            for start in range(0, len(a), _ROWS):
                rows = slice(start, start + _ROWS)
                kernel = _kernel(a[rows], b)
                if a is b:
                    kernel[np.arange(len(kernel)), start + np.arange(len(kernel))] = 0
                total += weight * float(np.sum((kernel @ in_b) * in_a[rows])) / n_pairs
    return total / len(subsets)


def _members(subsets: list[np.ndarray], n: int) -> np.ndarray:
    """(n, number of subsets) float64: 1 where the row is in the subset."""
    members = np.zeros((n, len(subsets)))
    for column, rows in enumerate(subsets):
        members[rows, column] = 1
    return members
