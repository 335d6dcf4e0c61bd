"""Speed and memory of the manifold metrics beside prdc, scikit-learn and faiss, on the same features in one process.

Every contender computes precision, recall, density and coverage for one k (the first call of each is checked to
agree); runs are interleaved and the median of the repeats is shown, as CPU seconds of the process, wall seconds, and
the ratios to ours. One thread by default: with more, CPU seconds count the waiting of threads for each other. Peak
memory comes from a fresh process each: resident memory above that of the loaded inputs and libraries (Linux).

    python benchmarks/manifold_speed.py --n 2000 5000 --d 512 2048
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from functools import partial
from importlib.metadata import version
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

Metrics = tuple[float, float, float, float]
SEED = 1


def features(seed: int, n: int, d: int) -> np.ndarray:
    """(n, d) float32: 50 clusters in 30 dimensions through a random ReLU network, as features of deep networks look."""
    rng, weights = np.random.default_rng(seed), np.random.default_rng(0)
    centers = 2 * weights.standard_normal((50, 30))
    first, second = weights.standard_normal((30, 256)) / 5, weights.standard_normal((256, d)) / 16
    latent = centers[rng.integers(0, 50, n)] + rng.standard_normal((n, 30))
    return np.maximum(np.maximum(latent @ first, 0) @ second, 0).astype(np.float32)


def ours(x: np.ndarray, y: np.ndarray, k: int) -> Metrics:
    """Exact, and with all per-sample arrays."""
    from manifold import prdc

    at = prdc(x, y, k, closed=False)[k]
    return at.precision, at.recall, at.density, at.coverage


def prdc_package(x: np.ndarray, y: np.ndarray, k: int) -> Metrics:
    """The authors' package, muted."""
    from prdc import compute_prdc

    with contextlib.redirect_stdout(io.StringIO()):
        found = compute_prdc(x, y, k)
    return float(found["precision"]), float(found["recall"]), float(found["density"]), float(found["coverage"])


def scikit_learn(x: np.ndarray, y: np.ndarray, k: int) -> Metrics:
    """The best of it: brute-force neighbours for the radii, distances in blocks for the rest."""
    from sklearn.metrics import pairwise_distances_chunked
    from sklearn.neighbors import NearestNeighbors

    radii = [NearestNeighbors(n_neighbors=k, algorithm="brute").fit(s).kneighbors()[0][:, -1] for s in (x, y)]
    return blockwise(pairwise_distances_chunked(y, x, working_memory=64), radii[0], radii[1], k)


def faiss_flat(x: np.ndarray, y: np.ndarray, k: int) -> Metrics:
    """Radii by exact search of k + 1 neighbours, the rest by its blocks of all squared distances."""
    import faiss

    def distances(queries: np.ndarray, base: np.ndarray) -> np.ndarray:
        return np.sqrt(np.maximum(faiss.pairwise_distances(queries, base), 0))

    radii = [np.sqrt(faiss.knn(s, s, k + 1)[0][:, -1]) for s in (x, y)]
    return blockwise((distances(y[top : top + 1024], x) for top in range(0, len(y), 1024)), radii[0], radii[1], k)


def blockwise(blocks: Iterable[np.ndarray], radii: np.ndarray, query_radii: np.ndarray, k: int) -> Metrics:
    """Open balls, as the prdc package has them, from blocks of query rows against all of the reference."""
    count, covered, recalled, top = [], np.zeros(len(radii), bool), np.zeros(len(radii), bool), 0
    for block in blocks:
        inside = block < radii
        count.append(inside.sum(axis=1))
        covered |= inside.any(axis=0)
        recalled |= (block < query_radii[top : top + len(block), None]).any(axis=0)
        top += len(block)
    counts = np.concatenate(count)
    return float((counts > 0).mean()), float(recalled.mean()), float(counts.mean() / k), float(covered.mean())


CONTENDERS: dict[str, Callable[[np.ndarray, np.ndarray, int], Metrics]] = {
    "ours": ours,
    "prdc": prdc_package,
    "scikit-learn": scikit_learn,
    "faiss": faiss_flat,
}


def timed(run: Callable[[], Metrics]) -> tuple[float, float, Metrics]:
    """CPU seconds, wall seconds, result."""
    cpu, wall = time.process_time(), time.perf_counter()
    found = run()
    return time.process_time() - cpu, time.perf_counter() - wall, found


def compare(n: int, d: int, k: int, repeats: int, threads: int, names: list[str]) -> None:
    """Print one row for each contender."""
    x, y = features(SEED, n, d), features(SEED + 1, n, d)
    for name in names:  # warm up: imports and thread pools are not what is compared
        CONTENDERS[name](x[: 10 * k], y[: 10 * k], k)
    runs: dict[str, list[tuple[float, float, Metrics]]] = {name: [] for name in names}
    with threadpool_limits(threads):  # after the warm-up, when every library has loaded its pool
        for _ in range(repeats):
            for name in names:
                runs[name].append(timed(partial(CONTENDERS[name], x, y, k)))
    with tempfile.TemporaryDirectory() as folder:
        np.save(f"{folder}/inputs.npy", np.stack([x, y]))
        memory = {name: peak_memory(name, Path(folder) / "inputs.npy", k) for name in names}
    cpu = {name: statistics.median(one[0] for one in runs[name]) for name in names}
    wall = {name: statistics.median(one[1] for one in runs[name]) for name in names}
    for name in names:
        gap = max(abs(a - b) for a, b in zip(runs[name][0][2], runs["ours"][0][2], strict=True))
        print(
            f"{n:>6} {d:>5}  {name:<13}{cpu[name]:>8.2f}{cpu[name] / cpu['ours']:>8.1f}x{wall[name]:>8.2f}"
            f"{wall[name] / wall['ours']:>8.1f}x{memory[name]:>9.0f}   {gap:.1e}",
            flush=True,
        )


def peak_memory(name: str, inputs: Path, k: int) -> float:
    """Megabytes above the loaded inputs, in a process of its own."""
    command = [sys.executable, __file__, "--k", str(k), "--memory-of", name, str(inputs)]
    return float(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))


def own_peak_memory(name: str, inputs: Path, k: int) -> float:
    """What the process of `peak_memory` measures on itself."""
    x, y = np.load(inputs)
    CONTENDERS[name](x[: 10 * k].copy(), y[: 10 * k].copy(), k)
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak of loading libraries
    before = _status("VmRSS")
    CONTENDERS[name](x, y, k)
    return (_status("VmHWM") - before) / 1024


def _status(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field))


def cpu_name() -> str:
    """As the system gives it."""
    with contextlib.suppress(OSError, StopIteration):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    return platform.processor() or platform.machine()


def main() -> None:
    """Parse, print the conditions, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, nargs="+", default=[2000, 5000], help="samples in each set (2000 5000)")
    parser.add_argument("--d", type=int, nargs="+", default=[512, 2048], help="features (512 2048)")
    parser.add_argument("--k", type=int, default=5, help="neighbours (5)")
    parser.add_argument("--repeats", type=int, default=3, help="interleaved runs, of which the median counts (3)")
    parser.add_argument(
        "--only", nargs="+", choices=CONTENDERS, default=list(CONTENDERS), help="contenders; ours always runs"
    )
    parser.add_argument("--threads", type=int, default=1, help="threads of the matrix products (1)")
    parser.add_argument("--memory-of", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.memory_of:
        name, inputs = arguments.memory_of
        print(json.dumps(own_peak_memory(name, Path(inputs), arguments.k)))
        return
    packages = ", ".join(f"{name} {version(name)}" for name in ("numpy", "scikit-learn", "faiss-cpu", "prdc"))
    settings = {name: os.environ[name] for name in sorted(os.environ) if name.startswith(("OPENBLAS_", "OMP_"))}
    print(
        f"{cpu_name()}, {os.cpu_count()} cores, {arguments.threads} used; {packages}; environment {settings or 'plain'}"
    )
    print(f"seeds: features {SEED} and {SEED + 1}, network 0; k = {arguments.k}; median of {arguments.repeats}")
    print("     n     d  contender       cpu-s   ratio   wall-s   ratio  peak MB   largest difference from ours")
    names = [name for name in CONTENDERS if name in {"ours", *arguments.only}]
    for n in arguments.n:
        for d in arguments.d:
            compare(n, d, arguments.k, arguments.repeats, arguments.threads, names)


if __name__ == "__main__":
    main()
