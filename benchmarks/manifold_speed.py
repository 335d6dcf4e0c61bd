"""Speed and memory of the manifold metrics beside others, on the same features in one process.

Contenders compute precision, recall, density and coverage for one k (torch-fidelity the first two; the dense form of
Rarity Score, rarity alone); the first result of each is compared with ours. Runs are interleaved and the median of the
repeats is shown, as CPU seconds of the process and wall seconds, and the ratios to ours. Beside them stands what the
machine itself allows: a bare float32 product of the 4 N^2 D operations needed, by the faster of numpy and torch, and a
bare int8 product by torch, measured between the runs. Peak memory comes from a fresh process each: resident memory
above that of the loaded inputs and libraries (Linux).

Each environment is a process of its own: this machine as it is, and this machine held back to what older CPUs have.

    python benchmarks/manifold_speed.py                             # all rows, as it is and held back to AVX2
    python benchmarks/manifold_speed.py --rows isotropic:4000:2048 --imitate avx2
    python benchmarks/manifold_speed.py --save                      # also as benchmarks/results/<kernel>-<CPU>.txt
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from contenders import CONTENDERS, DATA, MOST_SAMPLES, Metrics
from machine import IMITATIONS, Seconds, best_kernel, conditions, forget_peak, product_rate, save, status, timer
from threadpoolctl import threadpool_limits

SEED = 1
PACKAGES = ("numpy", "torch", "scikit-learn", "faiss-cpu", "prdc", "torch-fidelity")
ROWS = (
    *("clustered:2000:512", "clustered:2000:2048", "clustered:5000:512", "clustered:5000:2048", "clustered:10000:512"),
    *("clustered:10000:2048", "one-cluster:5000:2048", "isotropic:4000:2048"),
)
LIMITS = {"float32 product": ("float32 numpy", "float32 torch"), "int8 product": ("int8 torch",)}
_ONCE = 1e11  # multiplications of a set with the other: such rows are run once
HEAD = "data             n     d  contender           cpu-s   ratio   wall-s   ratio  peak MB   difference from ours"


@dataclass(frozen=True)
class Row:
    """What is compared: kind of data, samples in each set, features."""

    kind: str
    n: int
    d: int

    @classmethod
    def of(cls, text: str) -> Row:
        """Read kind:n:d."""
        kind, n, d = text.split(":")
        if kind not in DATA:
            raise argparse.ArgumentTypeError(f"{kind!r} is no kind of data; {', '.join(DATA)} are accepted")
        return cls(kind, int(n), int(d))

    def sets(self) -> tuple[np.ndarray, np.ndarray]:
        """Reference and query."""
        return DATA[self.kind](SEED, self.n, self.d), DATA[self.kind](SEED + 1, self.n, self.d)


def compare(row: Row, k: int, repeats: int, names: list[str], with_memory: bool) -> list[str]:
    """A line for each contender and for each limit of the machine."""
    x, y = row.sets()
    runs: dict[str, list[Seconds]] = {name: [] for name in [*names, *LIMITS]}
    found: dict[str, Metrics] = {}
    for _ in range(1 if row.n**2 * row.d > _ONCE else repeats):
        for name in names:
            with timer() as taken:
                found[name] = CONTENDERS[name](x, y, k)
            runs[name].append(taken)
        for name, routines in LIMITS.items():
            runs[name].append(limit(routines, row))
    cpu = {name: statistics.median(one.cpu for one in of) for name, of in runs.items()}
    wall = {name: statistics.median(one.wall for one in of) for name, of in runs.items()}
    with tempfile.TemporaryDirectory() as folder:
        np.save(f"{folder}/inputs.npy", np.stack([x, y]))
        del x, y
        inputs = Path(folder) / "inputs.npy"
        memory = {name: f"{peak_memory(name, inputs, k):.0f}" if with_memory else "-" for name in names}
    lines = []
    for name in runs:
        line = (
            f"{row.kind:<12}{row.n:>6} {row.d:>5}  {name:<18}{cpu[name]:>7.2f}{cpu[name] / cpu['ours']:>7.2f}x"
            f"{wall[name]:>9.2f}{wall[name] / wall['ours']:>7.2f}x"
        )
        if name in names:
            gap = max(abs(a - b) for a, b in zip(found[name], found["ours"], strict=True) if a is not None)
            line += f"{memory[name]:>9}   {gap:.1e}"
        lines.append(line)
    return lines


def limit(routines: tuple[str, ...], row: Row) -> Seconds:
    """What 4 N^2 D operations take by the fastest of these routines, from products of the row's width."""
    rates = [product_rate(routine, min(row.n, 2048), row.d) for routine in routines]
    operations = 4.0 * row.n**2 * row.d / 1e9
    return Seconds(*(operations / max(one) if max(one) else float("nan") for one in zip(*rates, strict=True)))


def peak_memory(name: str, inputs: Path, k: int) -> float:
    """Megabytes above the loaded inputs, in a process of its own."""
    command = [sys.executable, __file__, "--k", str(k), "--memory-of", name, str(inputs)]
    return float(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))


def own_peak_memory(name: str, inputs: Path, k: int) -> float:
    """What the process of `peak_memory` measures on itself."""
    x, y = np.load(inputs)
    CONTENDERS[name](x[: 10 * k].copy(), y[: 10 * k].copy(), k)
    forget_peak()  # of loading libraries
    before = status("VmRSS")
    CONTENDERS[name](x, y, k)
    return status("VmHWM") - before


def measure(arguments: argparse.Namespace, say: Callable[..., None]) -> None:
    """All rows in the environment of this process."""
    say(
        conditions(*PACKAGES),
        f"imitated: {arguments.within}; seeds {SEED} and {SEED + 1}; k = {arguments.k}; "
        f"median of {arguments.repeats}, of the largest one run; float32 and int8 product: bare, by the fastest here",
    )
    warm = DATA["clustered"](0, 60, 64)
    for name in arguments.only:  # imports and thread pools are not what is compared
        CONTENDERS[name](warm[:30], warm[30:], 3)
    for threads in arguments.threads:
        import torch

        torch.set_num_threads(threads)
        with threadpool_limits(threads):  # after the warm-up, when every library has loaded its pool
            say("", f"{threads} thread{'s' * (threads > 1)}", HEAD)
            for row in arguments.rows:
                names = [name for name in arguments.only if row.n <= MOST_SAMPLES.get(name, row.n)]
                say(*compare(row, arguments.k, arguments.repeats, names, not arguments.no_memory))


def main() -> int:
    """Compare in each environment, one process after the other."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=Row.of, nargs="+", default=list(map(Row.of, ROWS)), metavar="KIND:N:D",
                        help=f"data ({', '.join(DATA)}), samples in each set, features ({' '.join(ROWS)})")  # fmt: skip
    parser.add_argument("--k", type=int, default=5, help="neighbours (5)")
    parser.add_argument("--repeats", type=int, default=3, help="interleaved runs, of which the median counts (3)")
    parser.add_argument("--only", nargs="+", choices=CONTENDERS, default=list(CONTENDERS), help="ours always runs")
    parser.add_argument("--no-memory", action="store_true", help="do without the processes that measure peak memory")
    parser.add_argument("--threads", type=int, nargs="+", default=[1], help="threads of the products (1)")
    parser.add_argument("--imitate", nargs="+", choices=IMITATIONS, default=["nothing", "avx2"],
                        help="environments: the machine as it is, or held back to an instruction set")  # fmt: skip
    parser.add_argument("--save", nargs="?", const="", metavar="NAME", help="write benchmarks/results/NAME-...txt")
    parser.add_argument("--within", choices=IMITATIONS, help=argparse.SUPPRESS)
    parser.add_argument("--memory-of", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.memory_of:
        print(json.dumps(own_peak_memory(arguments.memory_of[0], Path(arguments.memory_of[1]), arguments.k)))
        return 0
    if arguments.within is None:
        return max(run_within(name) for name in arguments.imitate)
    arguments.only = ["ours", *(name for name in arguments.only if name != "ours")]
    lines: list[str] = []

    def say(*more: str) -> None:
        lines.extend(more)
        print("\n".join(more), flush=True)

    measure(arguments, say)
    if arguments.save is not None:
        save(lines, arguments.save)
    return 0


def run_within(name: str) -> int:
    """Run the same command in an environment, unless that is what this machine has at best."""
    if best_kernel().endswith(name) or (name != "nothing" and platform.machine().lower() not in ("x86_64", "amd64")):
        print(f"{name}: nothing to imitate, the best kernel here is {best_kernel()}", file=sys.stderr)
        return 0
    command = [sys.executable, *sys.argv, "--within", name]
    return subprocess.run(command, env=os.environ | IMITATIONS[name], check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
