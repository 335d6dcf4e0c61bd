"""What the page on the faithfulness of attributions says; every figure comes from results.json."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from experiments.markdown import document, estimate, number, table

BASE = "distilled-gradient"
_PEERS = ("integrated-gradients", "guided-integrated-gradients", "full-gradient")
_BETTER = {"MoRF": -1, "LeRF": 1, "AbPC": 1}


def attributions(results: dict[str, Any]) -> str:
    """DGA against its peers on real classifiers."""
    networks = results["networks"]
    return document(
        "# Is distilled gradient aggregation more faithful than its peers?",
        "**Asked**: whose order of pixels does a classifier confirm, at as many backward passes?",
        f"**On**: {results['n_images']} images of {results['n_photographs']} photographs ({results['n_held_out']} of "
        f"ImageNet, the others with two crops each); {' and '.join(networks)}; the class that the network finds.",
        "**Command**: `python -m experiments.concepts.attributions` (seed 0).",
        f"**Controls**: uniform noise; each iterative method has {results['passes']} backward passes, FullGrad "
        "and Grad-CAM the one that they consist of. The last row adds the ranks of DGA and FullGrad.",
        f"MoRF: the mean probability while the pixels of the largest attribution go first, in {results['n_points']} "
        "steps, lower is better; LeRF: the smallest first, higher is better; AbPC: between the two, higher is better. "
        "95 % bootstrap intervals over photographs; differences are paired.",
        *(part for name, found in networks.items() for part in network_tables(name, found)),
        *(part for name, found in networks.items() if "variants" in found for part in _variants(name, found, results)),
        "## What it shows",
        "\n".join(f"* {verdict(name, found['rows'], _PEERS)}" for name, found in networks.items()),
    )


def network_tables(name: str, found: dict[str, Any]) -> Sequence[str]:
    """A table a fill, a row a method."""
    fills = list(dict.fromkeys(row["fill"] for row in found["rows"]))
    return [
        f"## {name}",
        *(
            part
            for fill in fills
            for part in (
                f"Removed pixels are filled with the {fill if fill != 'blur' else 'blurred image'}:",
                table(
                    ("method", "MoRF", "LeRF", "AbPC", "DGA's AbPC less this", "CPU s an image"),
                    (
                        (
                            row["method"],
                            *(_estimate(row[measure]) for measure in _BETTER),
                            "" if row["method"] == BASE else _estimate(row[f"AbPC of {BASE} less this"], sign=True),
                            number(row["seconds"], 2) if "seconds" in row else "-",
                        )
                        for row in found["rows"]
                        if row["fill"] == fill
                    ),
                ),
            )
        ),
    ]


def _variants(name: str, found: dict[str, Any], results: dict[str, Any]) -> Sequence[str]:
    held_out, chosen_on = found["variants"]["held out"], found["variants"]["chosen on"]
    chosen = found["variants"]["chosen"]
    low = held_out[chosen]["gain"][1]
    return [
        f"## Variants of DGA, {name}",
        f"AbPC, mean colour. The variant is chosen on the photographs and judged on the {results['n_held_out']} of "
        "ImageNet.",
        table(
            ("variant", "where it is chosen", "held out", "held-out gain over the default"),
            (
                (
                    variant,
                    number(chosen_on[variant]),
                    _estimate(row["AbPC"]),
                    "" if variant == BASE else _estimate(row["gain"], sign=True),
                )
                for variant, row in held_out.items()
            ),
        ),
        f"Chosen: {chosen}; "
        + ("its gain holds on the held-out images." if low > 0 else "no gain beyond chance on the held-out images."),
    ]


def verdict(name: str, rows: Sequence[dict[str, Any]], peers: Sequence[str]) -> str:
    """DGA against each of some peers, by measure and fill."""
    parts = []
    for peer in peers:
        words = []
        for row in rows:
            if row["method"] != peer:
                continue
            for measure in ("LeRF", "MoRF"):
                _, low, high = (_BETTER[measure] * value for value in row[f"{measure} of {BASE} less this"])
                low, high = min(low, high), max(low, high)
                word = "better" if low > 0 else "worse" if high < 0 else "no different beyond chance"
                words.append(f"{word} on {measure} ({row['fill']})")
        parts.append(f"against {peer} DGA is {', '.join(words)}")
    return f"**{name}**: {'; '.join(parts)}."


def _estimate(value: Sequence[float], *, sign: bool = False) -> str:
    return estimate(value[0], value[1:], 3, sign=sign)
