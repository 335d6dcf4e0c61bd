"""What the page of the cures says; every figure comes from its results.json."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy.stats import beta

from experiments.markdown import document, estimate, number, percent, table
from genmend.tts.measures.paired_bootstrap import PairedDifference, paired_bootstrap

_VOICES = {"failing_tacotron": "the [failing Tacotron 2](voices-tacotron_check.md), which learnt without a guide"}


def cures(results: dict[str, Any]) -> str:
    """Which cure mends, and does any spoil?"""
    measured = dict(sorted(results["rows"].items(), key=lambda item: _place(item[0])))
    plain = measured["as it is"]
    n, n_seeds = np.shape(plain["bad"])
    seeds = ", ".join(map(str, results["seeds"]))
    ordinary = results["ordinary mended"]
    bad_before, bad_after = np.array(ordinary["bad"]).T
    spoiled = count_spoiled(ordinary)
    sounds = change_of(*np.array(ordinary["sounds"]).T)
    kept = Counter(cure for cures in ordinary["cures"] for cure in cures)
    told = ", ".join(f"{cure} {count}" for cure, count in kept.most_common()) or "none"
    worse = int((np.diff(np.array(ordinary["words"]), axis=1) > 0).sum())
    best = min((name for name in measured if name not in ("as it is", "mend")), key=lambda name: _share(measured[name]))
    return document(
        "# Which cure mends a voice whose attention fails?",
        "**Asked**: does `mend`, or any of its cures alone, mend sentences that are read badly, and does it spoil what "
        "was right? Does local repair win anywhere, against vectors moved elsewhere?",
        f"**On**: {_VOICES.get(results['voice'], results['voice'])}; the first {n} of {results['tried_for_failing']} "
        "sentences with a withheld pair "
        f"that are read badly with seed 0, each read with {n_seeds} other seeds ({seeds}); k = {results['k']}, psi = "
        f"{results['psi']:g} for repairs alone. Bad: a skip, repeat or stall of the attention, or no end.",
        "**Command**: `python -m experiments.voices.cures`.",
        "**Controls**: the same readings as they are; for repairs the mean of all vectors of the sound (global), some "
        "vector of it (random vector), both moved as far as local repair or by their own length, and a random "
        "direction as far. Intervals are 95 %, sentences drawn again in pairs.",
        "## Failing sentences",
        table(
            ("", "still bad", "change", "mended / spoiled", "word errors", "phoneme errors", "CPU s"),
            (_row(name, row, plain) for name, row in measured.items()),
        ),
        "Mended and spoiled count readings. Word errors (Whisper) and phoneme errors (hama) are rates of the first of "
        "the seeds, with their change; CPU seconds of a reading, judged where the row is `mend`, on one core. "
        "The split at commas and its place among the cures were chosen on other failing sentences; sentences without a "
        "comma, which it can't change, keep what was measured before it was there.",
        "## Ordinary sentences",
        f"Of {len(bad_before)} ordinary sentences that were never learnt {int(bad_before.sum())} are read badly; after "
        f"`mend` {int(bad_after.sum())}. **Spoiled by their attention: {spoiled}** "
        f"({share_interval(spoiled, len(bad_before))}), with more words heard wrongly: {worse}. "
        f"{sum(ordinary['changed'])} were changed (kept: {told}), after {np.mean(ordinary['readings']):.1f} further "
        f"readings a sentence; phoneme errors, which `mend` never asks for, change by {sounds}. It takes "
        f"{ordinary['cpu_seconds']:.1f} CPU seconds a sentence, judges of this experiment included.",
        "## What it shows",
        f"As it is {percent(_share(plain))} of the readings are bad; after `mend` {_left(measured)}. The best single "
        f"row is {best} with {percent(_share(measured[best]))}. {repair_wins(measured, plain)}"
        f"{_embedding(measured, plain)}",
    )


def count_spoiled(ordinary: Mapping[str, Any]) -> int:
    """Ordinary sentences that were read well and are read badly after `mend`."""
    before, after = np.array(ordinary["bad"]).T
    return int(((before == 0) & (after == 1)).sum())


def _place(name: str) -> tuple[int, str]:
    """Where a row stands, in whatever order the rows were measured: repairs layer after layer."""
    kinds = ("as it is", "mend", "attention", "best of", "split", "respelling")
    kind = next((number for number, begins in enumerate(kinds) if name.startswith(begins)), len(kinds))
    return kind, ",".join(reversed(name.split(", "))) if kind == len(kinds) else name


def _row(name: str, row: Mapping[str, Any], plain: Mapping[str, Any]) -> tuple[str, ...]:
    before, after = (np.array(one["bad"]) for one in (plain, row))
    found = _difference(before.mean(axis=1), after.mean(axis=1))
    mended, spoiled = int(((before == 1) & (after == 0)).sum()), int(((before == 0) & (after == 1)).sum())
    words, sounds = (_difference(np.array(plain[of]), np.array(row[of])) for of in ("word_errors", "phoneme_errors"))
    same = name == "as it is"
    return (
        name,
        number(after.mean()),
        "" if same else _change(found),
        "" if same else f"{mended} / {spoiled}",
        number(words.after) if same else f"{number(words.after)}, {_change(words)}",
        number(sounds.after) if same else f"{number(sounds.after)}, {_change(sounds)}",
        number(row["cpu_seconds"], 2),
    )


def _difference(before: np.ndarray, after: np.ndarray) -> PairedDifference:
    return paired_bootstrap(before, after, n_resamples=2_000)


def _change(found: PairedDifference) -> str:
    return estimate(found.difference, (found.low, found.high), sign=True)


def change_of(before: np.ndarray, after: np.ndarray) -> str:
    """The mean change with its interval, sentences drawn again in pairs."""
    return _change(_difference(before, after))


def _share(row: Mapping[str, Any]) -> float:
    return float(np.mean(row["bad"]))


def _left(measured: Mapping[str, Any]) -> str:
    if "mend" not in measured:
        return "not measured"
    bad = np.array(measured["mend"]["bad"])
    return f"{percent(bad.mean())} ({int(bad.sum())} of {bad.size})"


def repair_wins(measured: Mapping[str, Any], plain: Mapping[str, Any]) -> str:
    """Where local repair beats every control of its layer, if anywhere."""
    wins, layers = [], [name.removeprefix("local, ") for name in measured if name.startswith("local, ")]
    for layer in layers:
        local = np.array(measured[f"local, {layer}"]["bad"]).mean(axis=1)
        against = [name for name in measured if name.endswith(f", {layer}") and not name.startswith("local")]
        tried = [_difference(np.array(measured[name]["bad"]).mean(axis=1), local) for name in ("as it is", *against)]
        if len(against) >= 3 and all(found.high < 0 for found in tried):
            wins.append(layer)
    if not layers:
        return ""
    if wins:
        return (
            f"Local repair beats the reading as it is and every control, intervals apart from 0, in {', '.join(wins)}."
        )
    return "Local repair beats the reading as it is and all its controls, intervals apart from 0, in no layer."


def _embedding(measured: Mapping[str, Any], plain: Mapping[str, Any]) -> str:
    """What repair of the embedding does, where it was measured."""
    of_layer = [row for name, row in measured.items() if name.endswith(", embedding")]
    if not of_layer:
        return ""
    changed = sum(int((np.array(row["bad"]) != np.array(plain["bad"])).sum()) for row in of_layer)
    return (
        " In the embedding a symbol has one vector, whatever stands around it: none lies outside, nothing is moved, "
        f"and of {len(of_layer)} rows {changed} readings differ from those as they are."
    )


def share_interval(count: int, n: int) -> str:
    """Clopper and Pearson, 1934: exact 95 % interval of a share."""
    low = 0.0 if count == 0 else float(beta.ppf(0.025, count, n - count + 1))
    high = 1.0 if count == n else float(beta.ppf(0.975, count + 1, n - count))
    return f"{percent(low, 1)} to {percent(high, 1)}"
