"""What a benchmark has to know of its machine: names, clocks, memory, and how fast it multiplies matrices."""

from __future__ import annotations

import os
import platform
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np

SAMPLED_EVERY = 0.02  # seconds
# Products are first measured at this side, then at twice of it as long as one takes no longer than this.
_FIRST_SIDE, _MOST_SECONDS = 128, 1.0


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
    settings = {name: os.environ[name] for name in sorted(os.environ) if name.startswith(("OPENBLAS_", "OMP_", "MKL_"))}
    return (
        f"{cpu_name()}, {os.cpu_count()} logical cores; engine {choose_engine().name}, kernels "
        f"{', '.join(native_kernels()) or 'none'}; Python {platform.python_version()}, {', '.join(found)}; environment "
        f"{settings or 'plain'}"
    )


def product_rates(side: int = 2048) -> dict[str, float]:
    """10^9 operations a CPU second of square matrix products: float32 by numpy and torch, int8 by torch (0: none).

    A product that would take more than a second (int8 on a CPU without instructions for it) is measured at a smaller
    side.
    """
    import torch

    rng = np.random.default_rng(0)
    single = rng.standard_normal((side, side), dtype=np.float32)
    whole = rng.integers(-127, 128, (side, side), dtype=np.int8)

    def int8(part: int) -> Callable[[], object]:
        matrix = torch.from_numpy(whole[:part, :part].copy())
        return lambda: torch._int_mm(matrix, matrix)

    def float32(part: int) -> Callable[[], object]:
        matrix = torch.from_numpy(single[:part, :part].copy())
        return lambda: matrix @ matrix

    def by_numpy(part: int) -> Callable[[], object]:
        matrix = single[:part, :part].copy()
        return lambda: matrix @ matrix

    products = {"float32 numpy": by_numpy, "float32 torch": float32, "int8 torch": int8}
    return {name: _rate(product, side) for name, product in products.items()}


def _rate(product_of: Callable[[int], Callable[[], object]], side: int) -> float:
    part = min(side, _FIRST_SIDE)
    try:
        taken = _fastest(product_of(part))
        while part < side and 8 * taken < _MOST_SECONDS:  # twice the side is eight times the work
            part = min(2 * part, side)
            taken = _fastest(product_of(part))
    except RuntimeError:
        return 0.0
    return 2 * part**3 / taken / 1e9


def _fastest(product: Callable[[], object]) -> float:
    product()
    fastest = float("inf")
    for _ in range(5):
        with timer() as taken:
            product()
        fastest = min(fastest, taken.cpu)
    return max(fastest, 1e-9)
