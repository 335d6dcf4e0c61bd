"""How long the face generator's dissection takes, stage by stage: all 960 units, 10,000 samples, masks given.

The classical concepts' masks are made first and timed apart (``genmend dissect`` keeps them too). Then, for fixed
thresholds and for thresholds chosen by information quality, everything that the report's tables need is computed:
statistics of the units, thresholds, pooled IoU with every concept, and the counts by image behind the intervals.

    python benchmarks/dissection_time.py            # minutes; two threads by default
    python benchmarks/dissection_time.py --save     # also as benchmarks/results/dissection-<CPU>.txt
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from machine import conditions, result_file, timer

from genmend.gans.dissection.classical import ClassicalConcepts
from genmend.gans.dissection.dissection import label_units
from genmend.gans.dissection.mask_store import MaskStore
from genmend.gans.dissection.stages import Stages
from genmend.gans.families.pretrained import load_faces
from genmend.gans.settings import DissectSettings
from genmend.storage.pieces import Work

TARGET = 600  # seconds on two cores
lines: list[str] = []


def main() -> None:
    """Measure, print, and save where asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=10_000, help="samples")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--save", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    generator = load_faces()
    say(f"{conditions('torch', 'numpy')}; {options.threads} threads")
    say(f"{options.n} samples, layers {', '.join(generator.layers)}; seconds: wall, CPU of all threads")
    for way in ("fixed", "iqr"):
        with tempfile.TemporaryDirectory() as folder:
            settings = DissectSettings(n_images=options.n, n_statistics=options.n, thresholds=way)  # type: ignore[arg-type]
            store = MaskStore(generator, "classical", ClassicalConcepts(), Work(Path(folder)))
            stages = TimedStages(generator, generator.layers, settings.seed, Work(Path(folder)))
            with timed(f"{way}: masks by classical, not counted"):
                for seed, n in [(0, options.n), *([(1, options.n // 4)] if way == "iqr" else [])]:
                    for _ in store.chunks(n, seed):
                        pass
            with timed(f"{way}: all of it, target {TARGET} s wall on two cores"):
                units = label_units(stages, [store], settings)[0]
        found = ", ".join(f"{layer} {int(rows.detector.sum())} of {len(rows.iou)}" for layer, rows in units.items())
        say(f"{way}: detectors {found}")
    if options.save:
        result_file("dissection").write_text("\n".join(lines) + "\n")


class TimedStages(Stages):
    """Stages that say how long each took."""

    def statistics(self, *arguments: Any) -> Any:  # noqa: D102
        with timed("  statistics"):
            return super().statistics(*arguments)

    def agreement(self, *arguments: Any) -> Any:  # noqa: D102
        with timed("  thresholds and agreement"):
            return super().agreement(*arguments)

    def pairs(self, *arguments: Any) -> Any:  # noqa: D102
        with timed("  best pairs by image"):
            return super().pairs(*arguments)


@contextmanager
def timed(what: str) -> Iterator[None]:
    """Say how long the block took."""
    with timer() as taken:
        yield
    say(f"{what:56s} {taken.wall:7.1f} {taken.cpu:7.1f}")


def say(line: str) -> None:
    """Print a line and keep it."""
    print(line, flush=True)
    lines.append(line)


if __name__ == "__main__":
    main()
