"""The page of ``genmend explain``: the maps of the best methods first, then how good each is, and what was left out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from genmend.concepts.loop.explain_images import ExplainRun
from genmend.workbench.pages.page import Answer, Facts, Figure, Number, Paragraph, Section, Table, write_report

__all__ = ["explain_answer", "write_explain_page"]

N_ROWS = 12


def explain_answer(totals: dict[str, Any]) -> Answer:
    """What the model says and which method to look at first, and how faithful it is beside noise."""
    methods = totals["methods"]
    best, control = methods[0], methods[-1]
    said = ", ".join(
        f"{name} is {label} (p = {p:.2f})"
        for name, label, p in list(zip(totals["images"], totals["classes"], totals["probabilities"], strict=True))[:3]
    )
    more = f", and {len(totals['images']) - 3} more" if len(totals["images"]) > 3 else ""
    if best is control:
        return Answer(f"{totals['model']} says: {said}{more}. No method serves this model.")
    own, noise = best["scores"]["AbPC"], control["scores"]["AbPC"]
    # Of two images the interval is wider than the range of the measure.
    half = f" ± {own['half_width']:.2f}" if len(totals["images"]) > 2 else ""
    doubts = (
        []
        if own["mean"] > noise["mean"] + 0.02
        else ["No method is more faithful than noise here: do not trust the maps."]
    )
    return Answer(
        f"{totals['model']} says: {said}{more}. To look at first: {best['method']}.",
        Number(
            "Removing pixels in its order moves the probability by",
            f"{own['mean']:.2f}{half}",
            f"uniform noise: {noise['mean']:.2f}",
        ),
        doubts,
        more="AbPC, from -1 to 1, higher is better: the mean over shares of pixels removed of the probability when the "
        "least important go first, less that when the most important do.",
    )


def write_explain_page(path: Path, run: ExplainRun) -> None:
    """Write the page."""
    totals, found = run.to_dict(), run.explanations
    names = [measure.name for measure in found.measures]
    rows = [
        [
            each.method,
            # Two digits: images differ by more, and so many columns stay on the screen.
            *(round(each.mean(name)[0], 2) for name in names),
            each.passes,
            round(each.seconds, 2),
            "; ".join(each.warnings),
        ]
        for each in found.explained
    ]
    said: dict[str, list[str]] = {}
    for each in found.explained:
        for warning in each.warnings:
            said.setdefault(warning, []).append(each.method)
    warned = [f"{', '.join(methods)}: {warning}" for warning, methods in said.items()]
    if found.facts.spread > 0:
        warned.insert(0, f"Two runs of the model on one input differ by {found.facts.spread:.2g}: maps are of one run.")
    maps = Figure(
        "Red speaks for the class, blue against it; the best method stands left. Per pixel: explanations.npz.",
        found.plot(run.images[:N_ROWS], names=totals["classes"]),
    )
    write_report(
        path,
        "genmend explain",
        replace(explain_answer(totals), pictures=[maps]),
        [
            *([Section("Warnings of the methods", [Paragraph("\n\n".join(warned))])] if warned else []),
            Section(
                "Which method to trust",
                [
                    Table(
                        "Means over the images, in order of rank by the weights below; those that explain another "
                        "class or random weights alike stand last; 'random' is uniform noise, the control. "
                        f"None is better in every property than: {', '.join(found.pareto)}.",
                        ["method", *names, "runs of the model", "CPU seconds an image", "warning"],
                        rows,
                    ),
                    *_tuning(run),
                    Table(
                        "What each measure asks.",
                        ["measure", "asks", "better", "property"],
                        [
                            [each.name, each.asks, "higher" if each.higher_is_better else "lower", each.property]
                            for each in found.measures
                        ],
                    ),
                ],
                closed=True,
            ),
            Section(
                "Methods that were left out",
                [
                    Table("", ["method", "why"], [[name, reason] for name, reason in found.refused.items()])
                    if found.refused
                    else Paragraph("None.")
                ],
                closed=True,
            ),
            Section(
                "Settings",
                [
                    Facts(
                        "What this run used",
                        {
                            "model": totals["model"],
                            "operations that ran": ", ".join(sorted(found.facts.families)),
                            "difference of two runs": found.facts.spread,
                            "weights": ", ".join(f"{name} {weight:g}" for name, weight in found.weights.items()),
                            "seed": found.seed,
                        },
                    )
                ],
                closed=True,
            ),
        ],
    )


def _tuning(run: ExplainRun) -> list[Table]:
    """What other settings gained on images that they were not chosen on."""
    tuned = [(each.method, each.tuned) for each in run.explanations.explained if each.tuned is not None]
    if not tuned:
        return []
    first = tuned[0][1]
    return [
        Table(
            f"Settings tuned in {first.n_trials} trials for the largest AbPC on {first.n_tuned_on} of the images, "
            f"and used where they gain on the {first.n_held_out} held-out ones; a gain whose interval holds 0 may be "
            "chance.",
            ["method", "settings", "gain, held out", "±", "gain where they were chosen", "used"],
            [
                [
                    method,
                    ", ".join(
                        f"{name} {value:.3g}" if isinstance(value, float) else f"{name} {value}"
                        for name, value in found.settings.items()
                    ),
                    found.gain,
                    found.half_width,
                    found.gain_on_tuned,
                    "yes" if found.used else "no",
                ]
                for method, found in tuned
            ],
        )
    ]
