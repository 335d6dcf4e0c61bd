"""What the page on circuits of a CLIP tower, a U-Net and a voice says; every figure comes from its results.json."""

from __future__ import annotations

from typing import Any

import numpy as np

from experiments.intervals import bootstrap
from experiments.markdown import document, estimate, number, percent, table

PARTS = {
    "all": "all circuits of the query",
    "class": "those that lead to the target",
    "earlier": "as the second, without its units of the last block",
}
NETWORKS = {"clip": "CLIP tower", "unet": "U-Net", "voice": "voice"}
STABILITY = {"seed": "another seed", "subsample": "80 % of the reference", "other query": "another query"}


def other_circuits(results: dict[str, Any]) -> str:
    """Circuits where there are no channels of a classifier: falls, controls, stability, cost."""
    clip, unet, voice = (results[name] for name in NETWORKS)
    return document(
        "# Circuits of a CLIP tower, a U-Net and a voice",
        "**Asked**: in networks that are no convolutional classifiers, does what a network says of a sample change "
        "further without the units of its circuits than without as many random units of the same blocks, or as many "
        "others that answer to the sample? Are circuits stable, and what do they cost?",
        f"**On**: the CLIP ViT-B/16 tower, {len(clip['queries'])} emoji; the reference pipeline's U-Net, "
        f"{len(unet['queries'])} garments under the noise of step 250 of 1000; the text encoder of the voice `joe`, "
        f"{len(voice['queries'])} sentences. Units are indexed by {clip['n_reference']} other emoji, "
        f"{unet['n_reference']} other garments, {voice['n_reference']} other sentences.",
        f"**Command**: `python -m experiments.concepts.other_circuits` (seed {results['seed']}).",
        f"**Controls**: random units, as many in each block, and as many units of each block that are not in the "
        f"circuit but have the query among their top 10 %: {results['n_draws']} draws a query for CLIP, "
        f"{results['n_draws_small']} for the others.",
        "## CLIP tower",
        f"{clip['n_blocks']} blocks, {clip['n_units']:,} hidden units of MLPs. It has no classes: a linear probe of "
        f"its features gives a logit of each of {clip['n_classes']} kinds of emoji, and names "
        f"{percent(clip['right'])} of "
        f"emoji right that it did not learn from (chance: {percent(1 / clip['n_classes'], 1)}). Target: the logit of "
        f"the best kind, {number(_mean_score(clip), 2)} on average. Queries lie outside the reference. The "
        f"significance test compares with {clip['n_random']} random units a block.",
        _table(clip, "fall"),
        "## U-Net",
        f"{unet['n_blocks']} blocks, {unet['n_units']} units: hidden channels of its residual blocks and hidden units "
        "of its attention blocks' MLPs. Target: how far what it takes the noisy picture for moves, in the code of an "
        "autoencoder, over the code's length.",
        _table(unet, "change"),
        "## Voice",
        f"{voice['n_blocks']} blocks, {voice['n_units']:,} hidden units of the feed-forward layers. Target: how far "
        "what the encoder hands on of the sentence moves, over its length.",
        _table(voice, "change"),
        "Means over the queries; intervals (95 %) are bootstrapped over them. A query without such a circuit counts "
        "as 0. Ratios are of the means.",
        "## Is a circuit stable?",
        table(
            ("network", "compared with", "queries", "all circuits", "that lead to the target"),
            [row for name in NETWORKS for row in _stability(NETWORKS[name], results[name])],
        ),
        "Units in common (Jaccard), means. The circuits of another query are the control.",
        "## What it costs",
        table(
            ("network", "units", "edges of a query", "CPU s a query", "CPU s to index", "samples indexed"),
            [_cost(NETWORKS[name], results[name]) for name in NETWORKS],
        ),
        "One thread. CLIP is indexed in bfloat16; its circuits are found in float32.",
        "## What it shows",
        *(_said(NETWORKS[name], results[name]) for name in NETWORKS),
    )


def _mean_score(network: dict[str, Any]) -> float:
    return float(np.mean([query["score"] for query in network["queries"]]))


def _table(network: dict[str, Any], what: str) -> str:
    rows = []
    for part, name in PARTS.items():
        queries = [query[part] for query in network["queries"]]
        rows.append(
            (
                name,
                sum(query["n_units"] > 0 for query in queries),
                number(float(np.mean([query["n_units"] for query in queries])), 0),
                *(_mean(network, part, of) for of in ("circuit", "random", "outside")),
                *(_in_words(_ratio(network, part, control)) for control in ("random", "outside")),
            )
        )
    return table(
        (
            "circuit",
            "queries that have one",
            "units",
            f"{what} without it",
            "without random units",
            "without others that answer",
            "ratio to random",
            "ratio to others",
        ),
        rows,
    )


def _mean(network: dict[str, Any], part: str, of: str) -> str:
    values = np.array([query[part][of] for query in network["queries"]])
    value, *ends = bootstrap(lambda rows: float(values[rows].mean()), len(values))
    return estimate(value, ends, 2 if "score" in network["queries"][0] else 3)


def _ratio(network: dict[str, Any], part: str, control: str) -> tuple[float, float, float] | None:
    """Mean of the circuit over that of the control, and its interval; None where no query has such a circuit."""
    pairs = np.array([(query[part]["circuit"], query[part][control]) for query in network["queries"]])

    def figure(rows: np.ndarray) -> float:
        circuit, other = pairs[rows].mean(0)
        return float(circuit / other) if other > 0 else float("nan")

    return bootstrap(figure, len(pairs)) if pairs[:, 1].mean() > 0 else None


def _in_words(ratio: tuple[float, float, float] | None) -> str:
    return "-" if ratio is None else estimate(ratio[0], ratio[1:], 1)


def _stability(name: str, network: dict[str, Any]) -> list[tuple[object, ...]]:
    rows: list[tuple[object, ...]] = []
    for key, said in STABILITY.items():
        found = [row for row in network["stability"] if key in row]
        means = (number(float(np.mean([row[f"{key}{part}"] for row in found])), 2) for part in ("", ", class"))
        rows.append((name, said, len(found), *means))
    return rows


def _cost(name: str, network: dict[str, Any]) -> tuple[object, ...]:
    queries = network["queries"]
    return (
        name,
        f"{network['n_units']:,}",
        f"{np.mean([query['n_edges'] for query in queries]):,.0f}",
        f"{np.mean([query['seconds'] for query in queries]):.1f}",
        f"{network['index_seconds']:.0f}",
        network["n_reference"],
    )


def _said(name: str, network: dict[str, Any]) -> str:
    told = []
    for part in PARTS:
        ratios = [_ratio(network, part, control) for control in ("random", "outside")]
        if ratios[0] is None or ratios[1] is None:
            told.append(f"{PARTS[part]}: no query has one")
            continue
        beats = "more than both controls" if min(ratio[1] for ratio in ratios if ratio) > 1 else "no more than controls"
        reached = ", 3 times random units and more" if ratios[0][1] >= 3 else ""
        told.append(
            f"{PARTS[part]}: {beats}{reached} ({_in_words(ratios[0])} times random units, {_in_words(ratios[1])} times "
            "others that answer)"
        )
    return f"**{name}**: {'; '.join(told)}."
