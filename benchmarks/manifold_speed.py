"""Speed and memory of the manifold metrics beside others, on the same features in one process.

Contenders compute precision, recall, density and coverage for one k (torch-fidelity the first two; the dense form of
Rarity Score, rarity alone); the first result of each is compared with ours. Runs are interleaved and the median of the
repeats is shown, as CPU seconds of the process and wall seconds, and the ratios to ours. `of fp32` is the CPU time as a
share of what a bare float32 product of the 4 N^2 D operations needed takes, by the faster of numpy and torch; `of int8`
the same for an int8 product. Peak memory comes from a fresh process each: resident memory above that of the loaded
inputs and libraries (Linux).

    python benchmarks/manifold_speed.py --n 2000 10000 --d 512 2048 --threads 1 2
    python benchmarks/manifold_speed.py --save      # also as benchmarks/results/<CPU>.txt
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from contenders import CONTENDERS, DATA, MOST_SAMPLES, Metrics
from machine import Seconds, conditions, cpu_name, forget_peak, product_rates, status, timer
from threadpoolctl import threadpool_limits

RESULTS = Path(__file__).resolve().with_name("results")
SEED = 1
PACKAGES = ("numpy", "torch", "scikit-learn", "faiss-cpu", "prdc", "torch-fidelity")
HEAD = (
    "     n     d  contender           cpu-s   ratio   wall-s   ratio  of fp32  of int8  peak MB   difference from ours"
)


def compare(kind: str, n: int, d: int, k: int, repeats: int, names: list[str], rates: dict[str, float]) -> list[str]:
    """A row for each contender."""
    x, y = DATA[kind](SEED, n, d), DATA[kind](SEED + 1, n, d)
    runs: dict[str, list[Seconds]] = {name: [] for name in names}
    found: dict[str, Metrics] = {}
    for _ in range(repeats):
        for name in names:
            with timer() as taken:
                found[name] = CONTENDERS[name](x, y, k)
            runs[name].append(taken)
    cpu = {name: statistics.median(one.cpu for one in runs[name]) for name in names}
    wall = {name: statistics.median(one.wall for one in runs[name]) for name in names}
    operations = 4.0 * n * n * d / 1e9
    single = operations / max(rates["float32 numpy"], rates["float32 torch"])
    whole = operations / rates["int8 torch"] if rates["int8 torch"] else float("nan")
    with tempfile.TemporaryDirectory() as folder:
        np.save(f"{folder}/inputs.npy", np.stack([x, y]))
        del x, y
        memory = {name: peak_memory(name, Path(folder) / "inputs.npy", k) for name in names}
    rows = []
    for name in names:
        gap = max(abs(a - b) for a, b in zip(found[name], found["ours"], strict=True) if a is not None)
        rows.append(
            f"{n:>6} {d:>5}  {name:<18}{cpu[name]:>7.2f}{cpu[name] / cpu['ours']:>7.1f}x{wall[name]:>9.2f}"
            f"{wall[name] / wall['ours']:>7.1f}x{cpu[name] / single:>9.2f}{cpu[name] / whole:>9.2f}{memory[name]:>9.0f}"
            f"   {gap:.1e}"
        )
    return rows


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


def sections(arguments: argparse.Namespace) -> list[str]:
    """The whole output, also printed as it comes."""
    lines: list[str] = []

    def say(*more: str) -> None:
        lines.extend(more)
        print("\n".join(more), flush=True)

    say(
        conditions(*PACKAGES),
        f"data: {arguments.data}, seeds {SEED} and {SEED + 1}; k = {arguments.k}; median of {arguments.repeats}",
    )
    warm = DATA[arguments.data](0, 60, 64)
    for name in arguments.only:  # imports and thread pools are not what is compared
        CONTENDERS[name](warm[:30], warm[30:], 3)
    for threads in arguments.threads:
        import torch

        torch.set_num_threads(threads)
        with threadpool_limits(threads):  # after the warm-up, when every library has loaded its pool
            rates = product_rates()
            say("", f"{threads} thread{'s' * (threads > 1)}; products, 10^9 operations a CPU second: "
                + ", ".join(f"{name} {rate:.0f}" for name, rate in rates.items()), HEAD)  # fmt: skip
            for n in arguments.n:
                for d in arguments.d:
                    names = [name for name in arguments.only if n <= MOST_SAMPLES.get(name, n)]
                    say(*compare(arguments.data, n, d, arguments.k, arguments.repeats, names, rates))
    return lines


def main() -> None:
    """Parse, compare, and save the table if it is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, nargs="+", default=[2000, 5000], help="samples in each set (2000 5000)")
    parser.add_argument("--d", type=int, nargs="+", default=[512, 2048], help="features (512 2048)")
    parser.add_argument("--k", type=int, default=5, help="neighbours (5)")
    parser.add_argument("--data", choices=DATA, default="clustered", help="how the features lie (clustered)")
    parser.add_argument("--repeats", type=int, default=3, help="interleaved runs, of which the median counts (3)")
    parser.add_argument("--only", nargs="+", choices=CONTENDERS, default=list(CONTENDERS), help="ours always runs")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="threads of the products (1 2)")
    parser.add_argument("--save", nargs="?", const="", metavar="NAME", help="write benchmarks/results/NAME-CPU.txt")
    parser.add_argument("--memory-of", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.memory_of:
        print(json.dumps(own_peak_memory(arguments.memory_of[0], Path(arguments.memory_of[1]), arguments.k)))
        return
    arguments.only = ["ours", *(name for name in arguments.only if name != "ours")]
    lines = sections(arguments)
    if arguments.save is not None:
        target = RESULTS / (re.sub(r"\W+", "-", f"{arguments.save} {cpu_name()}".strip()).strip("-") + ".txt")
        target.parent.mkdir(exist_ok=True)
        target.write_text("\n".join(lines) + "\n")
        print(f"written to {os.path.relpath(target)}", file=sys.stderr)


if __name__ == "__main__":
    main()
