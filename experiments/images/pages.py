"""What the pages of the image experiments say; every figure comes from a results.json."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

from experiments.images.compared_faces_page import compared_faces
from experiments.images.compared_page import compared_sets
from experiments.markdown import document, estimate, number, percent, picture, table

# column -> (k, name of the metric): k = 3 and 5 are those that each was published with
_METRICS = {
    "precision": ("3", "precision"),
    "recall": ("3", "recall"),
    "density": ("5", "density"),
    "coverage": ("5", "coverage"),
    "expected coverage": ("5", "expected_coverage"),
    "Clipped Density": ("5", "clipped_density"),
    "Clipped Coverage": ("5", "clipped_coverage"),
    "rarity percentile": ("3", "rarity_percentile_mean"),
}
_DEGRADATIONS = ("blur", "JPEG", "noise")


def sets(results: list[dict[str, Any]]) -> str:
    """The metrics on image sets whose relation is known."""
    spaces = list(dict.fromkeys(row["space"] for row in results))
    at = {(row["space"], row["pair"]): row for row in results}
    pairs = list(dict.fromkeys(row["pair"] for row in results))
    return document(
        "# What the metrics say of image sets whose relation is known",
        "**Asked**: are two samples of one set told to be alike, other classes to be far, and worse photographs to be "
        "worse?",
        f"**On**: MNIST digits, Fashion-MNIST clothes and crops of photographs, {results[0]['n_reference']} or "
        f"{results[-1]['n_reference']} images a set; features: EfficientNet-Lite0, and raw pixels.",
        f"**Command**: `python -m experiments.images.sets` (seed {results[0]['seed']}).",
        "**Controls**: two halves of one set, and two classes whose labels are shuffled away: coverage has to be what "
        "is expected of equal distributions.",
        *(part for space in spaces for part in (f"## Features: {space}", _pairs_table([at[space, p] for p in pairs]))),
        "Precision, recall and rarity at k = 3, the others at k = 5, as each was published.",
        picture("plane_efficientnet-lite0.png", "Every pair in the plane of precision and recall, EfficientNet-Lite0"),
        picture("plane_pixels.png", "The same in raw pixels"),
        picture("degradation.png", "Metrics against the level of blur, JPEG compression and noise"),
        picture("digits_other_half_rare.png", "The rarest of the other half of the digits"),
        picture("digits_other_half_common.png", "The most common of the other half of the digits"),
        picture("shirt_T-shirt_off_manifold.png", "T-shirts off the manifold of shirts"),
        picture("shirt_T-shirt_missed.png", "Shirts that no T-shirt covers"),
        "## What it shows",
        "\n".join(f"* {_said(at, space)}" for space in spaces),
        "So raw pixels call a blurred photograph better than a sharp one: which features are used decides what is "
        "measured.",
    )


def _pairs_table(rows: Sequence[dict[str, Any]]) -> str:
    def cell(row: dict[str, Any], k: str, name: str) -> str:
        value, ends = row["k"][k][name], row["intervals"][k].get(name)
        return estimate(value, ends, 3) if ends and name in ("precision", "coverage") else number(value)

    return table(
        ("reference, query", "expected", *_METRICS, "KID"),
        (
            (row["pair"], row["expect"], *(cell(row, *at) for at in _METRICS.values()), f"{row['kid']:.2g}")
            for row in rows
        ),
    )


def _said(at: dict[tuple[str, str], dict[str, Any]], space: str) -> str:
    """The controls, the pair that has nothing in common, and whether precision falls with each degradation."""
    apart = at[space, "digits, clothes"]["k"]
    controls = {
        pair: row["k"]["5"]["coverage"] - row["k"]["5"]["expected_coverage"]
        for (where, pair), row in at.items()
        if where == space and ("half" in pair or "shuffled" in pair or pair == "crops, other crops")
    }
    worst = max(controls, key=lambda pair: abs(controls[pair]))
    lines = [
        f"**{space}**: digits and clothes have nothing in common: precision {number(apart['3']['precision'])}, recall "
        f"{number(apart['3']['recall'])}, coverage {number(apart['5']['coverage'])}; the controls' coverage is off its "
        f"expectation by at most {number(controls[worst], sign=True)} ({worst})."
    ]
    for kind in _DEGRADATIONS:
        steps = [at[space, "crops, other crops"]] + [
            row for (where, pair), row in at.items() if where == space and pair.startswith(f"crops, {kind} ")
        ]
        values = [row["k"]["3"]["precision"] for row in steps]
        falls = all(b < a for a, b in pairwise(values))
        lines.append(
            f"Precision {'falls' if falls else '**does not fall**'} at every level of {kind}: "
            f"{', '.join(number(value) for value in values)}."
        )
    return " ".join(lines)


def shifted_features(results: list[dict[str, Any]]) -> str:
    """Which implementations decide as a float64 check does."""
    shifts = list(dict.fromkeys(row["shift"] for row in results))
    furthest = [row for row in results if row["shift"] == shifts[-1]]
    wrong = [row for row in furthest if row["inside_wrong"] or row["covered_wrong"]]
    return document(
        "# Features far from the origin: which implementations still decide rightly?",
        "**Asked**: whether a sample lies inside a ball is a comparison of two distances. Which implementations decide "
        "as plain differences in float64 do, when all features are shifted by many standard deviations?",
        "**On**: EfficientNet-Lite0 features of crops of photographs, the second set slightly blurred; k = 5, 600 "
        "samples each.",
        "**Command**: `python -m experiments.images.shifted_features` (seed 0).",
        "**Control**: the same features not shifted, where all agree.",
        *(
            part
            for shift in shifts
            for part in (
                f"## Shifted by {shift:g} standard deviations",
                table(
                    ("method", "radius error", "inside wrong", "covered wrong", "precision", "coverage", "density"),
                    (
                        (
                            row["method"],
                            f"{row['radius_error']:.1e}",
                            row["inside_wrong"],
                            row["covered_wrong"],
                            *(number(row[name]) for name in ("precision", "coverage", "density")),
                        )
                        for row in results
                        if row["shift"] == shift
                    ),
                ),
            )
        ),
        "Radius error: the largest relative one. Wrong: samples whose decision differs from the float64 check's.",
        "## What it shows",
        f"Float32 by a² - 2ab + b², torch.cdist and faiss get {min(r['inside_wrong'] for r in wrong)} to "
        f"{max(r['inside_wrong'] for r in wrong)} decisions of precision and "
        f"{min(r['covered_wrong'] for r in wrong)} to "
        f"{max(r['covered_wrong'] for r in wrong)} of coverage wrong, and the density of "
        f"{number(furthest[0]['density'])} becomes {', '.join(number(r['density']) for r in wrong)}. All engines of "
        "genmend, and scikit-learn in float64, get none wrong. Features that are not shifted show no difference: this "
        "is a property of the implementations far from the origin, not of everyday data.",
    )


def interval_coverage(results: dict[str, Any]) -> str:
    """How often intervals hold what they are about."""
    rows, cost = results["intervals"], results["cost"]
    settings = list(dict.fromkeys(json.dumps(row["setting"]) for row in rows))
    names = list(dict.fromkeys(row["name"] for row in rows))
    at = {(json.dumps(row["setting"]), row["name"]): row for row in rows}
    heads = [_setting(json.loads(setting)) for setting in settings]
    first = rows[0]
    held = [row["holds"] for row in rows]
    again = [row for row in rows if row["holds_fixed"] is not None]
    fixed = [row["holds_fixed"] for row in again]
    scatter = 2 * (0.95 * 0.05 / first["n_pairs"]) ** 0.5
    return document(
        "# How often do the 95 % intervals of the metrics hold?",
        "**Asked**: `evaluate(..., bootstrap=40)` and `genmend score --bootstrap 40` give 95 % intervals of the mean "
        "over other draws of both sets. How many of them hold that mean?",
        f"**On**: {first['n_pairs']} pairs of sets from known distributions for each setting, {first['n_subsamples']} "
        f"halves behind an interval, k = 5; the mean is that over {first['n_draws']} other draws. Clusters: ten normal "
        "ones with centres from a normal law three times as wide; narrower and shifted: 0.8 times as wide, moved by "
        "0.3; curved: the hyperbolic tangent of 64 random combinations of 4 normal variables.",
        f"**Command**: `python -m experiments.images.interval_coverage` (seed {first['seed']}).",
        "**Control**: intervals that draw the per-sample values again with replacement and hold the balls fixed.",
        table(
            ("total", *heads, "all"),
            (
                (
                    name,
                    *(percent(at[one, name]["holds"], 1) for one in settings),
                    percent(sum(at[one, name]["holds"] for one in settings) / len(settings), 1),
                )
                for name in names
            ),
        ),
        f"Share of the intervals that hold the mean; {percent(0.95)} are meant, and with {first['n_pairs']} pairs "
        f"chance alone moves a share by {percent(scatter, 1)} up or down, in the last column by "
        f"{percent(scatter / len(settings) ** 0.5, 1)}.",
        "## Control: the balls held fixed",
        table(
            ("total", *heads),
            (
                (name, *(percent(at[one, name]["holds_fixed"], 1) for one in settings))
                for name in dict.fromkeys(row["name"] for row in again)
            ),
        ),
        "## What it shows",
        f"Over all totals and settings {percent(sum(held) / len(held), 1)} of the intervals hold, from "
        f"{percent(min(held), 1)} to {percent(max(held), 1)} a total and setting. {_outside(rows, scatter)} With the "
        "balls held fixed "
        f"{percent(sum(fixed) / len(fixed), 1)} do, from {percent(min(fixed), 1)} to {percent(max(fixed), 1)}: balls "
        "move with the samples that they are drawn round.",
        f"An evaluation of {cost['n']} + {cost['n']} samples of {cost['d']} features with {cost['n_subsamples']} "
        f"halves takes the processor time of {cost['times']:.1f} without.",
    )


def _setting(setting: dict[str, Any]) -> str:
    return "{n} + {m}, {d} features, {drawn}".format(**setting)


def _outside(rows: list[dict[str, Any]], scatter: float) -> str:
    """The totals and settings whose intervals hold less or more often than 93 to 97 %, beyond chance or not."""
    found = []
    for words, outside in (
        ("**Too narrow**, below 93 %", [row for row in rows if row["holds"] < 0.93]),
        ("Wider than they need be, above 97 %", [row for row in rows if row["holds"] > 0.97]),
    ):
        by_setting: dict[str, list[str]] = {}
        for row in outside:
            by_setting.setdefault(_setting(row["setting"]), []).append(f"{row['name']} {percent(row['holds'], 1)}")
        if by_setting:
            beyond = sum(abs(row["holds"] - 0.95) > scatter for row in outside)
            told = "; ".join(f"{where}: {', '.join(names)}" for where, names in by_setting.items())
            found.append(f"{words}, are {len(outside)} of {len(rows)} ({beyond} by more than chance: {told}).")
    return " ".join(found) or "None of them holds less often than 93 % or more often than 97 %."


PAGES: tuple[Callable[[Any], str], ...] = (sets, shifted_features, interval_coverage, compared_sets, compared_faces)
