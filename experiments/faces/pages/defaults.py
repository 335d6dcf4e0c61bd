"""Pages of what the commands do by default, on two generators."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from experiments.faces.pages.correction import NORMAL
from experiments.markdown import document, estimate, number, percent, table


def defaults(results: dict[str, Any]) -> str:
    """What the commands do without labels: the new defaults beside those before."""
    falls_short = (
        "What falls short: the two shares that the learned score is taught by, the false share, and that doubtful "
        "samples are not taken for normal either (where they were, fewer came out mended) were settled on these "
        "faces; that neurons teach the score, on seeing its AUROC on these and on the portraits. The share of "
        "normals visibly changed on the folds held back, above, is the fairer one. So another generator may need "
        "another threshold (`--gate-at`, `--flagged-share`). Reach is no promise of a plausible face: a judge that "
        "no longer flags a sample is not a rater."
    )
    return _defaults(
        results, "defaults", "What detect and correct do without labels", "700 labelled faces", falls_short
    )


def portraits(results: dict[str, Any]) -> str:
    """The same on a second generator."""
    falls_short = (
        "Targets and ladder were not settled on these samples. Two things were: the threshold (the one that serves the "
        "other faces opened for few of these artifacts, so that as many samples are flagged as may be broken, up to a "
        "fifth: `default_threshold` in `gans/detection/tail.py`), and that neurons teach the learned score, on seeing "
        "its AUROC on both sets. More than half of the artifacts still pass "
        "the gate. A wider one (`--flagged-share`; the rows `of own`) reaches more of them, and opens for more normal "
        "samples, here and more so on the other faces; a score trained on labels tells how far any gate on these "
        "features can get. One rater rated the samples, so clear artifact and normal stand for the consensus of two, "
        "and what was rated borderline, nearly half, is left out."
    )
    what = "300 rated portraits, of a second real generator"
    title = "What detect and correct do without labels on a generator that nobody tuned to"
    return _defaults(results, "portraits", title, what, falls_short)


def _defaults(results: dict[str, Any], script: str, title: str, what: str, falls_short: str) -> str:
    rows = {row["gate"]: row for row in results["gates"]}
    new, old, random = (rows[n] for n in ("default", "before: fixed 5 %, Lite0", "random neurons, default"))
    choice, tail = results["choice"], results["tail"]
    decides = {row["defaults"]: row for row in results["detection"] if row["score"].endswith("decides")}
    figures = ("reach", "still_flagged", "normals_tried", "normals_changed", "normals_visible", "normals_flagged_anew")

    def shown(value: list[float]) -> str:
        return estimate(value[0], value[1:])

    return document(
        f"# {title}",
        "**Asked**: how many broken faces do the defaults of `genmend detect` and `genmend correct` reach and mend "
        "when nobody gives a label, and what do they do to normal ones?",
        f"**On**: the {what}. Detector, gate, threshold and ladder come from the generator's own samples "
        f"alone, which none of the labelled ones is among. {NORMAL}",
        f"**Command**: `python -m experiments.faces.{script} --judge {results['judge']}` (seed {results['seed']}).",
        f"**Controls**: the same ladder on random neurons behind the same gate; a fixed 5 %. The judge, "
        f"{results['judge']}, steered nothing; it is trained on the labels of the other folds, at 5 % false alarms on "
        "uncorrected consensus normals.",
        "## Detection",
        "AUROC of each score, and the share of the consensus artifacts above the value that 3 % of the consensus "
        "normals exceed: no gate on that score that opens for so few normals reaches more.",
        table(
            ("defaults", "score", "AUROC, consensus", "AUROC, full", "reach at 3 % of the normals"),
            (
                (r["defaults"], r["score"], shown(r["consensus"]), shown(r["full"]), shown(r["reach_at_few"]))
                for r in results["detection"]
            ),
        ),
        "## Gates",
        "Reach: share of the consensus artifacts that the gate opens for. Still flagged: by the judge, of all of "
        "them. The other columns are shares of the consensus normals; visibly: by an RMSE above 0.05 of the range "
        "0..1. Anew: not flagged by the judge before the correction, but after it. Fewer: of the artifacts that the "
        "judge flags before, the share it no longer flags.",
        table(
            ("gate", "reach", "still flagged", "tried", "changed", "visibly", "flagged anew", "fewer"),
            ((r["gate"], *(shown(r[f]) for f in figures), percent(r["fewer"])) for r in results["gates"]),
        ),
        "## Where the threshold lies",
        f"By the empirical null {percent(tail['broken_share_interval'][0])} to "
        f"{percent(tail['broken_share_interval'][1])} of the own samples are beyond chance; the default flags "
        f"{percent(results['own_flagged'])} of them. How many of the samples just above the threshold may be normal "
        "(the false share) was chosen with labels: on four folds the one of most reach that visibly "
        "changes at most 3 % of their normals, told on the fifth.",
        table(
            ("false share", "own samples flagged", "reach", "normals tried", "normals visibly changed"),
            (
                (
                    number(r["false_share"], 2),
                    percent(r["own_flagged"]),
                    number(r["reach"]),
                    number(r["normals_tried"]),
                    number(r["normals_visible"]),
                )
                for r in choice["by_share"]
            ),
        ),
        f"Chosen in the five folds: {', '.join(number(s, 2) for s in choice['chosen'])}; reach on the folds held back "
        f"{number(choice['reach'])}, normals visibly changed {number(choice['normals_visible'])}.",
        "## What it shows",
        f"The default reaches {shown(new['reach'])} of the artifacts, the one before it {shown(old['reach'])}; the "
        f"judge still flags {shown(new['still_flagged'])} against {shown(old['still_flagged'])}, with random neurons "
        f"{shown(random['still_flagged'])}. Normals visibly changed: {shown(new['normals_visible'])}, flagged anew: "
        f"{shown(new['normals_flagged_anew'])}. The score that decides has AUROC "
        f"{shown(decides['new']['consensus'])}, before {shown(decides['before']['consensus'])}.",
        falls_short,
    )


PAGES: tuple[Callable[[Any], str], ...] = (defaults, portraits)
