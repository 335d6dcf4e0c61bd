"""Has a generator memorised its training set? All that is measured of three sets of features, in one result."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from genmend.manifold.copying.data_copying import LEAST_OF_QUERY, data_copying
from genmend.manifold.copying.identical_rows import first_of_identical, row_keys
from genmend.manifold.copying.likelihood_gap import likelihood_gap
from genmend.manifold.engine.inputs import as_features
from genmend.manifold.engine.nearest import nearest_samples
from genmend.manifold.engine.radii import BLOCK_SIZE, radii_of
from genmend.manifold.engine.screens import screen_of
from genmend.storage.notebook import NotebookResult

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Memorisation", "auth_pct", "memorisation"]

N_NEAREST = 3
_SMALL, _RARE = 0.05, 1e-3  # chances of what is told, beside near copies and alone


@dataclass(frozen=True, eq=False, repr=False)
class Memorisation(NotebookResult):
    """Result of `memorisation`.

    Attributes
    ----------
    near_ratio
        A `ratio` below it makes a sample a near copy of the nearest training sample.
    n_train, n_test, n_query
        Sizes of the sets; n_test is 0 without a test set.
    seed
        Of k-means, the projection and the draw of `likelihood_gap`.
    totals
        By name, as in `to_dict`; those of the test set, the control, end in "_test".
    nearest, distances
        (m, 3) int64 and float64, the training samples nearest to each query, no two of them identical, and how far they
        are in feature units, ascending; fewer columns where fewer training samples differ.
    ratio
        (m,) float64 in [0, 1], the first of the distances over the second: near 0 for a copy, near 1 where no training
        sample stands out. 1 where the training samples are all alike.
    authentic
        (m,) bool, whether the nearest training sample is nearer to another one than to the query.
    test_ratio
        (n_test,) float64, the same of the test set.
    warnings
        Sentences for whoever shows the result.
    """

    near_ratio: ClassVar[float] = 1 / 3

    n_train: int
    n_test: int
    n_query: int
    seed: int
    totals: Mapping[str, float]
    nearest: np.ndarray
    distances: np.ndarray
    ratio: np.ndarray
    authentic: np.ndarray
    test_ratio: np.ndarray
    warnings: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """For JSON; None where a total is undefined.

        - auth_pct: percent of the query that is authentic; lower is more copied.
        - exact_copies, near_copies: numbers of query samples that equal a training sample, and of others whose `ratio`
          is below a third. near_copies_expected: as many as the test set, or without one the training set itself, has.
        - outstanding: number of query samples with a lower `ratio` than any of those; outstanding_chance: probability
          of as many for a query that copies nothing.
        - c_t: far below 0 where samples are copied, far above 0 where they are far from the training samples;
          c_t_deviation: its standard deviation for a query that copies nothing.
        - fld_gap, if asked for: far below 0 where samples are copied.
        """
        totals = {name: float(value) if np.isfinite(value) else None for name, value in self.totals.items()}
        sizes = {"n_train": self.n_train, "n_test": self.n_test, "n_query": self.n_query, "seed": self.seed}
        return sizes | totals | {"warnings": list(self.warnings)}

    def columns(self) -> dict[str, Any]:
        """One row for each query: its row, its nearest training sample, and what was measured of the pair."""
        return {
            "row": np.arange(self.n_query),
            "nearest_train": self.nearest[:, 0],
            "distance": self.distances[:, 0],
            "ratio": self.ratio,
            "authentic": self.authentic,
        }

    def most_copied(self, n: int | None = None) -> np.ndarray:
        """Rows of the queries by `ratio`, the likeliest copies first."""
        return np.lexsort((self.distances[:, 0], self.ratio))[:n]

    def plot(self) -> Figure:
        """The ratios of the query beside those of the test set: `manifold.figures.copies.ratio_histogram`."""
        from genmend.manifold.figures.copies import ratio_histogram

        return ratio_histogram(self)


def memorisation(train: Any, query: Any, test: Any = None, *, gap: bool = False, seed: int = 0) -> Memorisation:
    """Compare a query with what its generator was trained on, and with other samples of that source as a control.

    Parameters
    ----------
    train, query, test
        (l, d), (m, d) and (n, d) features of the same extractor, l at least 3, test optional; numpy or torch. What is
        in both train and test is no control.
    gap
        Measure FLD's gap too, which takes as long as 50 l m exponentials; needs a test set.
    seed
        Of what is drawn.

    Raises
    ------
    ValueError, TypeError
        For fewer samples, different widths, features that are not finite real numbers, or a gap without a test set.

    Notes
    -----
    Sources: AuthPct: Alaa et al. 2022, arXiv 2102.08921, as in dgm-eval (`auth_pct`); C_T and the gap: `data_copying`,
    `likelihood_gap`. The third as the ratio of nearest and second nearest distance: Yoon et al. 2023, "Diffusion
    probabilistic models generalize when they fail to memorize"; here identical training samples count as one, so that
    a copy of a duplicate is found as well, and the same ratio among held-out samples says what is chance.
    """
    x = as_features(train, "train")
    if len(x) < 3:
        raise ValueError(f"train has {len(x)} samples; give at least 3, for a nearest and a second nearest to each")
    y = as_features(query, "query", x.shape[1])
    t = None if test is None else as_features(test, "test", x.shape[1])
    if gap and t is None:
        raise ValueError("the gap compares training samples with held-out ones; give a test set")
    sets = [x, y] if t is None else [x, y, t]
    keys = row_keys(sets)
    kept = first_of_identical(keys[0])
    distinct = x if len(kept) == len(x) else x[kept]
    screen = screen_of(x)
    own = radii_of(screen, x, (1,), BLOCK_SIZE)[:, 0]
    searched = screen if distinct is x else screen_of(distinct)
    found = [_nearest(searched, distinct, one) for one in sets[1:]]
    known = set(keys[0])
    exact = [np.array([key in known for key in of]) for of in keys[1:]]
    distances, nearest, ratio = found[0]
    authentic = own[kept[nearest[:, 0]]] < distances[:, 0]
    totals: dict[str, float] = {"auth_pct": 100 * float(np.mean(authentic))}
    near = int(np.sum((ratio < Memorisation.near_ratio) & ~exact[0]))
    if t is None:
        control = _own_ratios(searched, distinct)
    else:
        totals["auth_pct_test"] = 100 * float(np.mean(own[kept[found[1][1][:, 0]]] < found[1][0][:, 0]))
        control = found[1][2][~exact[1]]
    share = float(np.mean(control < Memorisation.near_ratio)) if len(control) else float("nan")
    outstanding = int(np.sum(ratio < control.min())) if len(control) else 0
    totals |= {
        "exact_copies": int(exact[0].sum()),
        "near_copies": near,
        "near_copies_expected": share * len(y),
        "outstanding": outstanding,
        "outstanding_chance": _chance_of_lowest(outstanding, len(y), len(control)),
    }
    if t is not None:
        cells = data_copying(x, t, y, n_cells=min(3, len(kept)), seed=seed)
        totals |= {"c_t": cells.c_t, "c_t_deviation": cells.deviation}
        if gap:
            totals["fld_gap"] = likelihood_gap(x, t, y, seed=seed)
    return Memorisation(
        n_train=len(x),
        n_test=0 if t is None else len(t),
        n_query=len(y),
        seed=seed,
        totals=totals,
        nearest=kept[nearest],
        distances=distances,
        ratio=ratio,
        authentic=authentic,
        test_ratio=np.empty(0) if t is None else found[1][2],
        warnings=_notes(totals, len(x) - len(kept), len(x), len(y), 0 if t is None else int(exact[1].sum())),
    )


def auth_pct(train: Any, query: Any) -> float:
    """Percent of the query that is authentic: its nearest training sample is nearer to another one than to it.

    In [0, 100], lower is more copied; an honest query reaches what a held-out set does, often near 50. dgm-eval's
    AuthPct, decided in float64.

    Parameters
    ----------
    train, query
        (l, d) and (m, d) features of the same extractor, l at least 2; numpy or torch.

    Raises
    ------
    ValueError, TypeError
        For fewer samples, different widths, or features that are not finite real numbers.

    Notes
    -----
    Source: Alaa et al. 2022, "How faithful is your synthetic data?", arXiv 2102.08921 (authenticity); dgm-eval,
    `dgm_eval/metrics/authpct.py`.

    Examples
    --------
    >>> auth_pct([[0.0], [1.0], [3.0], [7.0]], [[0.5], [2.0], [5.5], [12.0]])
    25.0
    """
    x = as_features(train, "train")
    if len(x) < 2:
        raise ValueError("train has 1 sample; give at least 2, for a nearest one to each")
    y = as_features(query, "query", x.shape[1])
    screen = screen_of(x)
    distances, indices = nearest_samples(screen, x, y, 1, BLOCK_SIZE)
    return 100 * float(np.mean(radii_of(screen, x, (1,), BLOCK_SIZE)[:, 0][indices[:, 0]] < distances[:, 0]))


def _nearest(screen: Any, distinct: np.ndarray, query: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(m, 3) distances, (m, 3) rows of `distinct`, and (m,) ratios of the first distances to the second."""
    distances, indices = nearest_samples(screen, distinct, query, min(N_NEAREST, len(distinct)), BLOCK_SIZE)
    second = distances[:, min(1, len(distinct) - 1)]
    return distances, indices, np.divide(distances[:, 0], second, out=np.ones(len(query)), where=second > 0)


def _own_ratios(screen: Any, distinct: np.ndarray) -> np.ndarray:
    """The ratios of the training samples themselves, each left out in turn; none of fewer than three."""
    if len(distinct) < 3:
        return np.empty(0)
    radii = radii_of(screen, distinct, (1, 2), BLOCK_SIZE)
    return radii[:, 0] / radii[:, 1]


def _chance_of_lowest(lowest: int, m: int, n: int) -> float:
    """Probability that at least the `lowest` smallest of m and n values of one distribution are all of the m."""
    placed = np.arange(lowest)
    return float(np.prod((m - placed) / (m + n - placed)))


def _notes(totals: Mapping[str, float], doubles: int, n_train: int, m: int, shared: int) -> tuple[str, ...]:
    found = []
    if doubles:
        found.append(f"{doubles} of the {n_train} training samples are exact copies of others of it: generators "
                     f"memorise such samples first")  # fmt: skip
    if shared:
        found.append(f"{shared} held-out samples are in the training set too: they are no control, and C_T is too "
                     f"high; give samples that the generator was not trained on")  # fmt: skip
    if totals["exact_copies"]:
        found.append(f"{totals['exact_copies']:.0f} of the {m} query samples are exact copies of training samples")
    expected = totals["near_copies_expected"]
    more = totals["near_copies"] > 3 * expected + 3 * np.sqrt(expected) and totals["outstanding_chance"] < _SMALL
    if more or (totals["near_copies"] and np.isnan(expected)):
        found.append(f"{totals['near_copies']:.0f} of the {m} query samples are near copies of training samples, "
                     f"{expected:.3g} are expected: memorised")  # fmt: skip
    elif totals["outstanding_chance"] < _RARE and totals["outstanding"] > totals["exact_copies"]:
        found.append(f"{totals['outstanding']:.0f} of the {m} query samples stand nearer to one training sample, in "
                     f"terms of the second nearest, than any of the control does: memorised?")  # fmt: skip
    if "c_t" in totals:
        if np.isnan(totals["c_t"]):
            found.append(
                f"C_T is undefined: no cell holds more than {LEAST_OF_QUERY} query samples beside held-out ones"
            )
        elif totals["c_t"] < -3 * totals["c_t_deviation"]:
            found.append(f"C_T is {totals['c_t']:.1f}: the query lies closer to the training samples than held-out "
                         f"samples do, as copies would")  # fmt: skip
    return tuple(found)
