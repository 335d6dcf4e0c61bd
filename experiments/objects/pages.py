"""What the page of the vessels says; every figure comes from its results.json."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from experiments.markdown import document, estimate, number, percent, picture, table

_REGIMES = {"one_step": "One unguided step (the distilled pipeline)", "steps": "Several steps (the trained pipeline)"}
_PROMPTS = {"plain": '"a cup"', "creative": '"a creative cup"'}


def creativity(results: dict[str, Any]) -> str:
    """What draws more creative vessels, counted by an exact judge."""
    parts = [
        "# What draws more creative pictures, where an exact judge counts them?",
        "**Asked**: at equal cost, what gives more pictures that are intact, of the prompted kind, and new?",
        "**On**: a world of vessels drawn from ten known factors. A kind is a box of shapes; what is typical of it is "
        "the middle of that box in a few styles. 95 % of the training pictures were typical, 5 % were rare ones whose "
        'caption says "creative", and a part of the valid vessels was never shown. The pipeline (1.7 M weights) has '
        "the blocks of SDXL, so that published gains fit slot by slot.",
        "**Judge**: a network reads the factors, gradient descent refines them, and the vessel is rendered again. "
        "Intact: the rendered vessel is the picture. Creative: intact, right, and rare or never shown. Place, size, "
        "exposure and background never count.",
        "**Command**: `python -m experiments.objects.creativity` (the pipeline by `.train_pipeline` and `.distil`, the "
        "judge by `.train_judge`).",
        "**Control**: plain drawing with the same seeds, which costs nothing to find. The strength of each way was "
        "chosen by its creative share on other seeds; each band of the spectrum tried the same gains. Calls: of the "
        "U-Net, for each that plain drawing takes. Intervals: 95 %, over pictures.",
    ]
    for name, title in _REGIMES.items():
        if name in results:
            parts += [f"## {title}", *_regime(name, results[name])]
    return document(*parts)


def _regime(name: str, found: Mapping[str, Any]) -> list[str]:
    parts = [
        f"Kinds: {', '.join(found['kinds'])}; seeds {_seeds(found, 'report')}, chosen on {_seeds(found, 'choice')}."
    ]
    for words, measured in found["prompts"].items():
        rows = measured["rows"]
        parts += [
            f"**The prompt is {_PROMPTS[words]}**:",
            table(
                ("way", "strength", "calls", "creative, %", "more than plain", "never shown, %", "intact, %", "spread"),
                (
                    (
                        row["way"],
                        row["strength"] or "-",
                        number(row["cost"], 0),
                        _share(row["creative"]),
                        _share(row["more_creative"], sign=True) if row["way"] != "plain" else "-",
                        _share(row["unseen"]),
                        number(100 * row["intact"][0], 0),
                        number(row["spread"], 2),
                    )
                    for row in rows
                ),
            ),
            _said(rows),
        ]
    newest = found["newest"]
    parts += [
        picture(
            f"{name}.png",
            "A row for each way of the second table, two seeds of each kind; green frames: creative, red: broken",
        ),
        "**Does the judge count what does not count?**",
        table(
            ("pictures", "creative, %", "never shown, %", "intact, %"),
            (
                *((f"rendered vessels, {row['region']}", *_shares(row)) for row in found["rendered"]),
                *((f"drawn, {row['change']}", *_shares(row)) for row in found["trivial"]),
            ),
        ),
        f"**The newest of {newest['of']}** plain pictures, by `genmend.diffusion.Novelty` on {newest['features']} "
        f"features: {_share(newest['creative_of_newest'])} % are creative, of all "
        f"{_share(newest['creative_of_plain'])} %; it takes as many times the calls.",
    ]
    return parts


def _said(rows: list[dict[str, Any]]) -> str:
    plain, others = rows[0], rows[1:]
    better = [row for row in others if row["more_creative"][1] > 0]
    worse = [row for row in others if row["more_creative"][2] < 0]
    if not better:
        said = f"No way draws more creative vessels than plain drawing ({_share(plain['creative'])} %)."
    else:
        best = max(better, key=lambda row: row["creative"][0] / row["cost"])
        said = (
            f"More than plain drawing ({_share(plain['creative'])} %): "
            + ", ".join(f"{row['way']} ({_share(row['creative'])} %)" for row in better)
            + f". Most for each call of the U-Net: {best['way']}, {percent(best['creative'][0] / best['cost'], 1)}."
        )
    if worse:
        said += f" Fewer: {', '.join(row['way'] for row in worse)}."
    return said


def _shares(row: Mapping[str, Any]) -> tuple[str, str, str]:
    return _share(row["creative"]), _share(row["unseen"]), number(100 * row["intact"][0], 0)


def _share(found: list[float], *, sign: bool = False) -> str:
    value, *ends = (100 * part for part in found)
    return estimate(value, ends, 1, sign=sign)


def _seeds(found: Mapping[str, Any], name: str) -> str:
    first, last = found["seeds"][name]
    return f"{first}-{last}"


PAGES: tuple[Callable[[Any], str], ...] = (creativity,)
