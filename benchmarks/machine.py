"""What a benchmark has to know of its machine: names, clocks, memory, and how fast it multiplies matrices."""

from __future__ import annotations

import os
import platform
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np

SAMPLED_EVERY = 0.02  # seconds
RESULTS = Path(__file__).resolve().with_name("results")
_FIRST_ROWS, _MOST_SECONDS = 128, 0.5  # of products that are measured
# What holds this machine's libraries back to the instructions of older CPUs, as far as they let themselves be.
IMITATIONS = {
    "nothing": {},
    "vnni": {
        "GENMEND_KERNEL": "vnni",
        "ATEN_CPU_CAPABILITY": "avx512",
        "ONEDNN_MAX_CPU_ISA": "AVX512_CORE_VNNI",
        "OPENBLAS_CORETYPE": "SkylakeX",
    },
    "avx2": {
        "GENMEND_KERNEL": "avx2",
        "ATEN_CPU_CAPABILITY": "avx2",
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        "OPENBLAS_CORETYPE": "Haswell",
        "MKL_ENABLE_INSTRUCTIONS": "AVX2",
        "FAISS_OPT_LEVEL": "AVX2",
    },
}
_SETTINGS = ("OPENBLAS_", "OMP_", "MKL_", "ONEDNN_", "ATEN_", "FAISS_", "GENMEND_KERNEL", "GENMEND_ENGINE")


@dataclass
class Seconds:
    """Of a block, once it is done."""

    cpu: float = 0.0
    wall: float = 0.0


@contextmanager
def timer() -> Iterator[Seconds]:
    """CPU seconds of the process, all threads together, and wall seconds."""
    taken = Seconds(-time.process_time(), -time.perf_counter())
    yield taken
    taken.cpu += time.process_time()
    taken.wall += time.perf_counter()


@dataclass
class Megabytes:
    """Of a block, once it is done."""

    peak: float = 0.0


@contextmanager
def anonymous_peak() -> Iterator[Megabytes]:
    """Largest anonymous memory of this process (mapped files do not count), sampled by a thread; Linux."""
    most, done = Megabytes(status("RssAnon")), threading.Event()

    def sample() -> None:
        while not done.wait(SAMPLED_EVERY):
            most.peak = max(most.peak, status("RssAnon"))

    thread = threading.Thread(target=sample)
    thread.start()
    try:
        yield most
    finally:
        done.set()
        thread.join()
        most.peak = max(most.peak, status("RssAnon"))


def status(field: str) -> float:
    """A field of /proc/self/status in MB (10^6 bytes)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith(field))


def forget_peak() -> None:
    """Have VmHWM start anew from what is resident now."""
    Path("/proc/self/clear_refs").write_text("5")


def cpu_name() -> str:
    """What the system calls its processor."""
    with suppress(OSError, StopIteration):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    return platform.processor() or platform.machine()


def conditions(*packages: str) -> str:
    """The machine, the versions and the settings that numbers depend on, on one line."""
    from genmend.manifold.engine.native_screen import native_kernels
    from genmend.manifold.engine.screens import choose_engine

    found = []
    for name in packages:
        with suppress(PackageNotFoundError):
            found.append(f"{name} {version(name)}")
    settings = {name: os.environ[name] for name in sorted(os.environ) if name.startswith(_SETTINGS)}
    return (
        f"{cpu_name()}, {os.cpu_count()} logical cores; engine {choose_engine().name}, kernels "
        f"{', '.join(native_kernels()) or 'none'}; Python {platform.python_version()}, {', '.join(found)}; environment "
        f"{settings or 'plain'}"
    )


def best_kernel() -> str:
    """The kernel that is tried first, or the engine where none is compiled."""
    from genmend.manifold.engine.native_screen import native_kernels
    from genmend.manifold.engine.screens import choose_engine

    return next(iter(native_kernels()), choose_engine().name)


def result_file(name: str, suffix: str = ".txt") -> Path:
    """Where benchmarks/results keeps what was measured on this CPU under a name; the folder is made."""
    RESULTS.mkdir(exist_ok=True)
    return RESULTS / (re.sub(r"\W+", "-", f"{name} {cpu_name()}").strip("-") + suffix)


def save(lines: list[str], name: str = "", kernel: str = "") -> None:
    """Write benchmarks/results/NAME-KERNEL-CPU.txt; the best kernel if none is named."""
    target = result_file(f"{name} {kernel or best_kernel()}")
    target.write_text("\n".join(lines) + "\n")
    print(f"written to {os.path.relpath(target)}", file=sys.stderr)


def product_rate(routine: str, rows: int, width: int) -> tuple[float, float]:
    """10^9 operations a CPU and a wall second of a product (rows x width) by (width x rows); 0: there is none.

    `routine` is "float32 numpy", "float32 torch" or "int8 torch". A product that would take more than half a second
    (int8 on a CPU without instructions for it) is measured on fewer rows.
    """
    part = min(rows, _FIRST_ROWS)
    try:
        taken = _fastest(_product(routine, part, width))
        while part < rows and 4 * taken.cpu < _MOST_SECONDS:  # twice the rows are four times the work
            part = min(2 * part, rows)
            taken = _fastest(_product(routine, part, width))
    except RuntimeError:
        return 0.0, 0.0
    operations = 2 * part**2 * width / 1e9
    return operations / taken.cpu, operations / taken.wall


def _product(routine: str, rows: int, width: int) -> Callable[[], object]:
    import torch

    rng = np.random.default_rng(0)
    if routine == "int8 torch":
        whole = torch.from_numpy(rng.integers(-127, 128, (rows, width), dtype=np.int8))
        return lambda: torch._int_mm(whole, whole.T)
    single, other = rng.standard_normal((2, rows, width), dtype=np.float32)
    if routine == "float32 numpy":
        return lambda: single @ other.T  # of one array with itself numpy computes half
    tensors = torch.from_numpy(single), torch.from_numpy(other)
    return lambda: tensors[0] @ tensors[1].T


def _fastest(product: Callable[[], object]) -> Seconds:
    product()
    runs = []
    for _ in range(3):
        with timer() as taken:
            product()
        runs.append(taken)
    best = min(runs, key=lambda one: one.cpu)
    return Seconds(max(best.cpu, 1e-9), max(best.wall, 1e-9))
