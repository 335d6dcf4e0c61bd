"""What the page on interactions of superpixels says; every figure comes from results.json."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from experiments.concepts.pages.interactions import largest_normal
from experiments.markdown import document, estimate, number, percent, table


def superpixel_interactions(results: dict[str, Any]) -> str:
    """API by patches and by superpixels of the same photographs, of two classifiers."""
    found = [(network, kind, row) for network, kinds in results["networks"].items() for kind, row in kinds.items()]
    exact = [(network, kind, row) for network, kind, cell in found for row in cell["exact"]]
    most = max(row[f"{name} z"] for *_, row in exact for name in ("API", "Shapley"))
    n_tests = 2 * sum(row["n_parts"] for *_, row in exact)
    return document(
        "# Do superpixels serve positive interactions better than square patches?",
        "**Asked**: are API and Shapley's value out of random orders what every set of parts gives, and how many parts "
        "does each need to restore the decision?",
        f"**On**: {results['n_restored']} photographs of ImageNet at {results['side']} pixels; the logit of the class "
        f"that the network finds, of {' and '.join(results['networks'])}; square patches, and superpixels of "
        "scikit-image (SLIC); hidden parts have the mean colour.",
        "**Command**: `python -m experiments.concepts.superpixel_interactions --networks "
        f"{','.join(results['networks'])}` (seed 0).",
        "**Controls**: every set of parts asked; the effect of each part alone; random order.",
        "## Against every set of parts",
        f"{results['n_runs']} runs of {results['n_orders']} random orders on {results['n_exact']} images each. Bias: "
        "the mean distance of the mean of all runs from the exact value, over the mean size of the exact values.",
        table(
            (
                "network",
                "parts",
                "how many",
                "bias of API",
                "of Shapley",
                "intervals that hold API",
                "Shapley",
                "one run's correlation, API",
                "Shapley",
                "negative over positive interactions",
            ),
            (
                (
                    network,
                    kind,
                    row["n_parts"],
                    percent(row["API bias"], 1),
                    percent(row["Shapley bias"], 1),
                    percent(row["API held"]),
                    percent(row["Shapley held"]),
                    number(row["API one run"], 2),
                    number(row["Shapley one run"], 2),
                    number(row["negative"], 2),
                )
                for network, kind, row in exact
            ),
        ),
        f"The largest of {n_tests} deviations is {number(most, 1)} standard errors, and of so many normal numbers the "
        f"largest is about {number(largest_normal(n_tests), 1)}.",
        "## How many parts restore the decision",
        "Parts are shown in the order of each value, all from one run, until the class is the network's own.",
        table(
            ("network", "parts", "order by", "needed", "API's less these", "mean probability on the way", "API's less"),
            (
                (
                    network,
                    f"{_how_many(cell['n_parts'])} {kind}",
                    row["value"],
                    estimate(row["needed"][0], row["needed"][1:], 2),
                    *_less(row, "API less this", 2),
                    estimate(row["probability"][0], row["probability"][1:], 3),
                    *_less(row, "API's probability less", 3),
                )
                for network, kind, cell in found
                for row in cell["restoring"]
            ),
        ),
        "## What it shows",
        "\n".join(
            (
                "* Sampled values are those of every set: API's bias is at most "
                f"{percent(max(row['API bias'] for *_, row in exact), 1)} of the mean size; 95 % intervals hold API in "
                f"{percent(_mean(row['API held'] for *_, row in exact))}, Shapley's value in "
                f"{percent(_mean(row['Shapley held'] for *_, row in exact))}.",
                *(f"* {_verdict(network, kind, cell)}" for network, kind, cell in found),
                *_few(results["n_restored"]),
                *(f"* {_shares(network, kinds)}" for network, kinds in results["networks"].items()),
            )
        ),
    )


def _few(n: int) -> list[str]:
    """What to mind where photographs are few."""
    if n >= 12:
        return []
    return [
        f"* {n} photographs are few, and bootstrap intervals of so few are too narrow: believe "
        "`concepts-interactions.md` first, by patches on more and larger photographs."
    ]


def _shares(network: str, kinds: dict[str, Any]) -> str:
    """Which share of the parts the class needs, by superpixels against patches of the same photographs."""
    by, less = kinds["superpixels"]["share"], kinds["superpixels"]["share less patches'"]
    word = "fewer" if less[2] < 0 else "more" if less[1] > 0 else "neither more nor fewer, beyond chance"
    return (
        f"{network}: in the order of API the class needs {percent(by[0])} of the superpixels and "
        f"{percent(kinds['patches']['share'][0])} of the patches, a difference of "
        f"{estimate(less[0], less[1:], 2, sign=True)}: {word}."
    )


def _how_many(n_parts: list[float]) -> str:
    low, high = n_parts
    return f"{low}" if low == high else f"{low} to {high}"


def _less(row: dict[str, Any], name: str, digits: int) -> tuple[str]:
    return ("" if row["value"] == "API" else estimate(row[name][0], row[name][1:], digits, sign=True),)


def _mean(values: Iterable[float]) -> float:
    found = list(values)
    return sum(found) / len(found)


def _verdict(network: str, kind: str, cell: dict[str, Any]) -> str:
    """Whether API needs fewer parts than each other order, and how much of the interactions is negative."""
    words = []
    for row in cell["restoring"]:
        if row["value"] != "API":
            low, high = row["API less this"][1:]
            word = "fewer than" if high < 0 else "more than" if low > 0 else "no fewer, beyond chance, than"
            words.append(f"{word} {row['value'] if row['value'] != 'alone' else 'each part alone'}")
    return (
        f"{network}, {kind}: API needs {', '.join(words)}; negative interactions are {number(cell['negative'][0], 2)} "
        "times as large as positive ones."
    )
