"""What the page on DGA at its default number of passes says; every figure comes from results.json."""

from __future__ import annotations

from typing import Any

from experiments.concepts.pages.attributions import BASE, network_tables, verdict
from experiments.markdown import document, estimate

PEERS = ("integrated-gradients", "guided-integrated-gradients", "full-gradient", "smoothed full-gradient", "random")
FEWER = "distilled-gradient, 16 passes"


def default_passes(results: dict[str, Any]) -> str:
    """DGA against its peers, all with the 31 backward passes that it has by default."""
    networks = results["networks"]
    return document(
        "# Is distilled gradient aggregation more faithful at its default of 31 backward passes?",
        f"**Asked**: whose order of pixels does a classifier confirm, where every method has {results['passes']} "
        "backward passes, as DGA by default?",
        f"**On**: {results['n_images']} photographs of ImageNet at {results['side']} pixels; {' and '.join(networks)}; "
        "the class that the network finds.",
        f"**Command**: `python -m experiments.concepts.default_passes --networks {','.join(networks)}` (seed 0).",
        f"**Controls**: uniform noise; FullGrad with its one pass and, smoothed, as the mean over {results['passes']} "
        "inputs with SmoothGrad's noise; DGA with 16 passes, as in `concepts-attributions.md` on more images.",
        f"MoRF: the mean probability while the pixels of the largest attribution go first, in {results['n_points']} "
        "steps, lower is better; LeRF: the smallest first, higher is better; AbPC: between the two, higher is better. "
        "95 % bootstrap intervals over photographs; differences are paired.",
        *(part for name, found in networks.items() for part in network_tables(name, found)),
        "## What it shows",
        "\n".join(
            line
            for name, found in networks.items()
            for line in (f"* {verdict(name, found['rows'], PEERS)}", f"* {_fewer(name, found['rows'])}")
        ),
    )


def _fewer(name: str, rows: list[dict[str, Any]]) -> str:
    """What twice as many passes gain."""
    gains = []
    for row in rows:
        if row["method"] == FEWER:
            value = row[f"AbPC of {BASE} less this"]
            gains.append(f"{estimate(value[0], value[1:], 3, sign=True)} ({row['fill']})")
    return f"**{name}**: over DGA with 16 passes it gains {' and '.join(gains)} of AbPC."
