"""What the page on circuits says; every figure comes from its results.json."""

from __future__ import annotations

from typing import Any

import numpy as np

from experiments.intervals import bootstrap
from experiments.markdown import document, estimate, number, percent, table

KINDS = {
    "random all zero": "all circuits of the query, significance test",
    "peaks all zero": "all circuits of the query, published threshold",
    "random class zero": "circuits that speak for the class, significance test",
    "peaks class zero": "circuits that speak for the class, published threshold",
    "random class mean": "as the third, units replaced by their means",
    "random earlier zero": "as the third, without its units of the last block",
}


def circuits(results: dict[str, Any]) -> str:
    """Circuits of photographs: falls, controls, stability, screening, cost."""
    models = results["models"]
    whole = [model for model in models if "stability" in model]
    return document(
        "# Circuits of photographs: what falls without them",
        "**Asked**: does the score of an image's class fall further without the units of its circuits than without as "
        "many random units of the same blocks, or as many other units that answer to the image? Are circuits stable, "
        "does a gradient find their edges, and what do they cost?",
        f"**On**: {results['n_queries']} queries: twenty photographs of ImageNet and a closer crop of each, and crops "
        "of seven other photographs. Units are indexed by "
        f"{results['n_reference']} crops of these seven photographs (others than the queries) and emoji, half each.",
        f"**Command**: `python -m experiments.concepts.circuits` (seed {results['seed']}).",
        f"**Controls**: {results['n_draws']} draws a query of random units, as many in each block; as many units of "
        "each block that are not in the circuit but have the query among their top 10 %.",
        *(part for model in models for part in _model(model)),
        "Falls are means over the queries, of the class's logit; intervals (95 %) are bootstrapped over photographs, "
        "whose crops stay together. A query without such a circuit counts as a fall of 0. Ratios are of the means.",
        "## Is a circuit stable?",
        table(
            ("model", "compared with", "all circuits", "that speak for the class"),
            [row for model in whole for row in _stability(model)],
        ),
        "Units in common (Jaccard), means over "
        f"{len(whole[0]['stability'])} queries. The circuits of another query are the control.",
        "## Does a gradient find the edges?",
        table(
            ("model", "pairs tested", "significant effects found, by gradient", "by chance", "at best"),
            [row for model in whole for row in _screening(model)],
        ),
        _screening_words(whole),
        "## What it costs",
        table(
            (
                "model",
                "units",
                "CPU s a query, significance test",
                "published threshold",
                f"CPU s to index {results['n_large']:,}, without forward passes",
                "forward passes",
            ),
            [_cost(model) for model in models],
        ),
        "One thread; means over the queries. The index time is that of scoring one batch, times the number of batches, "
        "and of merging all of them.",
        "## What it shows",
        *(_said(model) for model in models),
    )


def _model(model: dict[str, Any]) -> list[str]:
    rows = []
    for kind, name in KINDS.items():
        falls = {part: _mean(model, kind, part) for part in ("circuit", "random", "outside")}
        n_units = np.mean([query[kind]["n_units"] for query in model["queries"]])
        ratios = [_ratio(model, kind, control) for control in ("random", "outside")]
        rows.append(
            (
                name,
                number(float(n_units), 0),
                *(estimate(value, ends, 2) for value, *ends in falls.values()),
                *(estimate(value, ends, 1) for value, *ends in ratios),
            )
        )
    score = np.mean([query["score"] for query in model["queries"]])
    return [
        f"## {model['model']}",
        f"{len(model['blocks'])} blocks, {model['n_units']:,} units; the class's logit is {number(float(score), 2)} "
        "on average.",
        table(
            (
                "circuit",
                "units",
                "fall without it",
                "without random units",
                "without others that answer",
                "ratio to random",
                "ratio to others",
            ),
            rows,
        ),
    ]


def _by_photograph(model: dict[str, Any]) -> list[list[dict[str, Any]]]:
    groups: dict[int, list[dict[str, Any]]] = {}
    for query in model["queries"]:
        groups.setdefault(query["photograph"], []).append(query)
    return list(groups.values())


def _mean(model: dict[str, Any], kind: str, part: str) -> tuple[float, float, float]:
    groups = [[query[kind][part] for query in group] for group in _by_photograph(model)]
    return bootstrap(lambda rows: float(np.mean([fall for row in rows for fall in groups[row]])), len(groups))


def _ratio(model: dict[str, Any], kind: str, control: str) -> tuple[float, float, float]:
    groups = [
        np.array([(query[kind]["circuit"], query[kind][control]) for query in group]) for group in _by_photograph(model)
    ]

    def figure(rows: np.ndarray) -> float:
        circuit, other = np.concatenate([groups[row] for row in rows]).mean(0)
        return float(circuit / other) if other > 0 else float("nan")

    return bootstrap(figure, len(groups))


def _stability(model: dict[str, Any]) -> list[tuple[str, ...]]:
    named = {"seed": "another seed", "subsample": "80 % of the reference", "other query": "another query"}
    return [
        (
            model["model"],
            said,
            *(
                number(float(np.mean([value for row in model["stability"] for value in row[f"{name}{part}"]])), 2)
                for part in ("", ", class")
            ),
        )
        for name, said in named.items()
    ]


def _screening(model: dict[str, Any]) -> list[tuple[str, ...]]:
    found = model["screening"]
    significant = found["n_significant"] / found["n_pairs"]
    return [
        (model["model"], percent(share), percent(recall), percent(chance), percent(min(1, share / significant)))
        for share, recall, chance in zip(found["shares"], found["recall"], found["recall_random"], strict=True)
    ]


def _screening_words(models: list[dict[str, Any]]) -> str:
    told = "; ".join(
        f"{model['model']}: {found['seconds']['gradient']:.1f} s against {found['seconds']['exact']:.1f} s for "
        f"{found['n_gradient_runs']:,} gradients against {found['n_exact_runs']:,} replaced units (correlation "
        f"{number(found['correlation'], 2)})"
        for model in models
        for found in (model["screening"],)
    )
    quicker = all(2 * m["screening"]["seconds"]["gradient"] < m["screening"]["seconds"]["exact"] for m in models)
    end = (
        "A gradient could come first."
        if quicker
        else "So a gradient predicts the effects and saves no time: one is taken for each unit that is acted on, an "
        "exact test for each that acts, all of whose effects come out of one run of one block. `find_circuits` tests "
        "every effect."
    )
    significant = " and ".join(
        percent(model["screening"]["n_significant"] / model["screening"]["n_pairs"]) for model in models
    )
    return (
        f"Significant are {significant} of the pairs: of a source and a unit that the query is among the top 10 % of. "
        f"Processor seconds over {models[0]['screening']['n_queries']} queries: {told}. {end}"
    )


def _cost(model: dict[str, Any]) -> tuple[str, ...]:
    index = model["index_seconds"]
    return (
        model["model"],
        f"{model['n_units']:,}",
        *(
            f"{np.mean([query[f'seconds {chosen}'] for query in model['queries']]):.1f}"
            for chosen in ("random", "peaks")
        ),
        f"{index['scoring'] + index['merging']:.0f}",
        f"{index['forward']:.0f}",
    )


def _said(model: dict[str, Any]) -> str:
    def ratio(kind: str, control: str) -> str:
        value, *ends = _ratio(model, kind, control)
        return estimate(value, ends, 1)

    value, low, _ = _ratio(model, "random class zero", "random")
    reached = "reaches" if low >= 3 else "reaches, though not its whole interval," if value >= 3 else "misses"
    rows = [[query[f"random {part} zero"]["n_units"] for query in model["queries"]] for part in ("class", "earlier")]
    of_class, earlier = (number(float(np.mean(row)), digits) for row, digits in zip(rows, (0, 1), strict=True))
    empty = rows[0].count(0)
    none = f" {empty} queries have no such circuit." if empty else ""
    return (
        f"**{model['model']}**: all circuits of a query together hold so many units that the score is lost with as "
        f"many random ones, too: a ratio of {ratio('random all zero', 'random')}. Without those that speak for the "
        f"class it falls {ratio('random class zero', 'random')} times as far as without random units, which {reached} "
        f"the factor of 3 that was asked for, and {ratio('random class zero', 'outside')} times as far as without "
        f"others that answer to the image.{none} Most of their {of_class} units lie in the last block, and are chosen "
        f"by their effect on the class, too. Without the {earlier} units before it alone, the score falls "
        f"{ratio('random earlier zero', 'random')} times as far as without random units, "
        f"{ratio('random earlier zero', 'outside')} times as far as without others that answer."
    )
