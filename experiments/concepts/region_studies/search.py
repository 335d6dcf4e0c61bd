"""How long the nearest of a million configurations of ten thousand bits take, and how much memory."""

from __future__ import annotations

import resource
import time

import numpy as np

from genmend.concepts.regions.configurations import Configurations
from genmend.concepts.regions.neighbours import nearest_configurations

N_SAMPLES, N_NEURONS, CHUNK = 1_000_000, 10_000, 20_000


def search_figures(seed: int, n_repeats: int = 5) -> dict[str, float]:
    """Seconds of one query of k = 8, wall and processor, the median and the slowest; gigabytes of the process."""
    rng = np.random.default_rng(seed)
    n_bytes = -(-N_NEURONS // 8)
    bits = np.empty((N_SAMPLES, n_bytes), np.uint8)
    for start in range(0, N_SAMPLES, CHUNK):
        bits[start : start + CHUNK] = np.frombuffer(rng.bytes(CHUNK * n_bytes), np.uint8).reshape(CHUNK, n_bytes)
    samples = Configurations(bits, N_NEURONS, np.zeros(N_NEURONS, np.float32), "zero", "", (N_NEURONS,), False)
    before = _gigabytes()
    wall, processor = [], []
    for repeat in range(n_repeats):
        number = repeat * 123_457
        query = samples[number : number + 1]
        began, used = time.perf_counter(), time.process_time()
        _, near = nearest_configurations(samples, query, 8)
        wall.append(time.perf_counter() - began)
        processor.append(time.process_time() - used)
        assert near[0, 0] == number
    return {
        "n_samples": N_SAMPLES,
        "n_neurons": N_NEURONS,
        "seconds": float(np.median(wall)),
        "slowest": max(wall),
        "processor_seconds": float(np.median(processor)),
        "bits_gigabytes": bits.nbytes / 1e9,
        "peak_gigabytes": _gigabytes(),
        "added_by_search": _gigabytes() - before,
    }


def _gigabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
