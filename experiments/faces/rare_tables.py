"""Table, verdicts in words and picture of the rare faces' experiment."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw

from genmend.gans import Generator
from genmend.gans.rare import RareSamples
from genmend.manifold.figures.image_grid import to_pixels

SEARCHED, UNSEEN = "efficientnet-lite0", "mobilenet-v2"


def tables(results: dict[str, Any]) -> str:
    shown = [("rarity", f"rarity_{SEARCHED}"), ("with 0", f"rarity_outside_0_{SEARCHED}")]
    shown += [("inside", f"inside_{SEARCHED}"), ("rarity MN", f"rarity_{UNSEEN}")]
    shown += [("with 0 MN", f"rarity_outside_0_{UNSEEN}"), ("inside MN", f"inside_{UNSEEN}"), ("artifact", "artifact")]
    shown += [("pairs MN", "pairwise"), (f"frechet_{UNSEEN}", "frechet")]
    rows = [results["references"], *results["rows"]]
    lines = [f"{'method':<28}{'found':>10}" + "".join(f"{head:>21}" for head, _ in shown)]
    for row in rows:
        found = f"{row['n_found']}/{row['n_asked']}"
        lines.append(f"{row['method']:<28}{found:>10}" + "".join(f"{_cell(row[name]):>21}" for _, name in shown))
    pearson = results["pearson_minus_log_prob_rarity"]
    about = (
        f"rarity: mean rarity percentile of what is inside; with 0: the same, what is outside or given up counts 0.\n"
        f"First in {SEARCHED}, which was searched; MN: {UNSEEN}, which had no part in it. artifact: share that a\n"
        f"judge flags on {UNSEEN}, trained on the labelled faces, 5 % false alarms. 95 % bootstrap intervals.\n"
        f"In {SEARCHED} ours, the gated and the local rows are inside by construction.\n"
        f"Pearson of -log p with rarity over own normal samples: {pearson:.3f}\n\n"
    )
    return "\n".join(lines) + "\n\n" + about + _notes(results)


def _cell(value: Any) -> str:
    if isinstance(value, list):
        return "{:.3f} [{:.3f}, {:.3f}]".format(*value)
    return "" if value is None else f"{value:.3f}"


def _notes(results: dict[str, Any]) -> str:
    by_method = {row["method"]: row for row in results["rows"]}
    ours, plain = by_method["ours"], by_method["plain"]
    lines = []
    for name in (SEARCHED, UNSEEN):
        lines += [
            _condition(f"{name}: mean rarity percentile >= 0.90", _mean(ours, f"rarity_{name}") >= 0.9),
            _condition(
                f"{name}: inside share no lower than plain's",
                _mean(ours, f"inside_{name}") >= _mean(plain, f"inside_{name}"),
            ),
        ]
    lines.append(
        _condition("artifact share no higher than plain's", _mean(ours, "artifact") <= _mean(plain, "artifact"))
    )
    for name, row in by_method.items():
        if "best of n" in name:
            for space in (SEARCHED, UNSEEN):
                lines.append(
                    _condition(
                        f"ours rarer than {name} ({space})",
                        _mean(ours, f"rarity_{space}") > _mean(row, f"rarity_{space}"),
                    )
                )
    return "\n".join(lines) + "\n"


def _mean(row: dict[str, Any], figure: str) -> float:
    """NaN, with which no condition holds, where nothing was found."""
    return row[figure][0] if row[figure] else np.nan


def _condition(what: str, holds: bool) -> str:
    return f"{'holds' if holds else 'FAILS':<6} {what}"


def write_grid(path: Path, generator: Generator, samples: RareSamples, n_shown: int = 6, side: int = 128) -> None:
    """A reference a row and its versions beside it, each with its rarity percentile; grey where given up."""
    n = samples.n_versions
    grid = Image.new("RGB", ((n + 1) * (side + 8) + 8, n_shown * (side + 24) + 8), "white")
    draw = ImageDraw.Draw(grid)
    of_reference = to_pixels(generator.generate(torch.from_numpy(samples.reference_latents)))
    filled = np.where(samples.found[:, None], samples.latents.reshape(len(samples.found), -1), 0)
    of_version = to_pixels(generator.generate(torch.from_numpy(filled.reshape(samples.latents.shape))))
    for row in range(min(n_shown, len(of_reference))):
        for column in range(n + 1):
            x, y, version = 8 + column * (side + 8), 8 + row * (side + 24), row * n + column - 1
            pixels = of_reference[row] if column == 0 else of_version[version]
            rarity = samples.reference_rarity_percentile[row] if column == 0 else samples.rarity_percentile[version]
            if column and not samples.found[version]:
                draw.rectangle((x, y, x + side, y + side), fill="lightgrey")
                text = "given up"
            else:
                grid.paste(Image.fromarray(pixels).resize((side, side), Image.Resampling.BICUBIC), (x, y))
                text = "outside" if np.isnan(rarity) else f"{rarity:.2f}"
            draw.text((x, y + side + 4), ("reference " if column == 0 else "") + text, fill="black")
    grid.save(path)
