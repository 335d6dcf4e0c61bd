"""What the page on circuits of a CLIP tower, a U-Net and a voice says; every figure comes from its results.json."""

from __future__ import annotations

from typing import Any

import numpy as np

from experiments.intervals import bootstrap, mean_with_interval
from experiments.markdown import document, estimate, number, percent, table

PARTS = {
    "all": "all circuits of the query",
    "class": "those that lead to the target",
    "earlier": "those that lead to the target, less their units of the last block",
}
NETWORKS = {"clip": "CLIP tower", "unet": "U-Net", "voice": "Voice"}
CONTROLS = {"random": "random units", "outside": "others that answer"}
STABILITY = {"seed": "another seed", "subsample": "80 % of the reference", "other query": "another query"}


def other_circuits(results: dict[str, Any]) -> str:
    """Circuits where there are no channels of a classifier: falls, controls, stability, cost."""
    networks = {name: results[name] for name in NETWORKS if name in results}
    photographs = results.get("photographs")
    return document(
        "# Circuits beyond convolutional classifiers",
        "**Asked**: in networks that are no convolutional classifiers, does what a network says of a sample change "
        "further without the units of its circuits than without as many random units of the same blocks, or as many "
        "others that answer to the sample? Does it help to look only among the units that a gradient points at? Are "
        "circuits stable, and what do they cost?",
        f"**On**: {'; '.join(_on(name, network) for name, network in networks.items())}. Queries lie outside the "
        "samples that units are indexed by.",
        f"**Command**: `{_command(results, networks)}` (seed {results['seed']}).",
        "**Controls**: random units, as many in each block, and as many units of each block that are not in the "
        f"circuit but have the query among their top 10 %: {results['n_draws']} draws a query for classes, "
        f"{results['n_draws_small']} for generators. For classes also as many units of each block for "
        "which a gradient of the score alone predicts the largest falls.",
        *(part for name, network in networks.items() for part in (f"## {NETWORKS[name]}", *_about(name, network))),
        "Means over the queries; intervals (95 %) are bootstrapped over them. A query without such a circuit counts "
        "as 0. Ratios are of the means.",
        *(_photographs(photographs) if photographs else ()),
        *_stable(networks),
        "## What it costs",
        table(
            ("network", "units", "edges of a query", "CPU s a query", "CPU s to index", "samples indexed"),
            [row for name, network in networks.items() for row in _cost(NETWORKS[name], network)],
        ),
        "One thread. CLIP is indexed in bfloat16; its circuits are found in float32.",
        "## What it shows",
        *(_said(NETWORKS[name], network) for name, network in networks.items()),
        *(_screened(photographs) if photographs else ()),
    )


def _command(results: dict[str, Any], networks: dict[str, Any]) -> str:
    counts = {name: len(network["queries"]) for name, network in networks.items()}
    if "photographs" in results:
        counts["photographs"] = len(next(iter(results["photographs"]["queries"].values())))
    stable = max((len(network["stability"]) for network in networks.values()), default=0)
    options = " ".join(f"--n-{name} {n}" for name, n in counts.items())
    return f"python -m experiments.concepts.other_circuits --parts {' '.join(counts)} {options} --n-stability {stable}"


def _on(name: str, network: dict[str, Any]) -> str:
    queries, indexed = len(network["queries"]), network["n_reference"]
    return {
        "clip": f"the image tower of CLIP ViT-B/16, {queries} emoji, units indexed by {indexed} others",
        "unet": f"the reference pipeline's U-Net, {queries} garments under the noise of step 250 of 1000, without a "
        f"prompt, units indexed by {indexed} others",
        "voice": f"the text encoder of the voice `joe`, {queries} sentences, units indexed by {indexed} others",
    }[name]


def _about(name: str, network: dict[str, Any]) -> list[str]:
    size = f"{network['n_blocks']} blocks, {network['n_units']:,}"
    if name == "unet":
        about = (
            f"{size} units: hidden channels of its residual blocks and hidden units of its attention blocks' MLPs. "
            "Target: how far what it takes the noisy picture for moves, in the code of an autoencoder, over the code's "
            "length."
        )
    elif name == "voice":
        about = (
            f"{size} hidden units of the feed-forward layers. Target: how far what the encoder hands on of the "
            "sentence moves, over its length."
        )
    else:
        about = (
            f"{size} hidden units of MLPs. The tower has no classes: a linear probe of its features gives a logit of "
            f"each of {network['n_classes']} kinds of emoji, and names {percent(network['right'])} right of a half "
            f"that it did not learn from (chance: {percent(1 / network['n_classes'], 1)}). Target: the logit of the "
            f"best kind, {number(_mean_score(network), 2)} on average. Circuits are looked for among the "
            f"{percent(network['screen'])} of each block's units that a gradient of the logit points at; the "
            f"significance test compares with {network['n_random']} random units a block."
        )
    return [about, _table(network, "fall" if name == "clip" else "change")]


def _photographs(found: dict[str, Any]) -> list[str]:
    n_queries = len(next(iter(found["queries"].values())))
    rows = []
    for screen, queries in found["queries"].items():
        for part in ("all", "class"):
            network = {"queries": queries}
            rows.append(
                (
                    percent(float(screen)),
                    PARTS[part],
                    number(float(np.mean([query[part]["n_units"] for query in queries])), 0),
                    *(_mean(network, part, of) for of in ("circuit", "random", "outside", "gradient")),
                    *(_more(network, part, control) for control in ("random", "outside")),
                    _ratio(network, part),
                )
            )
    return [
        "## The same screening on a convolutional classifier",
        f"{found['model']}, {n_queries} photographs of ImageNet, units indexed by {found['n_reference']} crops of "
        "other photographs and emoji; the fall is of the class's logit. A share of 100 % is no screening.",
        table(
            (
                "share of units",
                "circuit",
                "units",
                "fall without it",
                "without random units",
                "without others that answer",
                "by the gradient alone",
                "more than random units",
                "more than others",
                "ratio to random",
            ),
            rows,
        ),
    ]


def _mean_score(network: dict[str, Any]) -> float:
    return float(np.mean([query["score"] for query in network["queries"]]))


def _table(network: dict[str, Any], what: str) -> str:
    has_gradient = "gradient" in network["queries"][0]["class"]
    columns = ["circuit", "random", "outside", *(["gradient"] if has_gradient else [])]
    rows = []
    for part, name in PARTS.items():
        queries = [query[part] for query in network["queries"]]
        rows.append(
            (
                name,
                sum(query["n_units"] > 0 for query in queries),
                number(float(np.mean([query["n_units"] for query in queries])), 0),
                *(_mean(network, part, of) for of in columns),
                *(_more(network, part, control) for control in ("random", "outside")),
                _ratio(network, part),
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
            *(["by the gradient alone"] if has_gradient else []),
            "more than random units",
            "more than others",
            "ratio to random",
        ),
        rows,
    )


def _mean(network: dict[str, Any], part: str, of: str) -> str:
    if of not in network["queries"][0][part]:
        return "-"
    values = np.array([query[part][of] for query in network["queries"]])
    value, *ends = bootstrap(lambda rows: float(values[rows].mean()), len(values))
    return estimate(value, ends, 2 if "score" in network["queries"][0] else 3)


def _less(network: dict[str, Any], part: str, control: str, factor: float = 1.0) -> tuple[float, float, float]:
    """Mean over the queries of the circuit's less so many times the control's, and its interval."""
    queries = network["queries"]
    values = np.array([query[part]["circuit"] - factor * query[part][control] for query in queries])
    return bootstrap(lambda rows: float(values[rows].mean()), len(values))


def _more(network: dict[str, Any], part: str, control: str) -> str:
    value, *ends = _less(network, part, control)
    return estimate(value, ends, 2 if "score" in network["queries"][0] else 3, sign=True)


def _ratio(network: dict[str, Any], part: str) -> str:
    """Mean of the circuit over that of random units; - where it or these may change nothing."""
    pairs = np.array([(query[part]["circuit"], query[part]["random"]) for query in network["queries"]])
    if min(mean_with_interval(column)[1] for column in pairs.T) <= 0:
        return "-"
    # A resample without any circuit defines no ratio.
    value, *ends = bootstrap(
        lambda rows: float(np.divide(*pairs[rows].mean(0))) if pairs[rows].any() else np.nan, len(pairs)
    )
    return estimate(value, ends, 1)


def _stable(networks: dict[str, Any]) -> list[str]:
    rows = [row for name, network in networks.items() for row in _stability(NETWORKS[name], network)]
    if not rows:
        return []
    return [
        "## Is a circuit stable?",
        table(("network", "compared with", "queries", "all circuits", "that lead to the target"), rows),
        "Units in common (Jaccard), means. The circuits of another query are the control.",
    ]


def _stability(name: str, network: dict[str, Any]) -> list[tuple[object, ...]]:
    rows: list[tuple[object, ...]] = []
    for key, said in STABILITY.items():
        found = [row for row in network["stability"] if key in row]
        if not found:
            continue
        means = (number(float(np.mean([row[f"{key}{part}"] for row in found])), 2) for part in ("", ", class"))
        rows.append((name, said, len(found), *means))
    return rows


def _cost(name: str, network: dict[str, Any]) -> list[tuple[object, ...]]:
    kinds = {name: network["queries"]}
    if whole := [query["whole"] for query in network["queries"] if "whole" in query]:
        kinds = {f"{name}, screened": network["queries"], f"{name}, {len(whole)} queries without screening": whole}
    return [
        (
            said,
            f"{network['n_units']:,}",
            f"{np.mean([query['n_edges'] for query in queries]):,.0f}",
            f"{np.mean([query['seconds'] for query in queries]):.1f}",
            f"{network['index_seconds']:.0f}",
            network["n_reference"],
        )
        for said, queries in kinds.items()
    ]


def _said(name: str, network: dict[str, Any]) -> str:
    told = []
    for part, said in PARTS.items():
        if not any(query[part]["n_units"] for query in network["queries"]):
            told.append(f"no query has any of {said}")
            continue
        lows = {control: _less(network, part, control)[1] for control in ("random", "outside")}
        beaten = [named for control, named in CONTROLS.items() if lows[control] > 0]
        tripled = _less(network, part, "random", 3.0)[1] > 0
        n = len(network["queries"])
        told.append(
            (
                f"without {said}, more changes than without {' and '.join(beaten)}"
                if beaten
                else f"{n} queries do not tell what changes without {said} from what changes without its controls"
            )
            + (", and beyond 3 times random units" if tripled else "")
        )
    gradient = ""
    if "gradient" in network["queries"][0]["class"]:
        value, low, high = _less(network, "class", "gradient")
        compared = "as far as" if low <= 0 <= high else "further than" if value > 0 else "less far than"
        gradient = (
            f" Without the circuits that lead to the target the score falls {compared} without as many units by the "
            "gradient alone: a circuit says which of them feed which, the gradient that they matter."
        )
    return f"**{name}**: {'; '.join(told)}.{gradient}"


def _screened(found: dict[str, Any]) -> list[str]:
    shares = list(found["queries"])
    whole, share, screened = found["queries"][shares[0]], shares[-1], found["queries"][shares[-1]]
    before, after = (_ratio({"queries": queries}, "all") for queries in (whole, screened))
    seconds = [float(np.mean([query["seconds"] for query in queries])) for queries in (whole, screened)]
    return [
        f"**{found['model']}**. Without all circuits of a photograph the logit falls {before} times as far as without "
        f"random units; where circuits are looked for among the {percent(float(share))} of the units that the gradient "
        f"points at, {after} times, and the search takes {seconds[1]:.1f} CPU s in place of {seconds[0]:.1f}."
    ]
