"""How much memory and CPU time whole commands take on the face generator: at their defaults, and for each sample more.

Every command runs in a process of its own, on one thread. *Peak* is its largest resident memory as the system says at
its end, pages of libraries with it (``import torch`` alone takes half a gigabyte); *own* is the largest sum of what no
file backs (anonymous memory), child processes included, sampled while it runs.
*Growth* is what a sample more adds to the peak, from two runs that differ in the number of samples alone; what the
command learns from is small in both, so that it hides nothing.

    python benchmarks/command_memory.py                            # a quarter of an hour
    python benchmarks/command_memory.py --command detect --command score
    python benchmarks/command_memory.py --before ~/old/.venv/bin/python    # an older installation too, in turns
    python benchmarks/command_memory.py --save                     # also in benchmarks/results/memory-<CPU>.json

It ends with status 1 where a command failed or held more than its limit. Linux.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from machine import conditions, result_file

SAMPLED_EVERY = 0.1  # seconds
LIMITS = {"detect": (1200.0, 20.0)}  # MB at defaults, kB a sample
SMALL = "--n-statistics 200 --n-reference 100"
# Of each command: what it is given at defaults, and twice for the growth, with the two numbers of samples. A number in
# braces becomes a file of so many latents, or a folder of so many images.
DEFAULTS = {
    "detect": "faces --latents {l300}",
    "correct": "faces --latents {l300}",
    "dissect": "faces",
    "rare": "faces",
    "score": "{i500} {j500}",
}
GROWING = {
    "detect": (f"faces --latents {{l}} {SMALL}", 256, 2304),
    "correct": (f"faces --latents {{l}} {SMALL}", 64, 576),
    "dissect": ("faces --layers main.5,main.8 --n-statistics {n} --n-images {n}", 256, 1280),
    "rare": (f"faces {SMALL} --n-references {{n}} --steps 2 --k-reference 10 --no-artifact-limit", 4, 36),
    "score": ("{i} {j}", 200, 1000),
}


@dataclass(frozen=True)
class Run:
    """One run of a command; `n` is its number of samples, 0 at defaults."""

    version: str
    command: str
    n: int
    options: str
    peak_mb: float
    own_mb: float
    cpu_seconds: float
    status: int


def main() -> None:
    """Measure, print, and save where asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--command", choices=DEFAULTS, action="append")
    parser.add_argument("--before", metavar="PYTHON", help="The interpreter of another installation, measured too.")
    parser.add_argument("--only", choices=["defaults", "growth"])
    parser.add_argument("--save", action="store_true")
    parser.add_argument("--draw", nargs=2, metavar=("KIND", "PATH"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.draw:
        draw(options.draw[0], Path(options.draw[1]))
        return
    os.environ["OMP_NUM_THREADS"] = "1"
    pythons = {"before": options.before} if options.before else {}
    pythons["now"] = sys.executable
    print(conditions("torch", "numpy", "onnxruntime"), flush=True)
    print(f"{'version':8} {'command':8} {'samples':>8} {'peak, MB':>9} {'own, MB':>8} {'CPU s':>7}", flush=True)
    runs: list[Run] = []
    with tempfile.TemporaryDirectory() as folder:
        for command in options.command or DEFAULTS:
            for n, template in cases(command, options.only):
                arguments = filled(template, n, Path(folder))
                for version, python in pythons.items():
                    runs.append(measure(version, python, command, n, arguments, Path(folder)))
    grown = growths(runs)
    for row in grown:
        print(f"{row['version']:8} {row['command']:8} grows by {row['kb_a_sample']:.1f} kB a sample")
    if options.save:
        save(runs, grown)
    sys.exit(not all(kept(run, grown) for run in runs if run.version == "now"))


def cases(command: str, only: str | None) -> Iterator[tuple[int, str]]:
    """Numbers of samples and options to run the command with."""
    if only != "growth":
        yield 0, DEFAULTS[command]
    if only != "defaults":
        template, few, many = GROWING[command]
        yield few, template
        yield many, template


def filled(template: str, n: int, folder: Path) -> list[str]:
    """The options with files in place of what stands in braces."""
    found = []
    for word in template.split():
        match = re.fullmatch(r"\{([lij])(\d*)\}", word)
        if match:
            path = folder / (match[1] + (match[2] or str(n)) + (".npy" if match[1] == "l" else ""))
            if not path.exists():  # in a process of its own: a child's peak is not to be this one's
                subprocess.run([sys.executable, __file__, "--draw", match[1], str(path)], check=True)
            word = str(path)
        found.append(str(n) if word == "{n}" else word)
    return found


def draw(kind: str, path: Path) -> None:
    """Write latents, or a folder of face images, as many as the path's name says."""
    import numpy as np

    from genmend.gans.families.pretrained import load_faces

    seed = {"l": 5, "i": 6, "j": 7}[kind]
    n = int(path.stem[1:])
    if kind == "l":
        np.save(path, np.random.default_rng(seed).standard_normal((n, 100)).astype(np.float32))
        return
    from PIL import Image

    path.mkdir()
    for row, image in enumerate(load_faces().sample(n, seed)):
        pixels = (image.permute(1, 2, 0) * 255).round().byte().numpy()
        Image.fromarray(pixels).save(path / f"{row:05d}.png")


def measure(version: str, python: str, command: str, n: int, arguments: list[str], folder: Path) -> Run:
    """Run one command in a child process, and say what it took."""
    log = folder / f"{version}-{command}-{n}.log"
    out = ["--out", str(log.with_suffix("")), "--no-resume"]
    # The older installation is not to find the files of this one.
    environment = {name: value for name, value in os.environ.items() if version == "now" or name != "PYTHONPATH"}
    with log.open("w") as file:
        child = subprocess.Popen(
            [python, "-m", "genmend", command, *arguments, *out],
            cwd=folder,
            stdout=file,
            stderr=subprocess.STDOUT,
            env=environment,
        )
        own = PeakOfOwn(child.pid)
        _, status, usage = os.wait4(child.pid, 0)
        own.stop()
    child.returncode = os.waitstatus_to_exitcode(status)
    run = Run(
        version,
        command,
        n,
        " ".join(Path(word).name for word in arguments),
        round(usage.ru_maxrss * 1024 / 1e6),
        round(own.peak / 1e6),
        round(usage.ru_utime + usage.ru_stime, 1),
        child.returncode,
    )
    print(
        f"{version:8} {command:8} {n or 'default':>8} {run.peak_mb:9.0f} {run.own_mb:8.0f} {run.cpu_seconds:7.1f}",
        flush=True,
    )
    if run.status:
        print(log.read_text()[-2000:], flush=True)
    return run


class PeakOfOwn(threading.Thread):
    """Sample the anonymous memory of a process and its children, in bytes, until it is stopped."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.pid, self.peak, self._done = pid, 0, threading.Event()
        self.start()

    def run(self) -> None:
        """Sample."""
        while not self._done.wait(SAMPLED_EVERY):
            self.peak = max(self.peak, sum(map(anonymous_bytes, family(self.pid))))

    def stop(self) -> None:
        """Stop sampling."""
        self._done.set()
        self.join()


def family(pid: int) -> Iterator[int]:
    """Yield a process and its descendants."""
    yield pid
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        children = [int(child) for task in tasks for child in (task / "children").read_text().split()]
    except OSError:
        return
    for child in children:
        yield from family(child)


def anonymous_bytes(pid: int) -> int:
    """Memory of a process that no file backs; 0 where it is gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith(("RssAnon", "RssShmem")))


def growths(runs: list[Run]) -> list[dict[str, object]]:
    """KB that a sample more takes, of each version and command with two numbers of samples."""
    found = []
    for version, command in dict.fromkeys((run.version, run.command) for run in runs):
        both = [run for run in runs if (run.version, run.command) == (version, command) and run.n]
        if len(both) == 2:
            few, many = both
            kilobytes = 1000 * (many.peak_mb - few.peak_mb) / (many.n - few.n)
            found.append(
                {
                    "version": version,
                    "command": command,
                    "samples": [few.n, many.n],
                    "kb_a_sample": round(kilobytes, 1),
                }
            )
    return found


def kept(run: Run, grown: list[dict[str, object]]) -> bool:
    """Whether the run ended well, within the limits of its command."""
    peak, growth = LIMITS.get(run.command, (float("inf"), float("inf")))
    rows = [row["kb_a_sample"] for row in grown if (row["version"], row["command"]) == (run.version, run.command)]
    return run.status == 0 and run.peak_mb <= peak and all(float(str(row)) <= growth for row in rows)


def save(runs: list[Run], grown: list[dict[str, object]]) -> None:
    """Write the result file of this processor; of commands that were not run it keeps what it says."""
    path = result_file("memory", ".json")
    known = json.loads(path.read_text()) if path.exists() else {"runs": [], "growth": []}
    done = {run.command for run in runs}
    content = {
        "machine": conditions("torch", "numpy", "onnxruntime"),
        "date": time.strftime("%Y-%m-%d"),
        "runs": [run for run in known["runs"] if run["command"] not in done] + [asdict(run) for run in runs],
        "growth": [row for row in known["growth"] if row["command"] not in done] + grown,
    }
    path.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
