"""Speed of unit statistics beside the plain ways, on the face generator's activations: CPU seconds, one thread.

Agreement: pooled counts of unit and concept at the top 0.5 %, ours against upsampling every map (with boolean products
counted mask by mask, as gandissect does); counts have to be equal. Quantiles: ours against storing all values and one
topk, which has to give the same, and against two sketches of the package datasketches, which are approximate: KLL (with
k = 4096, for the default of 200 is coarser than the tail) and the t-digest (k = 200). Only ratios within one run mean
something.

    python benchmarks/unit_statistics.py            # some minutes; pip install datasketches for its sketches
    python benchmarks/unit_statistics.py --save     # also as benchmarks/results/units-<CPU>.txt
"""

from __future__ import annotations

import argparse
import math
import statistics
from collections.abc import Callable
from typing import Any

import torch
from machine import conditions, result_file, timer
from torch import Tensor
from torch.nn import functional

from genmend.activations import UnitQuantiles, record
from genmend.gans import Generator
from genmend.gans.dissection import count_at
from genmend.gans.dissection.classical import ClassicalConcepts
from genmend.gans.families.pretrained import load_faces

TARGETS = {"main.2": 8.0, "main.5": 3.0}
TAIL = 0.005


def main() -> None:
    """Measure, print, and save where asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=2000, help="samples of the quantiles")
    parser.add_argument("--n-agreement", type=int, default=32, help="samples of the agreement, one mask each")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--save", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    generator = load_faces()
    latents = generator.latents(options.n, 0)
    few = latents[: options.n_agreement]
    masks = ClassicalConcepts()(generator.generate(few))[:, 4:5]  # one concept: orange, about skin
    lines = [conditions("torch", "numpy", "datasketches"), ""]
    lines += [f"CPU seconds, median, one thread; ratio: theirs / ours. {options.n} samples", ""]
    total: dict[str, float] = {}
    for layer in generator.layers:
        batches = recorded(generator, latents, layer)
        seconds, notes = quantiles(batches, options.repeats)
        total = {name: total.get(name, 0) + value for name, value in seconds.items()}
        lines += [f"{layer:8s} quantiles  {line}" for line in compared(seconds, notes)]
        maps = torch.cat(batches[: -(-len(few) // len(batches[0]))])[: len(few)]
        threshold = exact_quantile(batches)
        theirs, ours, same = agreement(maps, masks, threshold, options.repeats)
        target = f", target {TARGETS[layer]:g}" if layer in TARGETS else ""
        lines.append(
            f"{layer:8s} agreement  upsample all {theirs:.3f}, ours {ours:.3f}, ratio {theirs / ours:.1f}{target}, "
            f"{same}"
        )
    lines += ["", *(f"all      quantiles  {line}" for line in compared(total, {}))]
    print("\n".join(lines))
    if options.save:
        result_file("units").write_text("\n".join(lines) + "\n")


def recorded(generator: Generator, latents: Tensor, layer: str) -> list[Tensor]:
    """A layer's outputs, batch by batch."""
    parts = []
    for batch in latents.split(generator.batch_size):
        with torch.no_grad(), record(generator.module, [layer], stop=True) as outputs:
            generator.run(batch)
        parts.append(outputs[layer])
    return parts


def quantiles(batches: list[Tensor], repeats: int) -> tuple[dict[str, float], dict[str, str]]:
    """Seconds of each way, ours last, and what is to be said of its result."""

    def ours() -> Tensor:
        found = UnitQuantiles(sum(map(len, batches)), TAIL)
        for batch in batches:
            found.update(batch)
        return found.quantile(1 - TAIL)

    exact = exact_quantile(batches)
    seconds = {"store all": median(lambda: exact_quantile(batches), repeats)}
    notes = {"ours": equal(torch.equal(ours(), exact))}
    for name, sketch in sketches().items():
        seconds[name] = median(lambda sketch=sketch: sketched(batches, sketch), 1)
        notes[name] = f"largest error of rank {rank_error(batches, sketched(batches, sketch)):.5f}"
    return seconds | {"ours": median(ours, repeats)}, notes


def sketches() -> dict[str, Callable[[], Any]]:
    """Constructors of the sketches, if there are any."""
    try:
        import datasketches
    except ModuleNotFoundError:
        return {}
    return {
        "KLL": lambda: datasketches.kll_floats_sketch(4096),
        "t-digest": lambda: datasketches.tdigest_float(200),
    }


def sketched(batches: list[Tensor], sketch: Callable[[], Any]) -> Tensor:
    """The upper quantile of each unit by a sketch for each, fed batch by batch."""
    units = [sketch() for _ in range(batches[0].shape[1])]
    for batch in batches:
        for unit, values in zip(units, batch.transpose(0, 1).flatten(1).contiguous().numpy(), strict=True):
            unit.update(values)
    return torch.tensor([unit.get_quantile(1 - TAIL) for unit in units], dtype=torch.float64)


def rank_error(batches: list[Tensor], found: Tensor) -> float:
    """The largest distance, over the units, of the share of values not above the quantile to what it should be."""
    above = sum((batch.flatten(2) > found[:, None]).sum((0, 2)) for batch in batches)
    n = sum(batch.numel() for batch in batches) / len(found)
    return float((above / n - TAIL).abs().max())


def compared(seconds: dict[str, float], notes: dict[str, str]) -> list[str]:
    """A line for each way but ours."""
    ours = seconds["ours"]
    lines = []
    for name, value in seconds.items():
        if name != "ours":
            said = notes.get("ours" if name == "store all" else name, "")
            lines.append(f"{name:9s} {value:.3f}, ours {ours:.3f}, ratio {value / ours:.1f}{said and ', '}{said}")
    return lines


def exact_quantile(batches: list[Tensor]) -> Tensor:
    """The upper quantile of each unit from all values at once, interpolated."""
    values = torch.cat(batches).transpose(0, 1).flatten(1)
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
