"""What the page on comparing several sets says."""

from __future__ import annotations

from typing import Any

from experiments.markdown import document, number, percent, table


def compared_sets(results: dict[str, Any]) -> str:
    """How often chance is called a difference, and what the number of samples does."""
    heads = [f"{row['n']} + {row['n']}, {row['d']} features" for row in results["alike"]]
    names = list(results["alike"][0]["metrics"])
    found = [one for row in results["alike"] for one in row["metrics"].values()]
    scatter = 2 * (0.05 * 0.95 / results["n_trials"]) ** 0.5
    sizes = results["sizes"]
    few, many = sizes["sizes"]
    differ = [one["differ"] for one in found]
    told = sorted(found, key=lambda one: -one["narrow told"])
    moved = [row for row in sizes["metrics"] if abs(row["shift"]) > 4 * row["error"]]
    return document(
        "# Is one set better than another, or is it chance?",
        "**Asked**: `genmend score REFERENCE A B C` ranks sets and calls ties. How often does it call a difference "
        "what is chance, and what does the number of samples do to each metric by itself?",
        f"**On**: normal distributions; {results['n_trials']} trials a setting of three alike sets and a reference of "
        f"the same distribution, {results['n_subsamples']} subsamples, k = {results['k']}.",
        f"**Command**: `python -m experiments.images.compared_sets` (seed {results['seed']}).",
        "**Control**: the same intervals of each set alone: how often two of the three have no point in common. And a "
        "set 0.8 times as wide, which is to be told from its like (of the Vendi score, which sees directions alone, "
        "one 0.8 times as wide in half of its features).",
        "## Alike sets",
        "Share of trials in which any two of the three were called different; 5 % is meant, and chance moves a share "
        f"by {percent(scatter, 1)} up or down.",
        table(
            ("metric", *heads, *(f"control, {head}" for head in heads), *(f"narrower told, {head}" for head in heads)),
            (
                (name, *(percent(row["metrics"][name][part], 1) for part in ("differ", "apart", "narrow told")
                         for row in results["alike"]))
                for name in names
            ),
        ),
        f"Over all metrics and settings alike sets are called different in {percent(sum(differ) / len(differ), 1)} of "
        f"the trials, from {percent(min(differ), 1)} to {percent(max(differ), 1)}. Intervals of single sets that must "
        f"not touch are in {percent(sum(one['apart'] for one in found) / len(found), 1)}: they miss differences, for "
        f"both sets share what the reference does to them. The narrower set is told by the best metric in "
        f"{percent(told[0]['narrow told'], 0)} of the trials.",
        "## Sets of different sizes",
        f"{few} and {many} samples of one distribution (0.9 times as wide as the reference, {sizes['n_reference']} "
        f"samples), means of {sizes['n_draws']} draws; in brackets the standard error of the difference.",
        table(
            ("metric", f"{few} samples", f"{many} samples", "difference", "ranked between sizes"),
            (
                (row["name"], number(row["few"]), number(row["many"]),
                 f"{number(row['shift'], sign=True)} ({number(row['error'])})",
                 "no" if row["counted_as_moved"] else "yes")
                for row in sizes["metrics"]
            ),
        ),
        f"More than four standard errors: {', '.join(row['name'] for row in moved)}. Where sizes differ by over 2 %, "
        "`genmend score` ranks none that depends on them; `--equal-sizes` draws as many of each.",
    )  # fmt: skip
