"""Speed of unit statistics beside the plain ways, on the face generator's activations: CPU seconds, one thread.

Agreement: pooled counts of unit and concept at the top 0.5 %, ours against upsampling every map (with boolean products
counted mask by mask, as gandissect does). Quantiles: ours against storing all values and one topk. Results have to be
equal; only ratios within one run mean something.

    python benchmarks/unit_statistics.py            # about a minute
    python benchmarks/unit_statistics.py --save     # also as benchmarks/results/units-<CPU>.txt
"""

from __future__ import annotations

import argparse
import math
import re
import statistics
from collections.abc import Callable
from pathlib import Path

import torch
from machine import conditions, cpu_name, timer
from torch import Tensor
from torch.nn import functional

from activations import UnitQuantiles, record
from gans import load_faces
from gans.dissection import count_at
from gans.dissection.classical import ClassicalConcepts

RESULTS = Path(__file__).resolve().with_name("results")
TARGETS = {"main.2": 8.0, "main.5": 3.0}
TAIL = 0.005


def main() -> None:
    """Measure, print, and save where asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=256, help="samples of the quantiles")
    parser.add_argument("--n-agreement", type=int, default=32, help="samples of the agreement, one mask each")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--save", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    generator = load_faces()
    latents = generator.latents(options.n, 0)
    parts = []
    for batch in latents.split(generator.batch_size):
        with torch.no_grad(), record(generator.module, list(generator.layers)) as outputs:
            generator.run(batch)
        parts.append(dict(outputs))
    few = latents[: options.n_agreement]
    masks = ClassicalConcepts()(generator.generate(few))[:, 4:5]  # one concept: orange, about skin
    lines = [conditions("torch", "numpy"), "", "CPU seconds, median, one thread; ratio: theirs / ours", ""]
    for layer in generator.layers:
        batches = [part[layer] for part in parts]
        theirs, ours, same = quantiles(batches, options.repeats)
        lines.append(
            f"{layer:8s} quantiles  store all {theirs:.3f}, ours {ours:.3f}, ratio {theirs / ours:.1f}, {same}"
        )
        maps = torch.cat(batches)[: len(few)]
        threshold = exact_quantile(torch.cat(batches))
        theirs, ours, same = agreement(maps, masks, threshold, options.repeats)
        target = f", target {TARGETS[layer]:g}" if layer in TARGETS else ""
        lines.append(
            f"{layer:8s} agreement  upsample all {theirs:.3f}, ours {ours:.3f}, ratio {theirs / ours:.1f}{target}, "
            f"{same}"
        )
    print("\n".join(lines))
    if options.save:
        name = re.sub(r"\W+", "-", cpu_name()).strip("-")
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / f"units-{name}.txt").write_text("\n".join(lines) + "\n")


def quantiles(batches: list[Tensor], repeats: int) -> tuple[float, float, str]:
    """Seconds of theirs and of ours, and whether the quantiles are equal."""

    def ours() -> Tensor:
        found = UnitQuantiles(sum(map(len, batches)), TAIL)
        for batch in batches:
            found.update(batch)
        return found.quantile(1 - TAIL)

    theirs = median(lambda: exact_quantile(torch.cat(batches)), repeats)
    mine = median(ours, repeats)
    return theirs, mine, equal(torch.equal(ours(), exact_quantile(torch.cat(batches))))


def exact_quantile(maps: Tensor) -> Tensor:
    """The upper quantile of each unit from all values at once, interpolated."""
    values = maps.transpose(0, 1).flatten(1)
    position = (1 - TAIL) * (values.shape[1] - 1)
    below = math.floor(position)
    largest = values.topk(values.shape[1] - below, dim=1).values.double()
    return torch.lerp(largest[:, -1], largest[:, -2], position - below)


def agreement(maps: Tensor, masks: Tensor, threshold: Tensor, repeats: int) -> tuple[float, float, str]:
    """Seconds of theirs and of ours, and whether the counts are equal."""

    def upsample_all() -> Tensor:
        both = torch.zeros(maps.shape[1], 1, dtype=torch.int64)
        for image, mask in zip(maps, masks, strict=True):
            large = functional.interpolate(image[None], masks.shape[2:], mode="bilinear", align_corners=False)[0]
            both[:, 0] += ((large > threshold[:, None, None]) & mask).sum((1, 2))
        return both

    theirs = median(upsample_all, repeats)
    ours = median(lambda: count_at(maps, masks, threshold), repeats)
    return theirs, ours, equal(torch.equal(upsample_all(), count_at(maps, masks, threshold).both))


def median(run: Callable[[], object], repeats: int) -> float:
    """CPU seconds of a run."""
    taken = []
    for _ in range(repeats):
        with timer() as seconds:
            run()
        taken.append(seconds.cpu)
    return statistics.median(taken)


def equal(same: bool) -> str:
    """For the table."""
    return "equal" if same else "DIFFERENT"


if __name__ == "__main__":
    main()
