"""All metrics of a query against a reference from one sweep over their distances."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from functools import partial
from numbers import Integral
from typing import Any

import numpy as np

from genmend.manifold.engine.inputs import as_closed, as_count, as_features, device_of, need_samples
from genmend.manifold.engine.radii import BLOCK_SIZE, counts
from genmend.manifold.kept_features.given import given_sets
from genmend.manifold.kept_features.same_space import check_same_space
from genmend.manifold.metrics.cmmd import cmmd
from genmend.manifold.metrics.evaluation_result import Evaluation, EvaluationAtK
from genmend.manifold.metrics.evaluation_sweep import per_sample_arrays
from genmend.manifold.metrics.frechet import frechet_distance, frechet_function
from genmend.manifold.metrics.influence import kid_draws, vendi_draws
from genmend.manifold.metrics.kernel_distance import kid_of_subsets
from genmend.manifold.metrics.reading_notes import reading_notes
from genmend.manifold.metrics.subsampling import (
    INTERVAL_WORDS,
    other_draws,
    subsample_intervals,
    subsample_sizes,
    subsampled_totals,
)
from genmend.manifold.metrics.totals import TOTALS_OF, totals_at_k
from genmend.manifold.metrics.vendi import vendi_over_subsets, vendi_score

METRICS = (*TOTALS_OF, "vendi", "kid", "cmmd", "frechet")
# Those that are not computed unless they are asked for: the pair is published for k = 4 and takes most of the time in
# many dimensions, the third is for CLIP embeddings, the last needs another package.
ON_REQUEST = ("p_precision", "p_recall", "cmmd", "frechet")
_DEFAULT = tuple(name for name in METRICS if name not in ON_REQUEST)
_OF_QUERY_BALLS = {"recall", "symmetric_precision", "symmetric_recall", "p_recall"}


def evaluate(
    reference: Any,
    query: Any,
    k: int | Sequence[int] = (3, 5),
    metrics: Sequence[str] | None = None,
    *,
    closed: bool = True,
    bootstrap: int = 0,
    seed: int = 0,
    features: str = "features",
    block_size: int = BLOCK_SIZE,
    cluster: Any = None,
) -> Evaluation:
    """Compare a query with a reference: totals for every k, per-sample arrays, intervals and warnings.

    All decisions are those of a float64 brute-force check, as in `prdc`. Precision and recall are published for k = 3,
    density, coverage and the clipped pair for k = 5, P-precision and P-recall for k = 4. All depend on the sizes of
    both sets and on k: compare only like with like, pairs of metrics rather than single ones, and read none of them
    as absolute.

    Parameters
    ----------
    reference, query
        (n, d) and (m, d) features of the same extractor, real and generated samples; n at least k + 1, and so m where
        the query's own balls are asked for (recall, the symmetric pair, P-recall). Numpy or torch; results are numpy,
        to be saved. Also a fitted `Manifold`, what `features_of` returns, or the path of a file of features: radii that
        come along are not computed again, and where both pipelines are known they have to be one. Or what `features_of`
        reads: a folder or file of samples, a data set, a DataLoader, an iterator of batches; of images and recordings
        features are taken, the query's by the extractor of the reference.
    k
        One number of neighbours or several.
    metrics
        Names out of `METRICS`, None for all but four: "p_precision" and "p_recall" measure each pair within 1.2 mean
        radii, which in many dimensions may be most pairs and then takes most of the time (ask for them with k = 4);
        "cmmd" is for CLIP embeddings, "frechet" needs torch-fidelity or torchmetrics (genmend[metrics]).
    closed
        Whether balls contain their sphere: of every metric here, for the papers disagree. `True` is that of the first
        papers; with `False`, that of the prdc package, leave-one-out values are mostly undefined for small k.
    bootstrap
        Number of subsamples behind the 95 % intervals, 0 for none, else at least 2; 40 is usual. Each is computed anew,
        balls and all, from half of both sets (`metrics.subsampling`), so the interval holds the mean over other draws
        of both sets of these sizes; 40 of them take as long as some 12 evaluations. Of every total that depends on k;
        undefined where that of a subsample is, or where half a set has no more than k samples.
    seed
        Chooses the subsamples, and those of KID and of the Vendi score.
    features
        What the features are: names the key frechet_<features>.
    block_size
        Rows and columns of the tiles compared at a time; bounds the memory, changes results by rounding at most.
    cluster : RayCluster, optional
        `sharded.cluster.RayCluster`, on whose machines distances are measured instead of here.

    Raises
    ------
    ValueError, TypeError
        For an unknown metric, fewer than k + 1 samples, different widths, features that are not finite real numbers, or
        (`kept_features.same_space.OtherPipelineError`) sets of two pipelines.
    ModuleNotFoundError
        For "frechet" without a package that computes it.

    Notes
    -----
    Sources: Kynkäänniemi et al. 2019, arXiv 1904.06991 (precision, recall, realism); Naeem et al. 2020, arXiv
    2002.09797 (density, coverage); Han et al. 2023, arXiv 2206.08549 (rarity); Khayatkhoei and AbdAlmageed 2023, arXiv
    2306.09618 (symmetric precision: at most the share of query balls that hold a reference sample; symmetric recall: at
    most coverage). Others: genmend.manifold.metrics.calibration (clipped pair),
    engine.balls (P-precision, P-recall), vendi, kernel_distance, frechet.

    Examples
    --------
    >>> x, y = [[0.0], [1.0], [3.0], [7.0]], [[0.5], [2.0], [5.5], [12.0]]
    >>> result = evaluate(x, y, k=1, metrics=("density", "rarity"))
    >>> result[1].density, result[1].rarity
    (1.25, array([ 1.,  1.,  4., nan]))
    """
    asked = _check_metrics(metrics)
    at_k = [name for name in asked if name in TOTALS_OF]
    several, block = tuple(sorted(set(counts(k)))), as_count(block_size, "block_size")
    closed, n_subsamples, seed = as_closed(closed), _natural(bootstrap, "bootstrap"), _natural(seed, "seed")
    if n_subsamples == 1:
        raise ValueError("bootstrap is 1, and one subsample has no spread; 0 or at least 2 is accepted, 40 is usual")
    ours, theirs = given_sets(reference, query, closed=closed)
    notes = check_same_space(ours.pipeline, theirs.pipeline)
    x = as_features(ours.values, "reference")
    y = as_features(theirs.values, "query", x.shape[1])
    if "frechet" in asked:
        frechet_function()  # missing packages are to be noticed before the work
    at: dict[int, EvaluationAtK] = {}
    words = ""
    nearest: dict[str, np.ndarray] = {}
    if at_k:
        need_samples(len(x), several[-1], "reference")
        query_balls = not _OF_QUERY_BALLS.isdisjoint(at_k)
        if query_balls:
            need_samples(len(y), several[-1], "query")
        options: dict[str, Any] = {
            "several": several,
            "closed": closed,
            "query_balls": query_balls,
            "ratios": "realism" in at_k,
            "probabilistic": not {"p_precision", "p_recall"}.isdisjoint(at_k),
            "leave_one_out": not {"rarity", "clipped_density"}.isdisjoint(at_k),
        }
        with _sweeping(cluster, (ours.values, x), (theirs.values, y), block, n_subsamples // 2 * 2) as sweep:
            arrays = sweep(None, **options, known=ours.radii, nearest=nearest)
            totals_of = _totals_of(arrays, at_k)
            intervals: dict[int, dict[str, tuple[float, float]]] = {}
            draws: dict[int, dict[str, np.ndarray]] = {}
            if n_subsamples:
                part = subsample_sizes(len(x), len(y), several[-1])
                words = INTERVAL_WORDS.format(n=n_subsamples // 2 * 2, reference=part[0], query=part[1])
                sizes = len(x), len(y)
                replicates = subsampled_totals(
                    lambda i, j: _totals_of(sweep((i, j), **options), at_k), sizes, part, n_subsamples, seed
                )
                intervals = subsample_intervals(totals_of, replicates, sizes, part)
                draws = other_draws(totals_of, replicates, sizes, part)
        at = {
            one: EvaluationAtK(one, totals_of[one], of, intervals.get(one, {}), draws.get(one, {}))
            for one, of in arrays.items()
        }
    totals: dict[str, float] = {}
    if "vendi" in asked:
        totals |= {"vendi": vendi_score(y), "vendi_reference": vendi_score(x)}
        totals |= vendi_over_subsets(x, y, seed=seed)
    if "kid" in asked:
        values, spread = kid_of_subsets(x, y, seed=seed)
        with np.errstate(invalid="ignore"):  # of huge features
            totals |= {"kid": float(np.mean(values)), "kid_std": float(np.std(spread))}
    without_k: dict[str, np.ndarray] = {}
    if n_subsamples and "vendi" in asked:
        without_k["vendi"] = vendi_draws(y, totals["vendi"], seed)
    if n_subsamples and "kid" in asked:
        without_k["kid"] = kid_draws(x, y, totals["kid"], values, seed)
    if "cmmd" in asked:
        totals["cmmd"] = cmmd(x, y)
    if "frechet" in asked:
        totals[f"frechet_{features}"] = frechet_distance(x, y)
    return Evaluation(
        n_reference=len(x),
        n_query=len(y),
        n_features=x.shape[1],
        closed=closed,
        seed=seed,
        at=at,
        totals=totals,
        warnings=(*notes, *reading_notes(x, y, asked, at, nearest)),
        interval_method=words,
        draws=without_k,
    )


@contextmanager
def _sweeping(
    cluster: Any, reference: tuple[Any, np.ndarray], query: tuple[Any, np.ndarray], block_size: int, n_parts: int
) -> Iterator[Callable[..., dict[int, dict[str, np.ndarray]]]]:
    """What gives the arrays of two sets, or of some rows of both, here or on a cluster."""
    if cluster is not None:
        with closing(cluster.sweep(reference, query, n_parts=n_parts)) as sweep:
            yield sweep
        return
    (given, x), (_, y) = reference, query
    here = partial(per_sample_arrays, device=device_of(given), block_size=block_size)

    def sweep_here(rows: tuple[np.ndarray, np.ndarray] | None, **options: Any) -> dict[int, dict[str, np.ndarray]]:
        return here(x, y, **options) if rows is None else here(x[rows[0]], y[rows[1]], **options)

    yield sweep_here


def _totals_of(arrays: Mapping[int, Mapping[str, np.ndarray]], metrics: Sequence[str]) -> dict[int, dict[str, float]]:
    return {k: totals_at_k(of, k, metrics) for k, of in arrays.items()}


def _check_metrics(metrics: Sequence[str] | None) -> tuple[str, ...]:
    """The metrics in the order of METRICS, each once."""
    names = _DEFAULT if metrics is None else (metrics,) if isinstance(metrics, str) else tuple(metrics)
    unknown = [name for name in names if name not in METRICS]
    if unknown or not names:
        raise ValueError(f"metrics is {metrics!r}, of which {unknown or 'an empty choice'} is not known; "
                         f"{', '.join(METRICS)} are accepted")  # fmt: skip
    return tuple(name for name in METRICS if name in names)


def _natural(value: Any, name: str) -> int:
    if not isinstance(value, Integral) or isinstance(value, (bool, np.bool_)) or value < 0:
        raise ValueError(f"{name} is {value!r}; an integer of at least 0 is accepted")
    return int(value)
