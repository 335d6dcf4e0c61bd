"""The manifold metrics of two versions of genmend on the same features, interleaved, each run in a process of its own.

CPU seconds of one thread, without imports; medians. A version is what `import genmend` finds with a folder on the path:
an installation's, or one with a link to each room.

    python benchmarks/before_after.py OLD_FOLDER NEW_FOLDER --kernel avx2 --save
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from contenders import DATA
from machine import IMITATIONS, conditions, save

ROWS = (
    *("clustered:2000:512", "clustered:2000:2048", "clustered:5000:512", "clustered:5000:2048", "clustered:10000:512"),
    *("clustered:10000:2048", "isotropic:4000:2048"),
)
# GENMEND_KERNEL came later than some versions: there the list of kernels is cut instead.
RUN = """
import sys, time
import numpy as np
from genmend.manifold import prdc
from genmend.manifold.engine import native_screen, screens
newest = ["avx2", "avxvnni", "vnni", "bf16", "amx"]
later = newest[newest.index(sys.argv[2]) + 1:] if sys.argv[2] in newest else []
names = tuple(name for name in native_screen.native_kernels() if name.rpartition("-")[2] not in later)
native_screen.native_kernels = screens.native_kernels = lambda: names
x, y = np.load(sys.argv[1])
prdc(x[:100], y[:100], 5)
start = time.process_time()
at = prdc(x, y, 5, closed=False)[5]
print(time.process_time() - start, at.precision, at.recall, at.density, at.coverage)
"""


def run(folder: Path, inputs: Path, kernel: str) -> tuple[float, list[str]]:
    """CPU seconds, and the four metrics as they are printed."""
    environment = os.environ | IMITATIONS[kernel] | {"PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1"}
    environment.pop("GENMEND_KERNEL", None)
    command = [sys.executable, "-c", RUN, str(inputs), kernel]
    seconds, *metrics = subprocess.run(
        command, env=environment, check=True, capture_output=True, text=True
    ).stdout.split()
    return float(seconds), metrics


def main() -> None:
    """Measure, and print a line a row."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", type=Path, help="folder that holds the old genmend package")
    parser.add_argument("after", type=Path, help="folder that holds the new one")
    parser.add_argument("--rows", nargs="+", default=ROWS, help=f"kind:n:d ({' '.join(ROWS)})")
    parser.add_argument("--kernel", choices=IMITATIONS, default="nothing", help="what the machine is held back to")
    parser.add_argument("--repeats", type=int, default=3, help="interleaved runs, of which the median counts (3)")
    parser.add_argument("--save", action="store_true", help="write benchmarks/results/before-after-...txt")
    arguments = parser.parse_args()
    lines = [
        f"{conditions('numpy', 'torch')}; imitated: {arguments.kernel}; k = 5; median of {arguments.repeats}",
        "data             n     d   before s   after s   ratio  same metrics",
    ]
    print(*lines, sep="\n", flush=True)
    for row in arguments.rows:
        kind, n, d = row.split(":")
        with tempfile.TemporaryDirectory() as folder:
            inputs = Path(folder) / "inputs.npy"
            np.save(inputs, np.stack([DATA[kind](seed, int(n), int(d)) for seed in (1, 2)]))
            runs = [
                [run(version, inputs, arguments.kernel) for version in (arguments.before, arguments.after)]
                for _ in range(arguments.repeats)
            ]
        before, after = (statistics.median(one[at][0] for one in runs) for at in (0, 1))
        same = "yes" if all(one[0][1] == one[1][1] for one in runs) else "NO"
        lines.append(f"{kind:<12}{n:>6} {d:>5}{before:>11.3f}{after:>10.3f}{before / after:>7.1f}x  {same}")
        print(lines[-1], flush=True)
    if arguments.save:
        save(lines, "before-after", "" if arguments.kernel == "nothing" else arguments.kernel)


if __name__ == "__main__":
    main()
