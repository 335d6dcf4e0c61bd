"""What the page on interactions of parts says; every figure comes from results.json."""

from __future__ import annotations

from typing import Any

from experiments.markdown import document, estimate, number, percent, table


def interactions(results: dict[str, Any]) -> str:
    """API against exact enumeration and against Shapley's value."""
    exact, restoring = results["exact"], {row["value"]: row for row in results["restoring"]}
    shapley = restoring["Shapley"]
    low, high = shapley["API less this"][1:]
    verdict = "API needs fewer" if high < 0 else "API needs more" if low > 0 else "no difference beyond chance"
    few, many = results["n_parts"]
    most = max(row[f"{name} z"] for row in exact for name in ("API", "Shapley"))
    n_tests = 2 * few * len(exact)
    return document(
        "# Do sampled positive interactions find the parts that decide?",
        "**Asked**: are API and Shapley's value out of random orders what every set of parts gives, and how many parts "
        "does each need to restore the decision?",
        "**On**: photographs of ImageNet and MobileNetV2's logit of the class that it finds; square patches, "
        "hidden ones have the mean colour.",
        "**Command**: `python -m experiments.concepts.interactions` (seed 0).",
        "**Controls**: every set of parts asked; the effect of each part alone; random order.",
        f"## Against every set of {few} parts",
        f"{results['n_runs']} runs of {results['n_orders']} random orders on {len(exact)} images. Bias: the mean "
        "distance of the mean of all runs from the exact value, over the mean size of the exact values.",
        table(
            (
                "image",
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
                    number_of,
                    percent(row["API bias"], 1),
                    percent(row["Shapley bias"], 1),
                    percent(row["API held"]),
                    percent(row["Shapley held"]),
                    number(row["API one run"], 2),
                    number(row["Shapley one run"], 2),
                    number(row["negative"], 2),
                )
                for number_of, row in enumerate(exact)
            ),
        ),
        f"The largest of {n_tests} deviations is {number(most, 1)} standard errors, and of so many normal numbers the "
        "largest is about "
        f"{number(largest_normal(n_tests), 1)}.",
        f"## How many of {many} parts restore the decision",
        f"{results['n_restored']} images, {results['evaluations']} runs of the network each. Parts are shown in the "
        "order of each value, all from one run, until the class is the network's own.",
        table(
            ("order by", "parts needed", "API's less these", "mean probability on the way", "API's less this"),
            (
                (
                    name,
                    estimate(row["needed"][0], row["needed"][1:], 2),
                    "" if name == "API" else estimate(row["API less this"][0], row["API less this"][1:], 2, sign=True),
                    estimate(row["probability"][0], row["probability"][1:], 3),
                    ""
                    if name == "API"
                    else estimate(row["API's probability less"][0], row["API's probability less"][1:], 3, sign=True),
                )
                for name, row in restoring.items()
            ),
        ),
        "## What it shows",
        f"* Sampled values are those of every set: bias at most {percent(max(r['API bias'] for r in exact), 1)} of the "
        "mean size.",
        f"* Parts needed, API against Shapley: {verdict}. Negative interactions are "
        f"{number(results['negative'][0], 2)} times as large as positive ones.",
    )


def largest_normal(n: int) -> float:
    """The median of the largest of n sizes of normal numbers."""
    from scipy.stats import norm

    return float(norm.isf((1 - 0.5 ** (1 / n)) / 2))
