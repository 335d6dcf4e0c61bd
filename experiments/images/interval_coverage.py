"""How often do the 95 % intervals of `manifold.evaluate` hold the mean they are about?

    python -m experiments.images.interval_coverage

Pairs of sets are drawn again and again from known distributions. The mean of each total over many draws is what an
interval is about; counted is how many intervals hold it. Control: intervals that draw the per-sample values again and
hold the balls fixed, as genmend made them before. Writes results/interval_coverage/results.json and the page. What is
drawn so far is kept beside it: an interrupted run goes on.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from experiments.pages import write_page
from genmend.manifold.metrics.bootstrap import percentile_interval, resampled_means
from genmend.manifold.metrics.evaluation import METRICS, evaluate
from genmend.manifold.metrics.totals import TOTALS_OF
from genmend.storage.tables import write_json

RESULTS = Path(__file__).with_name("results") / "interval_coverage"
K = 5
BALL_METRICS = tuple(name for name in METRICS if name in TOTALS_OF)
# Samples of the reference and of the query, features, what both are drawn from.
SETTINGS = (
    {"n": 1000, "m": 1000, "d": 16, "drawn": "one normal law"},
    {"n": 500, "m": 500, "d": 32, "drawn": "one normal law"},
    {"n": 500, "m": 500, "d": 16, "drawn": "ten clusters"},
    {"n": 500, "m": 500, "d": 16, "drawn": "query narrower and shifted"},
    {"n": 1000, "m": 300, "d": 16, "drawn": "one normal law"},
    {"n": 500, "m": 500, "d": 64, "drawn": "a curved surface of 4 dimensions"},
)
_FIXED = {"precision": "inside", "recall": "recalled", "density": "ball_count", "coverage": "covered"}
_AT_ONCE = 10
_RESAMPLES = 200  # of the control
_ROUNDING = 1e-12
_COST = {"n": 10_000, "d": 64}  # where the time of intervals is measured


def main() -> None:
    options = _options()
    rows: list[dict[str, Any]] = []
    with ProcessPoolExecutor(options.workers) as pool:
        for number, setting in enumerate(SETTINGS):
            found = measured(setting, options.seed + number, options, pool)
            for row in found:
                print(*setting.values(), row["name"], row["holds"], row["holds_fixed"], flush=True)
            rows += found
    write_json(options.out / "results.json", {"intervals": rows, "cost": cost(options)})
    for number in range(len(SETTINGS)):
        _kept(options, options.seed + number).unlink()
    write_page("images/interval_coverage")


def measured(
    setting: Mapping[str, Any], seed: int, options: argparse.Namespace, pool: ProcessPoolExecutor
) -> list[dict[str, Any]]:
    """A row for each total: its mean, how many intervals hold it, and how wide they are."""
    draws = _many(partial(_totals, setting, seed), options.draws, f"draws_{seed}", options, pool)
    intervals = partial(_intervals, setting, seed, options.draws, options.bootstrap)
    pairs = _many(intervals, options.pairs, f"pairs_{seed}", options, pool)
    rows = []
    for name in pairs[0][0]:
        values = [draw[name] for draw in draws]
        fixed = [ends_fixed[name] for _, ends_fixed in pairs if name in ends_fixed]
        ends = np.array([found[name] for found, _ in pairs])
        mean = float(np.mean(values))
        rows.append(
            {
                "setting": dict(setting),
                "name": name,
                "n_pairs": len(pairs),
                "n_draws": len(draws),
                "n_subsamples": options.bootstrap,
                "seed": seed,
                "mean": mean,
                "deviation": float(np.std(values)),
                "mean_width": float(np.mean(ends[:, 1] - ends[:, 0])),
                "holds": _share_held(ends, mean),
                "holds_fixed": _share_held(np.array(fixed), mean) if fixed else None,
            }
        )
    return rows


def cost(options: argparse.Namespace) -> dict[str, float]:
    """How long an evaluation with intervals takes, in evaluations without: processor time, best of two."""
    x, y = np.random.default_rng(options.seed).standard_normal((2, _COST["n"], _COST["d"])).astype(np.float32)
    best = []
    for n_subsamples in (0, options.bootstrap):
        taken = []
        for _ in range(2):
            begun = time.process_time()
            evaluate(x, y, K, bootstrap=n_subsamples, metrics=[one for one in BALL_METRICS if one[:2] != "p_"])
            taken.append(time.process_time() - begun)
        best.append(min(taken))
    return {**_COST, "n_subsamples": options.bootstrap, "seconds": best[0], "times": best[1] / best[0]}


def _many(
    function: Callable[[int], Any], n: int, name: str, options: argparse.Namespace, pool: ProcessPoolExecutor
) -> list[Any]:
    """`function` of 0 to n - 1, with those that an earlier run of these options has kept."""
    path = _kept(options, int(name.rpartition("_")[2]))
    kept = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    asked = [options.bootstrap, options.draws]
    found = kept.get(name, []) if kept.get("asked") == asked else []
    for start in range(len(found), n, _AT_ONCE):
        found += list(pool.map(function, range(start, min(start + _AT_ONCE, n))))
        path.parent.mkdir(parents=True, exist_ok=True)
        kept = {**kept, "asked": asked, name: found}
        write_json(path, kept)
    return found[:n]


def _kept(options: argparse.Namespace, seed: int) -> Path:
    return Path(options.out / "cache" / f"{seed}.json")


def drawn(setting: Mapping[str, Any], seed: Any) -> tuple[np.ndarray, np.ndarray]:
    """One pair of sets, float32."""
    rng = np.random.default_rng(seed)
    n, d, law = setting["n"], setting["d"], np.random.default_rng(99)
    both = rng.standard_normal((n + setting["m"], d))
    if setting["drawn"] == "ten clusters":
        both += 3 * law.standard_normal((10, d))[rng.integers(10, size=len(both))]
    if setting["drawn"] == "a curved surface of 4 dimensions":
        both = np.tanh(both[:, :4] @ law.standard_normal((4, d)))
    if setting["drawn"] == "query narrower and shifted":
        both[n:] = 0.8 * both[n:] + 0.3
    return both[:n].astype(np.float32), both[n:].astype(np.float32)


def _totals(setting: Mapping[str, Any], seed: int, draw: int) -> dict[str, float]:
    return dict(evaluate(*drawn(setting, [seed, draw]), K, BALL_METRICS)[K].totals)


def _intervals(
    setting: Mapping[str, Any], seed: int, n_draws: int, n_subsamples: int, pair: int
) -> tuple[dict[str, tuple[float, float]], dict[str, tuple[float, float]]]:
    """The intervals of one pair, and those that hold the balls fixed."""
    place = [seed, n_draws + pair]
    found = evaluate(*drawn(setting, place), K, BALL_METRICS, bootstrap=n_subsamples, seed=pair)[K]
    rng = np.random.default_rng(place)
    fixed = {}
    for name, array in _FIXED.items():
        values = np.asarray(found.arrays[array], dtype=np.float64)[:, None] / (K if name == "density" else 1)
        fixed[name] = percentile_interval(resampled_means(values, _RESAMPLES, rng)[:, 0])
    clipped = np.minimum(found.arrays["query_count"], K)[:, None] / K
    fixed["clipped_coverage_raw"] = percentile_interval(resampled_means(clipped, _RESAMPLES, rng)[:, 0])
    return dict(found.intervals), fixed


def _share_held(ends: np.ndarray, mean: float) -> float:
    return float(np.mean((ends[:, 0] <= mean + _ROUNDING) & (mean - _ROUNDING <= ends[:, 1])))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=120, help="of sets, each with its intervals")
    parser.add_argument("--draws", type=int, default=400, help="of sets, for the mean that an interval is about")
    parser.add_argument("--bootstrap", type=int, default=40, help="halves behind an interval")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--out", type=Path, default=RESULTS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
