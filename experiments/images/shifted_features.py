"""Features shifted by 300 standard deviations: which implementations still decide as a float64 check does?

    python -m experiments.images.shifted_features

Features of crops of photographs, the second set slightly blurred (EfficientNet-Lite0; the weights by `genmend fetch`,
the photographs as in experiments.images.sets, whose cache is used). Every method gets the same float32 numbers; the
check takes plain differences of them in float64. Writes results/shifted_features/tables.txt and results.json.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import torch
from sklearn.metrics import pairwise_distances

from experiments.images.data import crops, degrade, photographs
from experiments.images.sets import RESULTS as IMAGE_SETS
from experiments.images.sets import extractor_of
from experiments.pages import write_page
from genmend.manifold.engine.native_screen import native_kernels
from genmend.manifold.engine.screens import ENGINES
from genmend.manifold.metrics.evaluation import evaluate

RESULTS = Path(__file__).with_name("results") / "shifted_features"
K = 5
Table = Callable[[np.ndarray, np.ndarray], np.ndarray]  # distances (a, b) of the rows of two sets


@dataclass(frozen=True)
class Decisions:
    """Radii of the reference, which query is inside, which reference is covered, and how many pairs are within."""

    radii: np.ndarray
    inside: np.ndarray
    covered: np.ndarray
    n_pairs: int


def main() -> None:
    options = _options()
    options.out.mkdir(parents=True, exist_ok=True)
    extract = extractor_of("efficientnet-lite0", options.cache)
    images = crops(photographs(), options.n, options.seed + 1)
    x = extract(crops(photographs(), options.n, options.seed)).astype(np.float64)
    y = extract(degrade(images, "blur", 0.5, options.seed)).astype(np.float64)
    lines, results = [_header(options, x)], []
    for shift in options.shifts:
        found = compare(*((values + shift * x.std()).astype(np.float32) for values in (x, y)))
        results += [{"shift": shift, "method": method, **row} for method, row in found.items()]
        lines += ["", f"shifted by {shift:g} standard deviations", *format_rows(found)]
    print("\n".join(lines))
    (options.out / "tables.txt").write_text("\n".join(lines) + "\n")
    (options.out / "results.json").write_text(json.dumps(results, indent=1))
    write_page("images/shifted_features")


def compare(x: np.ndarray, y: np.ndarray) -> dict[str, dict[str, Any]]:
    """Every method's decisions beside those of the float64 check."""
    truth = decisions_of(float64_distances, x, y)
    found = {name: decisions_of(table, x, y) for name, table in TABLES.items()}
    for engine in ENGINES:
        if engine != "native" or native_kernels():
            found[f"genmend, {engine}"] = own_decisions(x, y, engine)
    rows = {"float64 check": difference(truth, truth)}
    return rows | {name: difference(decisions, truth) for name, decisions in found.items()}


def decisions_of(table: Table, x: np.ndarray, y: np.ndarray) -> Decisions:
    """From a method's distances: k-NN radii of `x` without the point itself, and closed balls."""
    own = table(x, x).copy()
    np.fill_diagonal(own, np.inf)
    radii = np.partition(own, K - 1, axis=1)[:, K - 1]
    within = table(y, x) <= radii
    return Decisions(radii, within.any(axis=1), within.any(axis=0), int(within.sum()))


def own_decisions(x: np.ndarray, y: np.ndarray, engine: str) -> Decisions:
    """Those of `manifold.evaluate`, by one of its engines."""
    before = os.environ.get("GENMEND_ENGINE")
    os.environ["GENMEND_ENGINE"] = engine
    try:
        arrays = evaluate(x, y, K, ("precision", "density", "coverage")).per_sample()
    finally:
        os.environ.pop("GENMEND_ENGINE")
        if before is not None:
            os.environ["GENMEND_ENGINE"] = before
    at = {name: arrays[f"k{K}_{name}"] for name in ("radius", "inside", "covered", "ball_count")}
    return Decisions(at["radius"], at["inside"], at["covered"], int(at["ball_count"].sum()))


def difference(found: Decisions, truth: Decisions) -> dict[str, Any]:
    """What a table shows of one method; radii that are no numbers (a negative square) count as infinitely wrong."""
    with np.errstate(invalid="ignore"):
        errors = np.abs(found.radii - truth.radii) / truth.radii
    return {
        "radius_error": float(np.nan_to_num(errors, nan=np.inf).max()),
        "inside_wrong": int((found.inside != truth.inside).sum()),
        "covered_wrong": int((found.covered != truth.covered).sum()),
        "precision": float(found.inside.mean()),
        "coverage": float(found.covered.mean()),
        "density": found.n_pairs / (K * len(truth.inside)),
    }


def float64_distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Differences first, then squares, in float64: nothing cancels."""
    wide = b.astype(np.float64)
    return np.stack([np.sqrt(np.square(wide - row).sum(axis=1)) for row in a.astype(np.float64)])


def _expanded(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    squares = (a**2).sum(axis=1)[:, None] - 2 * (a @ b.T) + (b**2).sum(axis=1)
    root: np.ndarray = np.sqrt(np.maximum(squares, 0))
    return root


def _torch(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    table: np.ndarray = torch.cdist(torch.from_numpy(a), torch.from_numpy(b)).numpy()
    return table


def _faiss(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    squares, columns = faiss.knn(a, b, len(b))
    table = np.empty_like(squares)
    np.put_along_axis(table, columns, np.sqrt(np.maximum(squares, 0)), axis=1)
    return table


TABLES: dict[str, Table] = {
    "numpy, |a|2-2ab+|b|2, float32": _expanded,
    "torch.cdist, float32": _torch,
    "faiss, exact L2, float32": _faiss,
    "scikit-learn, as in prdc": pairwise_distances,  # in float64, chunk by chunk
}


def format_rows(found: dict[str, dict[str, Any]]) -> list[str]:
    names = ("radius error", "inside wrong", "covered wrong", "precision", "coverage", "density")
    lines = [f"  {'':32s}" + "".join(f"{name:>15s}" for name in names)]
    for method, row in found.items():
        cells = [f"{row['radius_error']:.1e}", str(row["inside_wrong"]), str(row["covered_wrong"])]
        cells += [f"{row[name]:.4f}" for name in ("precision", "coverage", "density")]
        lines.append(f"  {method:32s}" + "".join(f"{cell:>15s}" for cell in cells))
    return lines


def _header(options: argparse.Namespace, x: np.ndarray) -> str:
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "numpy", "faiss-cpu"))
    return (
        f"shifted_features, seed {options.seed}: {len(x)} + {len(x)} crops, {x.shape[1]} features, k = {K}, closed "
        f"balls; {versions}.\nradius error: largest relative one; wrong: samples of {len(x)} whose decision differs "
        "from the float64 check's."
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--cache", type=Path, default=IMAGE_SETS / "cache")
    parser.add_argument("--n", type=int, default=600)
    parser.add_argument("--shifts", type=float, nargs="+", default=[0, 300])
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


if __name__ == "__main__":
    main()
