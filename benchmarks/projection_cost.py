"""When screening by projections pays: all metrics of a k with and without, by how many pairs the projections leave.

Data: normal with standard deviations (1 + i)^-a, which leave more pairs the smaller a is; the clustered and isotropic
data of the other benchmark; features of one's own. For each the time with and without projections, what the probe of
`manifold/engine/projection_probe.py` estimates, takes and costs, and what its choice loses against the better of the
two.

    python benchmarks/projection_cost.py
    GENMEND_KERNEL=avx2 python benchmarks/projection_cost.py --save
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from contenders import DATA, ours
from machine import best_kernel, conditions, save, timer

from genmend.manifold.engine import screens
from genmend.manifold.engine.native_codes import Encoding
from genmend.manifold.engine.native_screen import NativeScreen
from genmend.manifold.engine.projection_probe import projection_pays, share_left

SIZES = ((1000, 2048), (2000, 512), (2000, 1024), (2000, 2048), (5000, 1024))
EXPONENTS = (0.5, 0.6, 0.65, 0.7, 0.8)
K = 5
HEAD = "data             n     d    left  estimate  probe ms  without s  with s  ratio  taken    lost"


def decaying(exponent: float, seed: int, n: int, d: int) -> np.ndarray:
    """(n, d) float32 normal, whose spread falls as a power of the number of the column."""
    spread = (1 + np.arange(d)) ** -exponent
    return (np.random.default_rng(seed).standard_normal((n, d)) * spread).astype(np.float32)


def rows(files: Sequence[Path]) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Name, reference and query."""
    made: dict[str, Callable[[int, int, int], np.ndarray]] = {f"decay {a}": partial(decaying, a) for a in EXPONENTS}
    for n, d in SIZES:
        for name, make in {**made, "clustered": DATA["clustered"], "isotropic": DATA["isotropic"]}.items():
            yield name, make(1, n, d), make(2, n, d)
    for path in files:
        features = np.load(path)
        half = len(features) // 2
        yield path.stem, features[:half], features[half : 2 * half]


def seconds(x: np.ndarray, y: np.ndarray, repeats: int) -> tuple[float, float]:
    """CPU seconds without and with projections, interleaved, medians."""
    taken: dict[bool, list[float]] = {False: [], True: []}
    original = NativeScreen.of
    try:
        for _ in range(repeats):
            for projected, runs in taken.items():
                screens.NativeScreen.of = partial(original, projected=projected, closer=True)
                with timer() as one:
                    ours(x, y, K)
                runs.append(one.cpu)
    finally:
        screens.NativeScreen.of = original
    return statistics.median(taken[False]), statistics.median(taken[True])


def main() -> None:
    """Measure, fit and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--features", type=Path, nargs="+", default=[], help="more data: .npy files, cut in halves")
    parser.add_argument("--repeats", type=int, default=3, help="interleaved runs, of which the median counts (3)")
    parser.add_argument("--save", action="store_true", help="write benchmarks/results/projection-<kernel>-<CPU>.txt")
    arguments = parser.parse_args()
    kernel, lines, losses = best_kernel(), [conditions("numpy"), HEAD], []
    print(*lines, sep="\n", flush=True)
    for name, x, y in rows(arguments.features):
        n, d = x.shape
        encoding = Encoding.of(x, kernel, True)
        with timer() as probe:
            estimate = share_left(x, encoding.center, encoding.scale)
        left = NativeScreen.of(x, kernel, True, True)._probe(64)[0] / n
        without, with_ = seconds(x, y, arguments.repeats)
        taken = projection_pays(x, encoding.center, encoding.scale, kernel)
        losses.append((with_ if taken else without) / min(with_, without) - 1)
        lines.append(
            f"{name:<12}{n:>6} {d:>5}{left:>8.3f}{estimate:>10.3f}{probe.cpu * 1e3:>10.1f}{without:>11.3f}{with_:>8.3f}"
            f"{with_ / without:>7.2f}  {'yes' if taken else 'no':<5}{100 * losses[-1]:>6.0f} %"
        )
        print(lines[-1], flush=True)
    lines.append(
        f"{kernel}: lost by the choice {100 * max(losses):.0f} % at most, {100 * np.mean(losses):.1f} % on average"
    )
    print(lines[-1])
    if arguments.save:
        save(lines, "projection")


if __name__ == "__main__":
    main()
