"""What the page on units by circuits and by dissection says; every figure comes from results.json."""

from __future__ import annotations

from typing import Any

from experiments.markdown import document, estimate, interval, number, percent, table

_CIRCUITS, _GRADIENT, _DISSECTION = "circuits", "gradient of the score", "dissection (unit-KID)"


def artifact_units(results: dict[str, Any]) -> str:
    """Whether circuits of flagged samples lead to the units that break them."""
    overlap, mended = results["overlap"], results["correction"]
    share = percent(results["share"])
    return document(
        "# Do the circuits of flagged faces lead to the units that break them?",
        "**Asked**: are the units in the circuits of flagged samples those that dissection finds in images far from "
        "normal, and does editing them mend faces better than editing as many random units?",
        f"**On**: own samples of the face generator, half of them for dissection, of the others the "
        f"{results['n_queries']} most broken of those flagged and as many normal ones for circuits and gradients; no "
        "label is used. Judged on the 76 labelled artifacts.",
        f"**Command**: `python -m experiments.concepts.artifact_units` (seed {results['seed']}).",
        "**Controls**: the overlap of random sets of the same size; the same edit of random units, two draws.",
        f"## Overlap of the top {share}",
        "By chance: 95 % of random sets share so many. The rank correlation is of all units of the layer.",
        table(
            ("units by", "and by", "layer", "units", "shared", "by chance", "p", "rank correlation"),
            (
                (
                    row["first"],
                    row["second"],
                    row["layer"],
                    f"{row['top']} of {row['n_units']}",
                    row["shared"],
                    interval(row["chance_interval"], 0),
                    f"{row['p']:.2g}",
                    f"{number(row['rank_correlation'], 2, sign=True)} (p {row['rank_p']:.2g})",
                )
                for row in overlap
            ),
        ),
        f"## The top {share} of the early units halved, or switched off",
        "Every sample is edited; judged in MobileNetV2, which had no part, by judges of other folds at 5 % false "
        "alarms. "
        "Differences are paired; below 0 is better.",
        table(
            ("units", "scale", "still flagged", "to none", "to random units", "clean: Lite0 cosine"),
            (
                (
                    row["units"],
                    f"{row['scale']:g}",
                    estimate(row["still_flagged"][0], row["still_flagged"][1:]),
                    interval(row["minus_none"][1:], 2, sign=True),
                    interval(row["minus_random"][1:], 2, sign=True) if "minus_random" in row else "",
                    number(row["clean_cosine"]),
                )
                for row in mended
            ),
        ),
        "## What it shows",
        _overlaps(overlap, _CIRCUITS, _DISSECTION),
        _overlaps(overlap, _CIRCUITS, _GRADIENT),
        _mends(mended),
        "What falls short: the gain is small beside that of the default correction, which edits single neurons and "
        "moves latents (`faces-artifacts.md`, `faces-plausible.md`); units that carry most of the score by gradient "
        "are not those whose loss mends; the p of an overlap takes units as independent, which they are not.",
    )


def _overlaps(rows: list[dict[str, Any]], first: str, second: str) -> str:
    found = [row for row in rows if {row["first"], row["second"]} == {first, second}]
    # As many tests as layers.
    beyond = [row["layer"] for row in found if row["p"] * len(found) < 0.05]
    shared, chance = sum(row["shared"] for row in found), sum(row["chance"] for row in found)
    return (
        f"Units by {first} and by {second} share {shared} over all layers, {number(chance, 1)} by chance; beyond it "
        f"(Bonferroni, 5 %) in {', '.join(beyond) or 'no layer'}."
    )


def _mends(rows: list[dict[str, Any]]) -> str:
    better = [
        f"{row['units']} at {row['scale']:g} ({estimate(row['still_flagged'][0], row['still_flagged'][1:], 2)})"
        for row in rows
        if "minus_random" in row and row["units"] != "uncorrected" and row["minus_random"][2] < 0
    ]
    return f"Still flagged less than with random units: {', '.join(better) or 'none'}."
