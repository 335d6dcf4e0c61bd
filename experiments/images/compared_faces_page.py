"""What the page on three sets of the face generator says."""

from __future__ import annotations

from typing import Any

from experiments.faces.pages.correction import NORMAL
from experiments.markdown import document, interval, number, picture, table


def compared_faces(results: dict[str, Any]) -> str:
    """Plain, corrected and truncated faces on one page."""
    names = list(results["models"])
    k, ranks = next(iter(results["ranks"].items()))
    rows = []
    for metric, by_name in ranks.items():
        cells = []
        for name in names:
            one = by_name[name]
            cells.append(
                f"{number(results['models'][name]['k'][k][metric])} ({one['rank']}{' =' * bool(one['tied_with'])})"
            )
        rows.append((metric, *cells))
    alike = results["models"][names[0]]["k"][k]
    first = [one for one in results["differences"] if str(one["k"]) == k and one["metric"] in ("precision", "recall")]
    return document(
        "# Three sets of faces on one page",
        "**Asked**: what does `genmend score REFERENCE A B C` tell of one generator, plain, corrected and truncated?",
        f"**On**: the 64x64 face generator, {results['n']} samples of the same latents (seed {results['seed']}) as "
        f"they are, corrected ({results['n_changed']} changed, {results['n_given_up']} given up and left as they "
        f"were), and with latents {results['psi']} times as long; the reference, kept by `genmend features`, is "
        f"{results['n_reference']} own-normal samples of other latents. Features: {results['extractor']}, which had no "
        f"part in the correction. {NORMAL}",
        "**Command**: `python -m experiments.images.compared_faces`.",
        f"**Control**: two sets alike would have a precision and recall of {number(alike['expected_precision'])} and a "
        f"coverage of {number(alike['expected_coverage'])} (k = {k}). Ranks come from {results['bootstrap']} "
        "halves of the sets; = is a tie, no difference beyond chance ([how often it holds](images-compared_sets.md)).",
        picture("page.png", "The page as a browser shows it: the answer, the ranks, the plane, samples side by side."),
        table(("metric", *names), rows),
        "## What it shows",
        "; ".join(
            f"best {metric}: {' and '.join(name for name in names if ranks[metric][name]['rank'] == 1)}"
            for metric in ("precision", "recall")
        ).capitalize()
        + ". The same latents are compared row by row, so the correction's gain in precision is told from chance with "
        "few samples; truncation gains as much and loses recall.",
        "Differences, for all pairs at once:",
        table(
            ("metric", "sets", "difference", "so"),
            (
                (one["metric"], f"{one['first']} less {one['second']}",
                 f"{number(one['value'], sign=True)} {interval((one['low'], one['high']), sign=True)}",
                 "a tie" if one["tie"] else f"{one['better']} is better")
                for one in first
            ),
        ),
    )  # fmt: skip
