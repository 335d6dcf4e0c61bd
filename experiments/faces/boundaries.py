"""Generative boundaries of the face generator: are the images of a region more alike than its size explains?

    python -m experiments.faces.boundaries

For each query the smallest supporting set of main.2 is learnt; latents are explored inside its region by walks that
bounce off the walls and by a tree, and their images compared, by pixel variance and by the mean distance of two images
in EfficientNet-Lite0's features, with those of the same latents rotated round the query, of balls of the same mean
distance, and of regions of as many random boundaries. Differences are paired by query; intervals are 95 % bootstrap
intervals over the queries. Then: how many moves the walks need, and how far the tree gets.

Writes results/boundaries/: tables.txt, results.json, regions.png, and the page; what an interrupted run goes on from
goes to its cache folder, which git ignores. Needs the weights `faces` and `efficientnet-lite0` (genmend fetch). Half
an hour on one core.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from experiments.intervals import bootstrap
from experiments.pages import write_page
from genmend.gans import Generator, explore
from genmend.gans.boundaries import (
    as_affine,
    bouncing_walks,
    convergence,
    farthest_points,
    generative_region,
    grow_tree,
    spread,
    walks,
)
from genmend.gans.boundaries.explore import ExploreRun, QueryRegion
from genmend.gans.families.pretrained import load_faces
from genmend.gans.settings import ExploreSettings
from genmend.manifold.figures.image_grid import image_grid
from genmend.storage.digests import sha256_of_array
from genmend.storage.pieces import Work

RESULTS = Path(__file__).with_name("results") / "boundaries"
METHODS = ("bouncing", "tree")
SETS = {
    "region": "region",
    "rotated": "region, rotated",
    "l2_ball": "L2 ball",
    "linf_ball": "L-infinity ball",
    "random_set": "random boundaries",
    "random_set_rotated": "random boundaries, rotated",
}
MEASURES = {"pixel_variance": "pixel variance", "feature_distance": "Lite0 distance"}
CONTROLS = ("rotated", "l2_ball", "linf_ball", "random_set")
N_BOOTSTRAP = 10_000
BOUNCES, MOVES, NODES = (10, 20, 50, 200), (200, 1000, 4000), (250, 500, 1000, 2000)
SHOWN = 6


def main() -> None:
    options = _options()
    options.out.mkdir(parents=True, exist_ok=True)
    generator = load_faces()
    lines: list[str] = []
    results: dict[str, Any] = {}
    for method in METHODS:
        settings = ExploreSettings(method=method, n=options.n, seed=options.seed)  # type: ignore[arg-type]
        work = Work(options.cache / "work", progress=sys.stderr.isatty())
        run = explore(generator, n_queries=options.n_queries, settings=settings, work=work)
        if method == METHODS[0]:
            lines += few_lines(run)
            (options.out / "regions.png").write_bytes(picture(generator, run.queries[:4]))
        results[method], found = homogeneity_lines(run, options.seed)
        lines += found
        (options.out / "tables.txt").write_text("\n".join(lines) + "\n")
        print("\n".join(lines), flush=True)
    results["mixing"], found = mixing_lines(generator, run.queries[: options.n_diagnosed], options)
    lines += found
    print("\n".join(found), flush=True)
    (options.out / "tables.txt").write_text("\n".join(lines) + "\n")
    (options.out / "results.json").write_text(json.dumps(results, indent=1))
    write_page("faces/boundaries")


def few_lines(run: ExploreRun) -> list[str]:
    """How few neurons support an image."""
    mean = run.to_dict()["mean"]
    return [
        f"{len(run.queries)} queries, layer {run.layer}, tolerance RMSE {run.settings['tolerance']}: "
        f"{mean['n_members']:.0f} of {mean['n_candidates']:.0f} active neurons reproduce the image (mean); by "
        f"magnitude {mean['magnitude_n_needed']:.0f} are needed, by first-order effect "
        f"{mean['first_order_n_needed']:.0f}, at random {mean['random_n_needed']:.0f}.",
        "",
    ]


def homogeneity_lines(run: ExploreRun, seed: int) -> tuple[dict[str, Any], list[str]]:
    """Table of all sets, and the region against each control."""
    columns = run.columns()
    method = run.settings["method"]
    lines = [
        f"{method}: {run.settings['n']} latents a query, {columns['mean_distance'].mean():.2f} from it on average",
        f"  {'set':28s} {'pixel variance':>15s} {'Lite0 distance':>15s} {'spread':>8s} {'norm':>7s} {'inside':>7s}",
    ]
    for name, label in SETS.items():
        variance, distance, apart, norm, inside = (
            columns[f"{name}_{key}"].mean()
            for key in ("pixel_variance", "feature_distance", "spread", "norm", "inside")
        )
        lines.append(f"  {label:28s} {variance:15.4f} {distance:15.3f} {apart:8.2f} {norm:7.2f} {inside:7.3f}")
    if np.isfinite(columns["r_hat"]).all():
        learnt, random = columns["r_hat"], columns["random_set_r_hat"]
        lines.append(
            f"  split R-hat of the walks, mean (largest) over the queries: region {learnt.mean():.3f} "
            f"({learnt.max():.3f}), random boundaries {random.mean():.3f} ({random.max():.3f})"
        )
    found: dict[str, Any] = {"queries": {name: column.tolist() for name, column in columns.items()}, "ratios": {}}
    for measure, label in MEASURES.items():
        region = columns[f"region_{measure}"]
        for control in CONTROLS:
            ratio = ratio_of_means(region, columns[f"{control}_{measure}"], seed)
            found["ratios"][f"{measure}: region / {control}"] = ratio
            lines.append(f"  {label}, region / {SETS[control]}: {_interval(ratio)}")
        random = columns[f"random_set_{measure}"], columns[f"random_set_rotated_{measure}"]
        ratio = ratio_of_means(*random, seed)
        found["ratios"][f"{measure}: random_set / its rotated"] = ratio
        lines.append(f"  {label}, random boundaries / these rotated: {_interval(ratio)}")
        beyond = ratio_of_means(region, columns[f"rotated_{measure}"], seed, *random)
        found["ratios"][f"{measure}: the first ratio over the last"] = beyond
        lines.append(f"  {label}, the first of these ratios over the last: {_interval(beyond)}")
    return found, [*lines, ""]


def ratio_of_means(
    above: NDArray[np.float64], below: NDArray[np.float64], seed: int, *beside: NDArray[np.float64]
) -> tuple[float, float, float]:
    """Ratio of the means over the queries, over that of two more columns if given, with its 95 % interval.

    Queries are drawn with replacement, the same for all columns.
    """

    def ratio(rows: NDArray[np.int64]) -> float:
        found = above[rows].mean() / below[rows].mean()
        return found / (beside[0][rows].mean() / beside[1][rows].mean()) if beside else found

    return bootstrap(ratio, len(above), seed, N_BOOTSTRAP)


def mixing_lines(
    generator: Generator, queries: tuple[QueryRegion, ...], options: argparse.Namespace
) -> tuple[dict[str, Any], list[str]]:
    """How walks and trees of different lengths compare, on some of the queries, for learnt and random boundaries."""
    rows: dict[str, list[dict[str, float]]] = {}
    for number, query in enumerate(queries):
        region = generative_region(generator, query.query, generator.layers[0], query.mask)
        about = {"query": number, "seed": options.seed, "n": options.n, "lengths": [BOUNCES, MOVES, NODES]}

        def compute(region: Any = region) -> dict[str, NDArray[Any]]:
            kept = json.dumps(_diagnose(region, options.n, options.seed))
            return {"rows": np.frombuffer(kept.encode(), np.uint8)}

        about |= {"members": sha256_of_array(query.mask)}
        kept = Work(options.cache / "work").kept("mixing", about, compute)["rows"]
        for name, row in json.loads(kept.tobytes()).items():
            rows.setdefault(name, []).append(row)
    lines = [f"How long is long enough? Learnt boundaries of {len(queries)} queries, {options.n} walks; means"]
    for name, found in rows.items():
        mean = {key: float(np.mean([row[key] for row in found])) for key in found[0]}
        rest = ", ".join(f"{key} {value:.3g}" for key, value in mean.items())
        lines.append(f"  {name:24s} {rest}")
    return rows, [*lines, ""]


def _diagnose(region: Any, n: int, seed: int) -> dict[str, dict[str, float]]:
    region = as_affine(region)
    query = region.query.flatten(1)
    found = {}
    for name, path, lengths in (
        ("bouncing", (at for at, _ in bouncing_walks(region, n, n_moves=BOUNCES[-1], seed=seed)), BOUNCES),
        ("hit-and-run", (at for at, _, _ in walks(region, n, n_moves=MOVES[-1], seed=seed)), MOVES),
    ):
        states: list[torch.Tensor] = []
        start = time.process_time()
        for move, at in enumerate(path, 1):
            if move % max(1, lengths[0] // 10) == 0:
                states.append(torch.cat([at, (at - query).norm(dim=1, keepdim=True)], 1).float())
            if move in lengths:
                told = convergence(torch.stack(states).numpy())
                found[f"{name}, {move} moves"] = {
                    "cpu seconds": time.process_time() - start,
                    "split R-hat": told.r_hat,
                    "effective size": told.effective_size,
                    "distance to the query": float(states[-1][:, -1].mean()),
                    "spread": spread(states[-1][:, :-1]),
                }
    for n_nodes in NODES:
        start = time.process_time()
        tree = grow_tree(region, n, n_nodes=n_nodes, seed=seed)
        found[f"tree, {n_nodes} nodes"] = {
            "cpu seconds": time.process_time() - start,
            "nodes": tree.settings["n_nodes"],
            "acceptance": tree.acceptance,
            "distance to the query": tree.mean_distance,
            "spread": tree.spread,
        }
    return found


def picture(generator: Generator, queries: tuple[QueryRegion, ...]) -> bytes:
    """Two rows a query: itself and samples of its region; itself and the same ones rotated."""
    rows = []
    for query in queries:
        chosen = farthest_points(torch.cat([query.query, query.latents]), SHOWN + 1)[1:] - 1
        for latents in (query.latents, query.rotated):
            rows.append(generator.generate(torch.cat([query.query, latents[chosen]])))
    return image_grid(rows, scale=2)


def _interval(ratio: tuple[float, float, float]) -> str:
    return f"{ratio[0]:.3f} [{ratio[1]:.3f}, {ratio[2]:.3f}]"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--cache", type=Path, default=RESULTS / "cache")
    parser.add_argument("--n-queries", type=int, default=16)
    parser.add_argument("--n-diagnosed", type=int, default=4, help="queries whose walks are followed")
    parser.add_argument("--n", type=int, default=32, help="latents explored round each query")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


if __name__ == "__main__":
    main()
