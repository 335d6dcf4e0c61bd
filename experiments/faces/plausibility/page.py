"""What the page on plausible corrections says; every figure comes from results.json."""

from __future__ import annotations

from typing import Any

from experiments.markdown import document, estimate, number, percent, picture, table

CLIP, MOBILENET = "clip-vit-b16", "mobilenet-v2"
LADDER, DESCENT = "ladder", "contrast descent"
_JUDGED_IN = {CLIP: "CLIP", MOBILENET: "MobileNetV2"}


def plausible(results: dict[str, Any]) -> str:
    """Whether what is mended is plausible, diverse, and still the same picture."""
    faces, portraits = results["faces"], results["portraits"]
    rated = {row["method"]: row for row in results["ratings"]}
    judged = {judge: {row["method"]: row for row in rows} for judge, rows in faces["judges"].items()}
    others = {row["method"]: row for row in portraits["judges"][MOBILENET]}
    return document(
        "# Mended, and plausible?",
        "**Asked**: are mended faces plausible, as diverse as clean samples are, and still the same face? And does "
        "moving the latent by contrast (`contrast-descent`, the default of `genmend correct`) do better than editing "
        "neurons (`ladder`)?",
        f"**On**: {faces['n']} clear artifacts of the face generator, for both raters, and {portraits['n']} of a "
        "second real generator, portraits (one rater); `experiments/data`.",
        "**Command**: `python -m experiments.faces.plausible` (seed 0). No labels and no gate in the correction: every "
        "method is tried on every artifact, with the same stop rule.",
        "**Controls**: descent along as many random neurons; the latent turned by the same angle at random; "
        "the nearest normal sample, the way towards it, and another sample altogether, which are new pictures rather "
        "than mended ones.",
        "## Blind ratings",
        f"{sum(row['n'] for row in rated.values())} tiles, shuffled, rated once by a model that did not know which "
        "is which: plausible, borderline or clear artifact, with 95 % bootstrap intervals.",
        table(
            ("method", "tiles", "plausible", "clear artifact"),
            (
                (
                    name,
                    row["n"],
                    estimate(row["plausible"], row["plausible_interval"], 2),
                    estimate(row["artifact"], row["artifact_interval"], 2),
                )
                for name, row in rated.items()
            ),
        ),
        picture("mended.png", "Rows: uncorrected, ladder, contrast descent, nearest normal sample"),
        "## Judges that steered nothing",
        "Flagged: at 5 % false alarms on labelled normals. Plausible: below the score that as many samples are "
        f"below as raters call normal ({percent(faces['normal_share'])} of the faces, "
        f"{percent(portraits['normal_share'])} of the portraits: so many of any samples are plausible). Diversity: "
        "mean pairwise distance over that of clean samples. Cosine: of the features before and after. Every judge is "
        "trained on the labels of the other folds.",
        *(
            part
            for judge, rows in faces["judges"].items()
            for part in (f"### Faces, judged in {_JUDGED_IN[judge]}", _judged_table(rows))
        ),
        "### Portraits, judged in MobileNetV2",
        _judged_table(portraits["judges"][MOBILENET]),
        "`all moved to 0.2`: every latent moved until no early layer marks it more as broken than 0.2 of the normal "
        "samples are marked, without the stop rule: the trade-off of plausibility against diversity.",
        "## What it shows",
        f"Rated blind, {_share(rated[DESCENT], 'plausible')} of the descended are plausible and "
        f"{_share(rated[DESCENT], 'artifact')} clear artifacts, of the ladder's {_share(rated[LADDER], 'plausible')} "
        f"and {_share(rated[LADDER], 'artifact')}. "
        + " ".join(_against(_JUDGED_IN[judge], rows) for judge, rows in judged.items())
        + f" On the portraits: {_against('MobileNetV2', others)}",
        f"The latent moves by {number(judged[CLIP][DESCENT]['angle'], 0)} degrees on average, where two random ones "
        "are 90 apart; moved as far in a random direction, "
        f"{_share(judged[CLIP]['random turn of the same angle'], 'flagged')} stay flagged.",
    )


def _share(row: dict[str, Any], name: str) -> str:
    return estimate(row[name], row[f"{name}_interval"], 2)


def _against(judge: str, rows: dict[str, dict[str, Any]]) -> str:
    ours, ladder = rows[DESCENT], rows[LADDER]
    return (
        f"{judge} takes {_share(ours, 'plausible')} for plausible and flags {_share(ours, 'flagged')} (ladder: "
        f"{_share(ladder, 'plausible')} and {_share(ladder, 'flagged')}), at {number(ours['diversity'], 2)} of clean "
        f"samples' diversity (ladder: {number(ladder['diversity'], 2)})."
    )


def _judged_table(rows: list[dict[str, Any]]) -> str:
    return table(
        ("method", "still flagged", "plausible", "diversity", "cosine", "angle", "given up"),
        (
            (
                row["method"],
                _share(row, "flagged"),
                _share(row, "plausible"),
                number(row["diversity"], 2),
                number(row["cosine"]),
                f"{number(row['angle'], 0)}°",
                percent(row["given_up"]),
            )
            for row in rows
        ),
    )
