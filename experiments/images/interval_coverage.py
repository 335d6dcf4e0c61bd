"""How often do the 95 % intervals of `manifold.evaluate` hold the mean they are about?

    python -m experiments.images.interval_coverage

Pairs of sets are drawn again and again from known distributions. The mean of each total over many draws is what an
interval is about; counted is how many intervals hold it. Control: intervals that draw the per-sample values again and
hold the balls fixed, as genmend made them before. Writes results/interval_coverage/results.json and the page.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np

from experiments.pages import write_page
from genmend.manifold.metrics.bootstrap import percentile_interval, resampled_means
from genmend.manifold.metrics.evaluation import METRICS, evaluate
from genmend.manifold.metrics.totals import TOTALS_OF

RESULTS = Path(__file__).with_name("results") / "interval_coverage"
K = 5
BALL_METRICS = tuple(name for name in METRICS if name in TOTALS_OF)
# Samples of each set, features, what the query is.
SETTINGS = (
    {"n": 1000, "d": 16, "query": "the same"},
    {"n": 500, "d": 32, "query": "the same"},
    {"n": 200, "d": 8, "query": "the same"},
    {"n": 500, "d": 16, "query": "narrower and shifted"},
)
_FIXED = {"precision": "inside", "recall": "recalled", "density": "ball_count", "coverage": "covered"}


def main() -> None:
    options = _options()
    results: list[dict[str, Any]] = []
    for number, setting in enumerate(SETTINGS):
        rows = measured(setting, options.seed + number, options)
        for row in rows:
            print(*setting.values(), row["name"], row["holds"], row["holds_fixed"], flush=True)
        results += rows
        options.out.mkdir(parents=True, exist_ok=True)
        (options.out / "results.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    write_page("images/interval_coverage")


def measured(setting: Mapping[str, Any], seed: int, options: argparse.Namespace) -> list[dict[str, Any]]:
    """A row for each total: its mean, how many intervals hold it, and how wide they are."""
    with ProcessPoolExecutor(options.workers) as pool:
        seeds = [[seed, draw] for draw in range(options.draws)]
        draws = list(pool.map(_totals, repeat(setting), seeds, chunksize=50))
        seeds = [[seed, options.draws + pair] for pair in range(options.pairs)]
        pairs = list(pool.map(_intervals, repeat(setting), seeds, repeat(options.bootstrap), chunksize=5))
    rows = []
    for name in pairs[0][0]:
        mean = float(np.mean([draw[name] for draw in draws]))
        ends = np.array([found[name] for found, _ in pairs])
        fixed = [ends_fixed[name] for _, ends_fixed in pairs if name in ends_fixed]
        rows.append(
            {
                "setting": dict(setting),
                "name": name,
                "n_pairs": len(pairs),
                "n_draws": len(draws),
                "n_subsamples": options.bootstrap,
                "seed": seed,
                "mean": mean,
                "deviation": float(np.std([draw[name] for draw in draws])),
                "mean_width": float(np.mean(ends[:, 1] - ends[:, 0])),
                "holds": _share_held(ends, mean),
                "holds_fixed": _share_held(np.array(fixed), mean) if fixed else None,
            }
        )
    return rows


def drawn(setting: Mapping[str, Any], seed: Any) -> tuple[np.ndarray, np.ndarray]:
    """One pair of sets, float32."""
    rng = np.random.default_rng(seed)
    x, y = rng.standard_normal((2, setting["n"], setting["d"]))
    if setting["query"] != "the same":
        y = 0.8 * y + 0.3
    return x.astype(np.float32), y.astype(np.float32)


def _totals(setting: Mapping[str, Any], seed: Any) -> Mapping[str, float]:
    return evaluate(*drawn(setting, seed), K, BALL_METRICS)[K].totals


def _intervals(
    setting: Mapping[str, Any], seed: Any, n_subsamples: int
) -> tuple[Mapping[str, tuple[float, float]], dict[str, tuple[float, float]]]:
    """The intervals of one pair, and those that hold the balls fixed."""
    found = evaluate(*drawn(setting, seed), K, BALL_METRICS, bootstrap=n_subsamples, seed=seed[-1])[K]
    rng = np.random.default_rng(seed)
    fixed = {}
    for name, array in _FIXED.items():
        values = np.asarray(found.arrays[array], dtype=np.float64)[:, None] / (K if name == "density" else 1)
        fixed[name] = percentile_interval(resampled_means(values, n_subsamples, rng)[:, 0])
    clipped = np.minimum(found.arrays["query_count"], K)[:, None] / K
    fixed["clipped_coverage_raw"] = percentile_interval(resampled_means(clipped, n_subsamples, rng)[:, 0])
    return found.intervals, fixed


def _share_held(ends: np.ndarray, mean: float) -> float:
    return float(np.mean((ends[:, 0] <= mean) & (mean <= ends[:, 1])))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=200, help="of sets, each with its intervals")
    parser.add_argument("--draws", type=int, default=1000, help="of sets, for the mean that an interval is about")
    parser.add_argument("--bootstrap", type=int, default=200, help="subsamples of an interval")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--out", type=Path, default=RESULTS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
