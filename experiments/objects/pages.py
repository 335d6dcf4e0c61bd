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
    call, rows = found["call"], found["prompts"]["creative"]["rows"]
    n_tried = max(len(row["choice"]) for row in rows if row["way"].startswith("search"))
    parts = [
        f"Kinds: {', '.join(found['kinds'])}; steps {call['num_inference_steps']}, guidance "
        f"{call['guidance_scale']:g}; seeds {_seeds(found, 'report')}, chosen on "
        f"{_seeds(found, 'choice')}; {n_tried} sets of gains for each band."
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
            "Two seeds of each kind for each way of the first table; green frame: creative, red: broken, another kind",
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
    better = [row for row in others if row["more_creative_corrected"][1] > 0]
    worse = [row for row in others if row["more_creative_corrected"][2] < 0]
    level = percent(1 - 0.05 / len(others), 1)
    if not better:
        said = f"No way draws more creative vessels than plain drawing ({_share(plain['creative'])} %) with confidence."
    else:
        best = max(better, key=lambda row: row["creative"][0] / row["cost"])
        said = (
            f"More than plain drawing ({_share(plain['creative'])} %): "
            + ", ".join(f"{row['way']} ({_share(row['creative'])} %)" for row in better)
            + f". Most for each call of the U-Net: {best['way']}, {percent(best['creative'][0] / best['cost'], 1)}."
        )
    if worse:
        said += f" Fewer: {', '.join(row['way'] for row in worse)}."
    alone = [row["way"] for row in others if row["more_creative"][1] > 0 and row not in better]
    if alone:
        said += f" At 95 % for each way alone, and not counted: {', '.join(alone)}."
    return f"With {level} for each of {len(others)} ways: {said}"


def _shares(row: Mapping[str, Any]) -> tuple[str, str, str]:
    return _share(row["creative"]), _share(row["unseen"]), number(100 * row["intact"][0], 0)


def _share(found: list[float], *, sign: bool = False) -> str:
    value, *ends = (100 * part for part in found)
    return estimate(value, ends, 1, sign=sign)


def _seeds(found: Mapping[str, Any], name: str) -> str:
    first, last = found["seeds"][name]
    return f"{first}-{last}"


def summary(results: Mapping[str, Any]) -> str:
    """One page on both worlds: what draws more creative pictures than more seeds do."""
    rows = []
    for name, found in results["objects/creativity"].items():
        for words, measured in found["prompts"].items():
            plain, *others = measured["rows"]
            title = f"{_REGIMES[name][0].lower()}{_REGIMES[name][1:]}"
            ways = [row | {"more": row["more_creative_corrected"], "whole": row["usable"][0]} for row in others]
            rows.append(_line(f"vessels, {title}, {_PROMPTS[words]}", plain["creative"], plain["usable"][0], ways))
    garments = results["garments/creativity"]["rows"]
    ways = [
        row | {"way": name, "more": row["more_keepers_corrected"]} for name, row in garments.items() if "about" in row
    ]
    plain = garments["plain"]
    rows.append(_line("garments, 6 steps", [value / 100 for value in plain["keepers"]], plain["whole"], ways))
    return document(
        "# What makes a pipeline draw more creative pictures?",
        "**Asked**: at equal cost, does amplification of low frequencies, or anything else, give more pictures that "
        "are whole, right and new than more seeds do?",
        "**Where**: two worlds. [Vessels](objects-creativity.md): drawn from known factors, so that an exact judge "
        "counts what is whole and new. [Garments](garments-creativity.md): real pictures, judged by networks, with "
        "rules that were committed before the seeds were drawn. [The space](garments-novelty_spaces.md) in which a "
        "zoom is not new.",
        table(
            (
                "pictures",
                "creative with more seeds, %",
                "give more, and keep 0.9 of the whole ones",
                "give more, and break pictures",
                "give fewer",
            ),
            rows,
        ),
        "Named are ways whose interval of the difference, corrected for the number of ways, lies above or below 0.",
    )


def _line(where: str, plain: list[float], whole: float, ways: list[dict[str, Any]]) -> tuple[str, ...]:
    more = [row for row in ways if row["more"][1] > 0]
    kept = [row["way"] for row in more if row["whole"] >= 0.9 * whole]
    breaking = [row["way"] for row in more if row["whole"] < 0.9 * whole]
    fewer = [row["way"] for row in ways if row["more"][2] < 0]
    return where, _share(plain), *("; ".join(names) or "none" for names in (kept, breaking, fewer))


PAGES: tuple[Callable[[Any], str], ...] = (creativity,)
