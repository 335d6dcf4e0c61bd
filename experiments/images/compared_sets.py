"""Does a comparison of sets call chance a difference, and what does the number of samples do to each metric?

    python -m experiments.images.compared_sets

Three sets of one distribution are compared against a reference again and again: counted is how often `compare` finds
any difference between them, which is to be 5 % for each metric; and, as the control, how often three plain 95 %
intervals that hold each set's own number leave a difference: two of them without a common point. Then one set is
narrower, to see that a difference is found. Last, sets of 100 and of 400 samples of the same distribution: which
metrics move. Writes results/compared_sets/results.json and the page.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import stdtrit

from experiments.pages import write_page
from genmend.manifold import Evaluation, compare, evaluate
from genmend.manifold.comparison.compare import N_SUBSAMPLES
from genmend.manifold.comparison.differences import Difference, paired_differences
from genmend.manifold.comparison.directions import DEPEND_ON_SIZE
from genmend.manifold.metrics.evaluation import METRICS

RESULTS = Path(__file__).with_name("results") / "compared_sets"
K = 5
RANKED = ("precision", "recall", "coverage", "clipped_density", "clipped_coverage", "realism", "kid", "vendi")
SETTINGS = ({"n": 200, "d": 16}, {"n": 100, "d": 64})
SIZES, REFERENCE, DRAWS = (100, 400), 200, 30


def main() -> None:
    options = _options()
    started = time.process_time()
    results: dict[str, Any] = {
        "k": K,
        "n_subsamples": options.bootstrap,
        "n_trials": options.trials,
        "seed": options.seed,
    }
    results["alike"] = []
    for setting in SETTINGS:
        row = {**setting, "metrics": false_differences(setting, options)}
        print(json.dumps(row), flush=True)
        results["alike"].append(row)
        _write(options.out, results, started)
    results["sizes"] = {
        "sizes": SIZES,
        "n_reference": REFERENCE,
        "n_draws": DRAWS,
        "metrics": moved_by_size(options.seed),
    }
    _write(options.out, results, started)
    write_page("images/compared_sets")


def false_differences(setting: dict[str, int], options: argparse.Namespace) -> dict[str, dict[str, float]]:
    """By metric the share of trials in which alike sets differed, or a narrower one was told from its like."""
    n, d = setting["n"], setting["d"]
    counts: dict[str, dict[str, int]] = {}
    for trial in range(options.trials):
        rng = np.random.default_rng([options.seed, n, trial])
        reference, *sets = rng.standard_normal((4, n, d))
        sets = dict(zip("abc", sets, strict=True))
        found = compare(reference, sets, K, RANKED, bootstrap=options.bootstrap, seed=trial)
        narrow = {"a": found.evaluations["a"], "narrow": _evaluated(reference, 0.8 * sets["b"], options, trial)}
        told = {one.metric: _differs(one) for one in paired_differences(narrow)}
        # The Vendi score sees directions alone: of it a set that is narrower in half of its features.
        squeezed = sets["b"] * np.repeat([0.8, 1.0], d // 2)
        few = {"a": found.evaluations["a"], "squeezed": _evaluated(reference, squeezed, options, trial, ("vendi",))}
        told["vendi"] = any(_differs(one) for one in paired_differences({**few, "a": _only_vendi(few["a"])}))
        for metric in {one.metric for one in found.differences if one.decided or one.metric == "vendi"}:
            here = counts.setdefault(metric, {"differ": 0, "apart": 0, "narrow told": 0})
            here["differ"] += any(_differs(one) for one in found.differences if one.metric == metric)
            ends = [_alone(one, metric) for one in found.evaluations.values()]
            here["apart"] += any(max(p[0], q[0]) > min(p[1], q[1]) for p, q in combinations(ends, 2))
            here["narrow told"] += told[metric]
    return {metric: {name: n / options.trials for name, n in of.items()} for metric, of in sorted(counts.items())}


def _differs(one: Difference) -> bool:
    return one.low > 0 or one.high < 0


def _alone(one: Evaluation, metric: str) -> tuple[float, float]:
    """The plain interval of one set."""
    if metric not in one.draws:
        return one[K].intervals[metric]
    half = float(stdtrit(len(one.draws[metric]), 0.975)) * float(np.std(one.draws[metric]))
    return one.totals[metric] - half, one.totals[metric] + half


def _only_vendi(one: Evaluation) -> Evaluation:
    return replace(one, at={}, draws={"vendi": one.draws["vendi"]})


def _evaluated(
    reference: np.ndarray,
    query: np.ndarray,
    options: argparse.Namespace,
    seed: int,
    metrics: tuple[str, ...] = RANKED,
) -> Evaluation:
    return evaluate(reference, query, K, metrics, bootstrap=options.bootstrap, seed=seed)


def moved_by_size(seed: int) -> list[dict[str, Any]]:
    """A row for each metric: its mean for few and for many samples, and by how many standard errors they differ."""
    names = tuple(name for name in METRICS if name != "frechet")
    values: dict[str, dict[int, list[float]]] = {}
    for draw in range(DRAWS):
        rng = np.random.default_rng([seed, draw])
        reference = rng.standard_normal((REFERENCE, 16))
        for size in SIZES:
            found = evaluate(reference, 0.9 * rng.standard_normal((size, 16)), K, names).to_dict()
            totals = {**found["k"][str(K)], **{name: found[name] for name in ("kid", "vendi")}}
            for name, value in totals.items():
                if not name.startswith("expected_") and value is not None:
                    values.setdefault(name, {size: [] for size in SIZES})[size].append(value)
    rows = []
    for name, of in values.items():
        few, many = (np.array(of[size]) for size in SIZES)
        error = float(np.hypot(few.std(ddof=1), many.std(ddof=1)) / np.sqrt(DRAWS))
        shift = float(many.mean() - few.mean())
        rows.append({"name": name, "few": float(few.mean()), "many": float(many.mean()), "shift": shift, "error": error,
                     "counted_as_moved": name in DEPEND_ON_SIZE or name == "vendi"})  # fmt: skip
    return rows


def _write(folder: Path, results: dict[str, Any], started: float) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    results["cpu_seconds"] = round(time.process_time() - started, 1)
    (folder / "results.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--trials", type=int, default=60)
    parser.add_argument("--bootstrap", type=int, default=N_SUBSAMPLES)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


if __name__ == "__main__":
    main()
