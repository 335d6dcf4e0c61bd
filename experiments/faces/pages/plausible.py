"""What the page on plausible corrections says; every figure comes from results.json."""

from __future__ import annotations

from typing import Any

from experiments.markdown import document, estimate, number, percent, picture, table

CLIP, MOBILENET = "clip-vit-b16", "mobilenet-v2"
LADDER, DESCENT = "ladder", "contrast descent"
_JUDGED_IN = {CLIP: "CLIP", MOBILENET: "MobileNetV2"}
RATED = ("uncorrected", LADDER, DESCENT, "nearest normal sample")
_ON = {
    "faces": "{n} samples of the face generator that both raters call clear artifacts",
    "portraits": "{n} clear artifacts of a second real generator, portraits (one rater)",
}


def plausible(results: dict[str, Any]) -> str:
    """Whether what is mended is plausible, diverse, and still the same picture; of the sets that were measured."""
    faces = results["faces"]
    sets = {name: results[name] for name in _ON if name in results}
    rated = {row["method"]: row for row in results["ratings"]}
    judged = [
        (name, judge, {row["method"]: row for row in rows})
        for name, found in sets.items()
        for judge, rows in found["judges"].items()
    ]
    ours = judged[0][2][DESCENT]
    normal = " and ".join(f"{percent(found['normal_share'])} of the {name}" for name, found in sets.items())
    return document(
        "# Mended, and plausible?",
        "**Asked**: are mended faces plausible, as diverse as clean samples are, and still the same face? And does "
        "moving the latent by contrast (`contrast-descent`, the default of `genmend correct`) do better than editing "
        "neurons (`ladder`)?",
        f"**On**: {' and '.join(_ON[name].format(n=found['n']) for name, found in sets.items())}; `experiments/data`.",
        "**Command**: `python -m experiments.faces.plausible` (seed 0). No labels and no gate in the correction: every "
        "method is tried on every artifact, with the same stop rule.",
        "**Controls**: the latent turned by the same angle at random; the nearest normal sample, a new picture rather "
        "than a mended one; where they stand in a table, descent along as many random neurons, the way to the nearest "
        "normal sample, and another sample altogether.",
        "## Blind ratings",
        f"{sum(row['n'] for row in rated.values())} tiles, shuffled, rated once by a model that did not know which is "
        "which: plausible, borderline or clear artifact, with 95 % bootstrap intervals. The tiles were drawn before "
        "neurons taught the learned score; the descent was otherwise the same.",
        table(
            ("method", "tiles", "plausible", "clear artifact"),
            (
                (name, rated[name]["n"], _share(rated[name], "plausible"), _share(rated[name], "artifact"))
                for name in RATED
            ),
        ),
        picture("mended.png", "Rows: uncorrected, ladder, contrast descent, nearest normal sample"),
        "## Judges that steered nothing",
        "Flagged: at 5 % false alarms on labelled normals. Plausible: below the score that as many samples are below "
        f"as raters call normal ({normal}: so many of any samples are plausible). Diversity: mean pairwise distance "
        "over that of clean samples, in the judge's features and in those of Lite0, through which the stop rule looks. "
        "Cosine: of the features before and after. Every judge is trained on the labels of the other folds. "
        "`all moved to 0.2`: every latent moved until no early layer marks it more as broken than 0.2 of the normal "
        "samples are marked, without the stop rule: the trade-off of plausibility against diversity. `to 0.1, n steps "
        "at most`: none further than n steps of 2.3 degrees, about what 0.2 takes on average.",
        *(
            part
            for name, judge, rows in judged
            for part in (f"### {name.capitalize()}, judged in {_JUDGED_IN[judge]}", _judged_table(rows))
        ),
        "## What it shows",
        f"Rated blind, {_share(rated[DESCENT], 'plausible')} of the descended are plausible and "
        f"{_share(rated[DESCENT], 'artifact')} clear artifacts; of the ladder's {_share(rated[LADDER], 'plausible')} "
        f"and {_share(rated[LADDER], 'artifact')}.",
        *(f"{name.capitalize()}: {_against(_JUDGED_IN[judge], rows)}" for name, judge, rows in judged),
        f"The latent of a face moves by {number(ours['angle'], 0)} degrees on average, where two random ones are 90 "
        f"apart. Of {faces['n']} artifacts {percent(ours['given_up'])} are given up.",
        f"What falls short: some mended samples are borderline still; {_least_diverse(judged)}. The targets were "
        "settled by looking at these faces, and whoever rated them had seen two dozen moved ones while the method was "
        "made, if not which tile is which. The moved sample is another one nearby: hair, pose and background mostly "
        "stay, the person need not.",
    )


def _least_diverse(judged: list[tuple[str, str, dict[str, dict[str, Any]]]]) -> str:
    name, judge, rows = min(judged, key=lambda one: one[2][DESCENT]["diversity"])
    least = number(rows[DESCENT]["diversity"], 2)
    return f"the least diverse are the {name} in {_JUDGED_IN[judge]}, {least} of clean ones"


def _share(row: dict[str, Any], name: str) -> str:
    return estimate(row[name], row[f"{name}_interval"], 2)


def _against(judge: str, rows: dict[str, dict[str, Any]]) -> str:
    ours, ladder = rows[DESCENT], rows[LADDER]
    return (
        f"{judge} takes {_share(ours, 'plausible')} for plausible and flags {_share(ours, 'flagged')} (ladder: "
        f"{_share(ladder, 'plausible')} and {_share(ladder, 'flagged')}), at {number(ours['diversity'], 2)} of clean "
        f"samples' diversity (ladder: {number(ladder['diversity'], 2)})."
    )


def _judged_table(rows: dict[str, dict[str, Any]]) -> str:
    return table(
        ("method", "still flagged", "plausible", "diversity", "in Lite0", "cosine", "angle", "given up"),
        (
            (
                row["method"],
                _share(row, "flagged"),
                _share(row, "plausible"),
                number(row["diversity"], 2),
                number(row["steering_diversity"], 2),
                number(row["cosine"]),
                f"{number(row['angle'], 0)}°",
                percent(row["given_up"]),
            )
            for row in rows.values()
        ),
    )
