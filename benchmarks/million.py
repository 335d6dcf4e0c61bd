"""One million references out of core: queries per CPU second and memory, beside faiss flat with 64 neighbours.

The reference is a memory-mapped .npy of seeded features in a temporary folder (2 GB at full size). Every stage is a
process of its own, so that each has its own memory; memory is anonymous memory (RssAnon of /proc/self/status, Linux),
to which mapped files do not count. Radii are exact; they cost the square of the reference, minutes at full size.

    python benchmarks/million.py
    python benchmarks/million.py --n 20000 --queries 1000
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from contenders import DATA
from machine import anonymous_peak, conditions, cpu_name, status, timer

NEIGHBORS = 64  # of faiss flat, as many as it needs to come near the true rarities
ROWS_WRITTEN = 20_000


def write(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """The reference, block by block, and the queries."""
    shape = (options.n, options.d)
    reference = np.lib.format.open_memmap(folder / "reference.npy", mode="w+", dtype=np.float32, shape=shape)
    for block, start in enumerate(range(0, options.n, ROWS_WRITTEN)):
        rows = slice(start, min(start + ROWS_WRITTEN, options.n))
        reference[rows] = DATA[options.data](block + 1, rows.stop - start, options.d)
    reference.flush()
    np.save(folder / "query.npy", DATA[options.data](0, options.queries, options.d))
    return {}


def radii(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """The radii that all contenders are given."""
    from genmend.manifold import knn_radii
    from genmend.manifold.sharded.mapped_features import open_features

    reference = open_features(folder / "reference.npy", check=False)
    base = status("RssAnon")
    with anonymous_peak() as memory, timer() as taken:
        found = knn_radii(reference, options.k)
    np.save(folder / "radii.npy", found)
    return {"cpu_s": taken.cpu, "wall_s": taken.wall, "anonymous_mb": memory.peak - base}


def ours(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """The exact sweep of `Manifold`: membership, counts and rarity, then everything with realism and score."""
    from genmend.manifold import Manifold
    from genmend.manifold.sharded.mapped_features import open_features

    reference, query = open_features(folder / "reference.npy", check=False), np.load(folder / "query.npy")
    known = np.load(folder / "radii.npy")
    warm = DATA[options.data](0, 200, options.d)
    Manifold(options.k).fit(warm).evaluate(warm)  # imports, thread pools and kernels are not what is measured
    base = status("RssAnon")
    with anonymous_peak() as memory:
        with timer() as fit:
            manifold = Manifold.from_radii(reference, known, k=options.k)
        with timer() as sweep:
            rarity = manifold.rarity(query)
        with timer() as everything:
            manifold.evaluate(query)
    np.save(folder / "rarity.npy", rarity)
    return {
        "fit_cpu_s": fit.cpu,
        "rarity_queries_per_cpu_s": len(query) / sweep.cpu,
        "rarity_queries_per_s": len(query) / sweep.wall,
        "evaluate_queries_per_cpu_s": len(query) / everything.cpu,
        "inside": float(np.isfinite(rarity).mean()),
        "anonymous_mb": memory.peak - base,
        "process_anonymous_mb": memory.peak,
    }


def faiss_flat(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Exact search of 64 neighbours for some of the queries, and the rarity that follows from them alone."""
    import faiss

    reference = np.asarray(np.load(folder / "reference.npy", mmap_mode="r"))
    query = np.load(folder / "query.npy")[: options.faiss_queries]
    known, true = np.load(folder / "radii.npy"), np.load(folder / "rarity.npy")[: options.faiss_queries]
    wanted = min(NEIGHBORS, len(reference))
    faiss.knn(query[:10], reference[:1000], min(wanted, 1000))
    base = status("RssAnon")
    with anonymous_peak() as memory, timer() as taken:
        squared, neighbors = faiss.knn(query, reference, wanted)
    found = np.where(np.sqrt(np.maximum(squared, 0)) <= known[neighbors], known[neighbors], np.inf).min(axis=1)
    return {
        "queries": len(query),
        "queries_per_cpu_s": len(query) / taken.cpu,
        "queries_per_s": len(query) / taken.wall,
        "rarity_identical": float((found == np.where(np.isnan(true), np.inf, true)).mean()),
        "anonymous_mb": memory.peak - base,
    }


STAGES: dict[str, Callable[[Path, argparse.Namespace], dict[str, Any]]] = {
    "write": write,
    "radii": radii,
    "ours": ours,
    "faiss": faiss_flat,
}


def run(stage: str, folder: str, arguments: list[str], threads: int) -> dict[str, Any]:
    """A stage in a process of its own."""
    env = os.environ | {name: str(threads) for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}
    command = [sys.executable, str(Path(__file__).resolve()), *arguments, "--stage", stage, "--folder", folder]
    done = subprocess.run(command, env=env, stdout=subprocess.PIPE, text=True, check=True)
    found = json.loads(done.stdout)
    print(f"{stage}: {json.dumps(found)}", file=sys.stderr)
    return found


def table(found: dict[str, dict[str, Any]], options: argparse.Namespace) -> str:
    """The result as Markdown."""
    us, them, given = found["ours"], found["faiss"], found["radii"]
    one, all_of_it = us["rarity_queries_per_cpu_s"], us["evaluate_queries_per_cpu_s"]
    rows = [
        ("ours: rarity, counts", one, us["anonymous_mb"], 1),
        ("ours: everything", all_of_it, us["anonymous_mb"], 1),
        (f"faiss flat, {NEIGHBORS} neighbours, {them['queries']} queries", them["queries_per_cpu_s"],
         them["anonymous_mb"], them["rarity_identical"]),
    ]  # fmt: skip
    return "\n".join([
        conditions("numpy", "faiss-cpu"),
        f"{options.n} x {options.d} float32, {options.data}, mapped; {options.queries} queries; k = {options.k}; "
        f"{options.threads} thread(s)",
        f"radii: exact, {given['cpu_s']:.1f} cpu-s; encoding: {us['fit_cpu_s']:.1f} cpu-s; "
        f"ours / faiss: {one / them['queries_per_cpu_s']:.2f}",
        "",
        "| | queries per cpu-s | anonymous memory, MB | rarity identical |",
        "|---|---|---|---|",
        *(f"| {name} | {speed:.0f} | {used:.0f} | {same:.4g} |" for name, speed, used, same in rows),
    ])  # fmt: skip


def main() -> None:
    """Run the stages and print the table; with --json the numbers alone."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=1_000_000, help="reference samples")
    parser.add_argument("--d", type=int, default=512, help="features of a sample")
    parser.add_argument("--data", choices=DATA, default="clustered", help="how the features lie (clustered)")
    parser.add_argument("--queries", type=int, default=10_000)
    parser.add_argument("--faiss-queries", type=int, default=500, help="how many of them faiss gets")
    parser.add_argument("--k", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="the numbers as JSON instead of the table")
    parser.add_argument("--folder", help="where the files go (default: a temporary folder, removed at the end)")
    parser.add_argument("--stage", choices=STAGES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.stage:
        print(json.dumps(STAGES[options.stage](Path(options.folder), options)))
        return
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        given = [argument for argument in sys.argv[1:] if argument != "--json"]
        found = {stage: run(stage, folder, given, options.threads) for stage in STAGES}
    print(json.dumps(found | {"cpu": cpu_name(), "options": vars(options)}) if options.json else table(found, options))


if __name__ == "__main__":
    main()
