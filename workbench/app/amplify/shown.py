"""What the Amplify tab shows of a comparison: the sentence, the ratios, the pairs, one pair in words, charts."""

from __future__ import annotations

from html import escape
from typing import Any

import numpy as np

from genmend.diffusion.search.comparison import AmplifyRun
from genmend.diffusion.search.trials import Scores
from genmend.workbench.app.page_parts import figure_html, note_html, pixels_of, table_html
from genmend.workbench.pages.amplify import (
    BOUNDS,
    RULE,
    amplify_answer,
    change_rows,
    scorer_in_words,
)

__all__ = ["charts", "every_pair", "one_pair", "pair_in_words", "pairs", "verdict"]

SIDE, LARGE = 96, 480  # pixels: smaller images are enlarged, without blurring
GAP = 4


def verdict(run: AmplifyRun) -> str:
    """The verdict first, then the ratios beside those of the control; the words and the rule are folded."""
    first, _, rest = amplify_answer(run).in_words().partition(". ")
    told = "" if not run.edits else _ratios(run)
    return (
        f'<p class="verdict"><strong>{escape(first.rstrip("."))}.</strong></p>{told}'
        f"<details><summary>In words, and how the verdict is told</summary>{note_html(rest)}{note_html(RULE)}</details>"
    )


def _ratios(run: AmplifyRun) -> str:
    found, header = [run.comparison], ["", "amplified / original"]
    if run.control is not None:
        found.append(run.control)
        header.append(f"control ({run.settings['control']}) / original")
    columns = [dict(map(_with_bounds, change_rows(one, inside_measured=run.inside_measured))) for one in found]
    names = dict.fromkeys(name for column in columns for name in column)  # novelty may be known of one of them alone
    rows = [[name, *(column.get(name, "not known") for column in columns)] for name in names]
    gains = ", ".join(f"{edit.layer} x {getattr(edit, 'gain', 1):g}" for edit in run.edits)
    caption = f"{gains}. Means over {run.comparison.n} pairs of the same seed, 1 is no change. {BOUNDS}"
    return table_html(header, rows, caption) if rows else note_html(f"{gains}. Nothing was measured.")


def _with_bounds(row: list[Any]) -> tuple[str, str]:
    name, ratio, low, high = row
    return name, f"{ratio:.3f} [{low:.3f}, {high:.3f}]"


def pairs(run: AmplifyRun) -> list[tuple[np.ndarray, str]]:
    """Every seed's original and amplified image side by side, with the seed."""
    first = run.settings["seed"]
    return [
        (_beside([_enlarged(before, SIDE), _enlarged(after, SIDE)]), f"seed {first + number}")
        for number, (before, after) in enumerate(zip(run.images_before[0], run.images[0], strict=True))
    ]


def one_pair(run: AmplifyRun, number: int, other: str) -> tuple[np.ndarray, np.ndarray]:
    """The original of a seed, and its amplified image or that of the control, large.

    Raises
    ------
    IndexError
        If there is no such pair.
    """
    images = run.control_images if other == "control" and run.control_images is not None else run.images
    return _enlarged(run.images_before[0][number], LARGE), _enlarged(images[0][number], LARGE)


def pair_in_words(run: AmplifyRun, number: int) -> str:
    """What was measured on one pair, beside the control's image of the same seed."""
    plain, changed = run.scores
    control = run.control_scores
    said = [f"<strong>Seed {run.settings['seed'] + number}.</strong>"]
    for name in plain.usability:
        values = f"{plain.usability[name][number]:.3f} before, {changed.usability[name][number]:.3f} amplified"
        beside = "" if control is None else f", {control.usability[name][number]:.3f} control"
        said.append(f"Usability ({escape(scorer_in_words(name))}): {values}{beside}.")
    if _measured(run):
        said.append(f"Novelty: {_novelties(run, number)}.")
    else:
        said.append("Novelty was not measured: it needs images of a cloud.")
    return f'<p id="amplify-pair-words">{" ".join(said)}</p>'


def every_pair(run: AmplifyRun) -> str:
    """A row of scores for every seed."""
    plain, changed = run.scores
    columns: list[tuple[str, Any]] = [("seed", range(run.settings["seed"], run.settings["seed"] + len(run.images[0])))]
    kinds: list[tuple[str, Scores | None]] = [("", plain), (", amplified", changed), (", control", run.control_scores)]
    for kind, scores in kinds:
        if scores is not None:
            columns += [(f"{name}{kind}", values) for name, values in scores.usability.items()]
            if _measured(run):
                columns.append((f"novelty{kind}", scores.novelty))
    names, values = zip(*columns, strict=True)
    rows = [[_plain(value) for value in row] for row in zip(*values, strict=True)]
    note = " A dash: it lies outside the real images, where novelty does not count." if run.inside_measured else ""
    return table_html(names, rows, f"Higher is more usable, or newer.{note}")


def charts(run: AmplifyRun) -> str:
    """Novelty of all images, and the search where there was one."""
    found = []
    chart = run.plot() if run.edits else None
    if chart is not None:
        found.append(figure_html(chart, "Histogram of novelty, original and amplified"))
    if run.search is not None:
        found.append(figure_html(run.search.plot(), "Every choice of gains that the search measured"))
    return f'<div class="figures">{"".join(found)}</div>' if found else ""


def _measured(run: AmplifyRun) -> bool:
    return bool(run.settings["n_cloud"])


def _novelties(run: AmplifyRun, number: int) -> str:
    kinds = (("before", run.scores[0]), ("amplified", run.scores[1]), ("control", run.control_scores))
    outside = "outside the real images" if run.inside_measured else "not counted"
    return ", ".join(
        f"{outside if np.isnan(scores.novelty[number]) else f'{scores.novelty[number]:.2f}'} {name}"
        for name, scores in kinds
        if scores is not None
    )


def _plain(value: Any) -> Any:
    if isinstance(value, int):
        return value
    return None if np.isnan(value) else float(value)


def _enlarged(image: Any, side: int) -> np.ndarray:
    pixels = pixels_of(image)
    times = max(1, side // max(pixels.shape[:2]))
    return pixels.repeat(times, 0).repeat(times, 1)


def _beside(images: list[np.ndarray]) -> np.ndarray:
    gap = np.full((images[0].shape[0], GAP, 3), 128, dtype=np.uint8)
    return np.concatenate([images[0], gap, images[1]], axis=1)
