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
    return kid_over_subsets(reference, query, seed=seed)[0]


def kid_over_subsets(reference: Any, query: Any, *, seed: int = 0) -> tuple[float, float]:
    """`kid`, and the standard deviation over its subsets, which papers print beside it.

    Where a set has no more samples than one subset wants, the deviation is over 100 random halves of both sets, and so
    larger than that of the value itself; NaN for sets of fewer than 4.
    """
    values, spread = kid_of_subsets(reference, query, seed=seed)
    with np.errstate(invalid="ignore"):  # of huge features
        return float(np.mean(values)), float(np.std(spread))


def kid_of_subsets(reference: Any, query: Any, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """The values whose mean `kid` is, 100 or one, and those whose deviation goes beside it; errors as of `kid`."""
    x = as_features(reference, "reference")
    y = as_features(query, "query", x.shape[1])
    for name, features in (("reference", x), ("query", y)):
        if len(features) < 2:
            raise ValueError(f"{name} has 1 sample; KID needs at least 2 in each set; give more or leave kid out")
    size, smaller = subset_size(len(x), len(y)), min(len(x), len(y))
    rng = np.random.default_rng(seed)
    values = np.array([squared_mmd(x, y)]) if len(x) == len(y) == size else _over_subsets(x, y, size, rng)
    spread = values
    if smaller <= SUBSET_SIZE:
        spread = _over_subsets(x, y, smaller // 2, rng) if smaller >= 4 else np.array([np.nan])
    return values, spread


def _over_subsets(x: np.ndarray, y: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """(N_SUBSETS,) squared maximum mean discrepancies of random subsets of `size` samples of each set."""
    subsets = [[rng.choice(len(z), size, replace=False) for z in (x, y)] for _ in range(N_SUBSETS)]
    if len(x) ** 2 + len(y) ** 2 + len(x) * len(y) < 3 * N_SUBSETS * size**2:
        return _from_whole_kernels(x, y, subsets)
    return np.array([squared_mmd(x[i], y[j]) for i, j in subsets])


def subset_size(n: int, m: int) -> int:
    """Samples of each set in one subset."""
    return min(SUBSET_SIZE, n, m)


def squared_mmd(x: np.ndarray, y: np.ndarray) -> float:
    """Unbiased estimate of the squared maximum mean discrepancy under the kernel (x.y / d + 1)^3, in float64."""
    x, y = x.astype(np.float64), y.astype(np.float64)
    with np.errstate(over="ignore", invalid="ignore"):  # of huge features: infinite or undefined
        return float(_mean_of_pairs(x) + _mean_of_pairs(y) - 2 * np.mean(_kernel(x, y)))


def kernel_values(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """(n, m) values of the kernel, in float64."""
    with np.errstate(over="ignore", invalid="ignore"):  # of huge features
        return _kernel(x.astype(np.float64), y.astype(np.float64))


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


def _from_whole_kernels(x: np.ndarray, y: np.ndarray, subsets: list[list[np.ndarray]]) -> np.ndarray:
    """`squared_mmd` of subsets of rows of x and y, where the kernel of all pairs is less work than theirs."""
    size = len(subsets[0][0])
    in_x, in_y = (_members([pair[side] for pair in subsets], len(z)) for side, z in enumerate((x, y)))
    x, y = x.astype(np.float64), y.astype(np.float64)
    total = np.zeros(len(subsets))
    with np.errstate(over="ignore", invalid="ignore"):  # of huge features: infinite or undefined
        for a, in_a, b, in_b, weight in ((x, in_x, x, in_x, 1), (y, in_y, y, in_y, 1), (x, in_x, y, in_y, -2)):
            n_pairs = size * (size - (a is b))
            for start in range(0, len(a), _ROWS):
                rows = slice(start, start + _ROWS)
                kernel = _kernel(a[rows], b)
                if a is b:
                    kernel[np.arange(len(kernel)), start + np.arange(len(kernel))] = 0
                total += weight * np.sum((kernel @ in_b) * in_a[rows], axis=0) / n_pairs
    return total


def _members(subsets: list[np.ndarray], n: int) -> np.ndarray:
    """(n, number of subsets) float64: 1 where the row is in the subset."""
    members = np.zeros((n, len(subsets)))
    for column, rows in enumerate(subsets):
        members[rows, column] = 1
    return members
