"""What the page on regions in a U-Net and in a voice's encoder says; every figure comes from results.json."""

from __future__ import annotations

from typing import Any

from experiments.markdown import document, estimate, interval, percent, table


def other_networks(results: dict[str, Any]) -> str:
    """Whether relaxed decision regions tell something in networks that classify nothing."""
    return document(
        "# Regions in a U-Net's blocks and in a voice's encoder",
        "**Asked**: do the members of a relaxed decision region share what the query is, in networks that were trained "
        "to tell nothing apart, beyond chance and beyond nearest neighbours?",
        "**On**: the reference pipeline's U-Net, on real garments that it was not trained on, under the noise of step "
        f"{results['noise_step']} of 1000 and without a prompt; and the text encoder of the voice `joe`, sentence by "
        f"sentence, a sample a sound. {results['n_queries']} queries a layer, spread over garments or sounds.",
        f"**Command**: `python -m experiments.concepts.other_networks` (seed {results['seed']}).",
        "**Controls**: as many nearest neighbours by states of neurons, by distance and by angle; all samples. Rules "
        "are made of one half of the images or sentences and asked about the other; queries without a member there, or "
        "whose label it lacks, are left out.",
        "## U-Net: share of members with the query's garment",
        _table(results["unet"]),
        "## Voice: share of members with the query's sound and next sound",
        _table(results["voice"]),
        "## What it shows",
        _verdict("garments in the U-Net", results["unet"]),
        _verdict("sounds in the encoder", results["voice"]),
    )


def _table(rows: list[dict[str, Any]]) -> str:
    return table(
        (
            "layer",
            "neurons",
            "members",
            "region",
            "nearest states",
            "nearest",
            "nearest angle",
            "all",
            "region less nearest",
        ),
        (
            (
                row["layer"],
                row["neurons"],
                f"{row['members']:g}",
                *(estimate(row[group][0], row[group][1:], 2) for group in ("region", "hamming", "euclidean", "cosine")),
                f"{row['base'][0]:.3f}",
                interval(row["minus_euclidean"][1:], 2, sign=True),
            )
            for row in rows
        ),
    )


def _verdict(what: str, rows: list[dict[str, Any]]) -> str:
    chance = [row["layer"] for row in rows if row["minus_base"][1] > 0]
    better = [row["layer"] for row in rows if row["minus_euclidean"][1] > 0]
    worse = [row["layer"] for row in rows if row["minus_euclidean"][2] < 0]
    best = max(rows, key=lambda row: row["region"][0])
    lift = best["region"][0] / best["base"][0]
    return (
        f"Regions tell {what} beyond chance in {len(chance)} of {len(rows)} layers, at most {lift:.0f} times "
        f"({percent(best['region'][0])} in {best['layer']}). Purer than as many nearest neighbours: "
        f"{', '.join(better) or 'in no layer'}; less pure: {', '.join(worse) or 'in none'}."
    )
