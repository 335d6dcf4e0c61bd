"""CPU seconds until something is there to see: imports, help, errors of spelling; and of the whole demo.

Every line is a process of its own, the files read before and compiled; user and system time of it and its children,
the median of the repeats. With `--before` an older installation runs the same lines in turns.

    python benchmarks/start_up.py                                   # two minutes
    python benchmarks/start_up.py --before ~/old/.venv/bin/python   # an older installation too, in turns
    python benchmarks/start_up.py --demo                            # the demo too: minutes
    python benchmarks/start_up.py --save                            # also in benchmarks/results/start-up-<CPU>.txt
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from machine import conditions, result_file

LABELS = Path(__file__).resolve().parents[1] / "experiments" / "data" / "face_artifacts"
LIMITS = {"genmend --help": 0.3, "import genmend.gans": 1.0, "import genmend.diffusion": 1.0, "genmend demo": 150.0}
IMPORTS = [
    *(f"import genmend.{room}" for room in ("activations", "manifold", "gans", "diffusion", "tts")),
    "import torch",
    "from genmend.gans import load_generator",
    "from genmend.gans import dissect",
    "from genmend.gans import find_rare",
    "from genmend.diffusion import search_gains",
]
COMMANDS = [
    "--version",
    "--help",
    "detect --help",
    "detcet faces",
    "dissect wrong-name --out o",
    "convert missing.pkl --out o",
    "score missing other --out o",
    "amplify wrong-name --out o",
    "speak wrong-name hello --out o",
]
QUIET = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}


def main() -> None:
    """Time every line and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", help="the Python of an older installation, to run beside this one")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--demo", action="store_true")
    parser.add_argument("--save", action="store_true")
    options = parser.parse_args()
    pythons = {"before": options.before, "now": sys.executable} if options.before else {"now": sys.executable}
    lines = {line: ["-c", line] for line in IMPORTS}
    lines |= {f"genmend {line}": ["-m", "genmend", *line.split()] for line in COMMANDS}
    found = {line: timed(arguments, pythons, options.repeats) for line, arguments in lines.items()}
    if options.demo:
        found["genmend demo"] = timed(["-m", "genmend", "demo", "--out", "demo", "--labels", str(LABELS)], pythons, 0)
    where = conditions("torch", "scikit-learn", "typer")
    head = f"{where}\nCPU seconds, median of {options.repeats}; the demo once\n"
    rows = [f"| line | {' | '.join(pythons)} | limit |", f"|---|{'---|' * len(pythons)}---|"]
    for line, seconds in found.items():
        taken = " | ".join(f"{seconds[name]:.2f}" for name in pythons)
        rows.append(f"| `{line}` | {taken} | {LIMITS.get(line, '')} |")
    text = "\n".join([head, *rows, ""])
    print(text, end="")
    if options.save:
        result_file("start-up").write_text(text)
    sys.exit(any(found[line]["now"] > limit for line, limit in LIMITS.items() if line in found))


def timed(arguments: list[str], pythons: dict[str, str], repeats: int) -> dict[str, float]:
    """CPU seconds by the name of the installation: a run that is not counted, then the median of `repeats` in turns.

    With 0 repeats the first run counts, wall seconds beside it.
    """
    taken: dict[str, list[float]] = {name: [] for name in pythons}
    found: dict[str, float] = {}
    for _ in range(repeats + 1):
        for name, python in pythons.items():
            with tempfile.TemporaryDirectory() as folder:
                before, started = children_seconds(), time.perf_counter()
                subprocess.run([python, *arguments], cwd=folder, check=False, env=environment(name), **QUIET)
                taken[name].append(children_seconds() - before)
                if not repeats:
                    found[f"{name}, wall"] = time.perf_counter() - started
    return found | {name: statistics.median(seconds[min(1, repeats) :]) for name, seconds in taken.items()}


def environment(name: str) -> dict[str, str]:
    """What a process sees: bytecode is kept, and an older installation finds its own modules."""
    held = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    return held if name == "now" else {key: value for key, value in held.items() if key != "PYTHONPATH"}


def children_seconds() -> float:
    """User and system time of all processes that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
