"""What the pages of the voice experiments say; every figure comes from a results.json."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from experiments.intervals import mean_with_interval
from experiments.markdown import document, estimate, number, percent, picture, table
from experiments.voices.page_texts.cures import cures
from experiments.voices.page_texts.onnx_voices import onnx_voices
from experiments.voices.page_texts.sentence_splitters import sentence_splitters
from experiments.voices.page_texts.summary import voices as summary
from genmend.tts.measures.paired_bootstrap import paired_bootstrap

_JOE = "the Piper voice joe at noise 0"


def detection(results: dict[str, Any]) -> str:
    """Does a diagnosis foretell errors?"""
    said, words, kinds = results["spearman"], results["auroc_words"], results["kinds"]
    second = results["second"]

    def row(of: dict[str, Sequence[float]], name: str) -> str:
        return estimate(of[name][0], of[name][1:], 2)

    return document(
        "# Does a diagnosis foretell what a voice misreads?",
        "**Asked**: does the share of a sentence's encoder vectors outside the normal region say how badly the voice "
        "will read it?",
        f"**On**: {_JOE}, {results['n']['sentences']} sentences frozen before anything was measured (ordinary, names, "
        "nonce words), phoneme errors heard by hama; fixed beforehand: k = 5, layer encoder.3.",
        "**Command**: `python -m experiments.voices.detection` (seed 0).",
        "**Controls**: sentence length, and mean NPMI of the pairs of sounds, which needs no voice; a second set of "
        f"{results['n']['second']} nonce words, fixed before it was heard.",
        "## Spearman's correlation with the phoneme error rate",
        table(("score", "correlation, 95 %"), ((name, row(said, name)) for name in said)),
        table(
            ("second set, nonce words in the same carriers", "correlation, 95 %"),
            ((name, row(second, name)) for name in second),
        ),
        table(
            ("after the fact: errors beyond hama's usual ones", "correlation, 95 %"),
            ((name, row(results["excess"], name)) for name in results["excess"]),
        ),
        table(("AUROC for 'this word is misread'", "95 %"), ((f"word's {name}", row(words, name)) for name in words)),
        table(
            ("text", "symbols outside", "phoneme error rate"),
            (
                ("ordinary, held out", number(results["base_rate"]), ""),
                *(
                    (name, number(found["outside"]), number(found["phoneme_error_rate"]))
                    for name, found in kinds.items()
                ),
            ),
        ),
        "Correlation by layer and k, for reading; nothing was chosen by it:",
        table(
            ("layer", *(f"k = {k}" for k in next(iter(results["other_settings"].values())))),
            (
                (layer, *(number(value, 2) for value in row.values()))
                for layer, row in results["other_settings"].items()
            ),
        ),
        picture("scatter.png", "Symbols outside against phoneme errors heard, a point a sentence"),
        "## What it shows",
        f"**Hardly.** The correlation is {row(said, 'share outside')}, and {row(said, 'share outside | kind, length')} "
        f"given kind and length of the sentence; words flagged are not the words misread (AUROC "
        f"{row(words, 'outside')}). On the second set the correlation given carrier and length is "
        f"{row(second, 'share outside | carrier, length')}, and that of plain pair statistics "
        f"{row(second, 'control: negative NPMI | carrier, length')}. Of ordinary held-out text "
        f"{percent(results['base_rate'], 1)} of the symbols lie outside, of sentences with rare names "
        f"{percent(kinds['name']['outside'])}: the diagnosis says where a voice has not been, not that it will stumble "
        f"there. It takes {number(results['seconds'], 3)} s of one core a sentence.",
    )


def withheld(results: dict[str, Any]) -> str:
    """Does the diagnosis find what a voice was never taught?"""
    scores = results["scores"]
    layers = [name for name, row in scores.items() if "outside" in row]
    first, last, npmi = (scores[name]["auroc"] for name in (layers[0], layers[-1], "negative NPMI"))
    return document(
        "# Does the diagnosis find what a voice was never taught?",
        f"**Asked**: the reference Tacotron 2 learnt without {len(results['withheld'])} pairs of sounds "
        f"({' '.join(results['withheld'])}). Do its regions tell the sounds of those pairs from the others?",
        f"**On**: {results['n_sentences']} sentences that hold withheld pairs; {results['n_in_pairs']} of "
        f"{results['n_sounds']} sounds stand in one. Regions of the voice's own training transcripts, k = "
        f"{results['k']}.",
        f"**Command**: `python -m experiments.voices.withheld` (seed {results['seed']}).",
        "**Control**: negative NPMI, which knows which pairs the transcripts lack without looking at the voice.",
        table(
            ("score", "AUROC, 95 %", "outside: withheld pairs", "others", "held-out training text"),
            (
                (
                    name,
                    estimate(row["auroc"][0], row["auroc"][1:]),
                    *(number(share) for share in row.get("outside", {"": None, " ": None, "  ": None}).values()),
                )
                for name, row in scores.items()
            ),
        ),
        "## What it shows",
        f"**Yes.** The AUROC is {estimate(first[0], first[1:])} in the first convolution, and falls to "
        f"{estimate(last[0], last[1:])} behind the LSTM. Pair statistics do better still where the transcripts are at "
        f"hand: {estimate(npmi[0], npmi[1:])}.",
    )


def tacotron_check(results: dict[str, Any]) -> str:
    """What the two Tacotron 2 voices can do."""
    voices, n, n_withheld = results["voices"], results["n"], results["n_withheld"]
    own, teacher = voices["tacotron"], voices["joe"]
    names = {"tacotron": "reference Tacotron 2", "failing": "failing Tacotron 2", "joe": "joe"}
    trained = "; ".join(
        f"{names[name]}: {of['minutes_on_one_core']:g} minutes of training on one core, {of['steps']} steps"
        for name, of in results["training"].items()
    )

    def failed(voice: dict[str, Any], kind: str, of: int) -> str:
        return f"{voice[kind]} of {of}" if kind in voice else ""

    return document(
        "# The two Tacotron 2 voices",
        "**Asked**: which of three rungs did the small voice reach that the repair is tested on: attention without "
        "skip, repeat or stall; Whisper word error rate at most 0.30; at most 0.15? And how often does the attention "
        "of the voice fail that learnt without a guide, with few location filters?",
        f"**On**: {n} ordinary sentences that no voice learnt, and {n_withheld} with pairs of sounds that were "
        f"withheld. {trained}.",
        "**Command**: `python -m experiments.voices.tacotron_check` (after `make reference-tacotron`).",
        "**Control**: joe, the voice that they learnt from, whose errors are mostly the recogniser's.",
        table(
            ("voice", "word error rate (Whisper tiny)", "phoneme error rate (hama)", "attention fails, ordinary",
             "attention fails, withheld pairs"),
            [
                (names[name], number(voice["word_error_rate"]), number(voice["phoneme_error_rate"]),
                 failed(voice, "failed_ordinary", n), failed(voice, "failed_withheld", n_withheld))
                for name, voice in voices.items()
            ],
        ),
        "## What it shows",
        f"The reference voice reaches the first rung, but for {own['failed_ordinary']} sentence, and stays short of "
        f"the second: a word error rate of {number(own['word_error_rate'])}, where its teacher has "
        f"{number(teacher['word_error_rate'])}. The failing one is what the cures are measured on.",
    )  # fmt: skip


def repair(results: dict[str, Any]) -> str:
    """Does moving off-manifold vectors back help?"""
    parts = {"withheld": results["withheld"]["measured"], "long": results["long"]["measured"]}

    def errors(part: str, way: str) -> str:
        before, after = (np.array(parts[part][name]["phoneme errors"]) for name in ("original", way))
        found = paired_bootstrap(before, after)
        return estimate(found.difference, (found.low, found.high), sign=True)

    original = float(np.mean(parts["withheld"]["original"]["phoneme errors"]))
    n_withheld, n_long = (len(parts[part]["original"]["phoneme errors"]) for part in parts)
    skips = sum(value > 0 for value in parts["withheld"]["original"]["skips, repeats, stalls"])
    ways = [name for name in parts["withheld"] if name != "original"]
    return document(
        "# Does repair help a voice, and does it leave ordinary sentences alone?",
        "**Asked**: encoder vectors outside the normal region are moved back. Does that mend what the voice says, and "
        "is it harmless where nothing is wrong?",
        f"**On**: the [reference Tacotron 2](voices-tacotron_check.md); {n_withheld} "
        "sentences with withheld pairs (layer, k and psi chosen on others: "
        f"{results['withheld']['layer']}, {results['withheld']['k']}, {results['withheld']['psi']:g}), "
        f"{n_long} sentences twice as long as any it learnt, "
        f"{results['ordinary']['n']} ordinary ones; and {results['piper']['n']} sentences with names and nonce words "
        "of the Piper voice joe.",
        "**Command**: `python -m experiments.voices.repair` (seed 0).",
        "**Controls**: vectors moved to the global mean, in a random direction, a random vector; the best of five "
        "seeds by attention; a window on the attention. The gate asks Whisper; errors are heard by hama, pocketsphinx "
        "and "
        "DNSMOS, which the gate never asks.",
        "## Phoneme errors, difference to the unrepaired (below 0 is better)",
        table(
            ("repair", "withheld pairs, 95 %", "long sentences, 95 %"),
            ((way, errors("withheld", way), errors("long", way)) for way in ways),
        ),
        "Difference [95 % interval] of every measure, and how many sentences got better/worse:",
        *(_lines(results[part]["lines"]) for part in ("withheld", "long")),
        "## Behind the gate",
        *(_lines(results[part]["lines"]) for part in ("ordinary", "piper")),
        "## What it shows",
        f"**Not here.** Local repair changes the phoneme errors of the withheld pairs ({number(original)}) by "
        f"{errors('withheld', 'local')}; global by {errors('withheld', 'global')}, a random direction by "
        f"{errors('withheld', 'random direction')}, a random vector by {errors('withheld', 'random vector')}, the best "
        f"of five seeds by {errors('withheld', 'best of 5 seeds')}, an attention window by "
        f"{errors('withheld', 'attention window')}. There is nothing for it to mend: {skips or 'not one'} of these "
        "sentences is skipped in, repeated or stalled, since the attention was guided by true durations in training. "
        f"On the long sentences local repair changes them by {errors('long', 'local')}.",
        f"**The gate keeps it harmless**: of {results['ordinary']['n']} ordinary sentences Whisper accepts "
        f"{results['ordinary']['accepted']} repairs, of the Piper voice's {results['piper']['n']} hard ones "
        f"{results['piper']['accepted']}; what that changes, by a recogniser it never asked, stands above.",
    )


def kept_repairs(results: list[dict[str, Any]]) -> str:
    """Do repairs hold in other sentences?"""
    ways = list(results[0])

    def mean(way: str, name: str, digits: int) -> str:
        values = np.array([float(row[way][name]) for row in results])
        value, *ends = mean_with_interval(values)
        return estimate(value, ends, digits)

    before = float(np.mean([row[ways[0]]["outside_before"] for row in results]))
    return document(
        "# Do repairs hold in other sentences?",
        "**Asked**: the vector that mends a combination of sounds in its own sentence: does it bring the symbol inside "
        "in other sentences, too?",
        f"**On**: the Piper voice joe, {len(results)} combinations of sounds round flagged symbols, each put into "
        f"{results[0][ways[0]]['n']} ordinary sentences.",
        "**Command**: `python -m experiments.voices.kept_repairs` (seed 0).",
        "**Control**: a vector of the same length in a random direction. 95 % bootstrap intervals over combinations.",
        table(
            ("vector of", "symbol outside before", "outside after", "combinations that hold"),
            ((way, number(before), mean(way, "outside_after", 3), mean(way, "holds", 2)) for way in ways),
        ),
        "## What it shows",
        f"Those learnt from several sentences mostly do: they leave {mean(ways[1], 'outside_after', 3)} outside, the "
        f"vector of the own sentence {mean(ways[0], 'outside_after', 3)}, a random direction "
        f"{mean(ways[2], 'outside_after', 3)}. `genmend speak --save-repairs` therefore learns from several sentences. "
        "That says where the vectors lie, not that the sentences sound better: see [repair](voices-repair.md).",
    )


def edits(results: dict[str, Any]) -> str:
    """Is prosody said as asked for?"""
    summary, settings, r2 = results["summary"], results["settings"], {}
    for row in results["probes"]:
        r2.setdefault(row["layer"], {})[row["attribute"]] = row
    attributes = list(next(iter(r2.values())))
    durations, shifts = summary["durations"], [f"{shift:+g} st" for shift in settings["shifts"]]
    first, last = (summary[shifts[end]] for end in (0, -1))
    layer_4 = results["moves"]["encoder.4, covariance"]

    def points(row: dict[str, float]) -> str:
        return estimate(100 * row["difference"], (100 * row["low"], 100 * row["high"]), 1, sign=True)

    return document(
        "# Is a voice's prosody said as asked for?",
        "**Asked**: do edits of duration and pitch reach what was requested, and what do they cost in phonemes?",
        f"**On**: {_JOE} ({settings['voice']}), {len(results['durations'])} sentences with one word stretched, "
        f"{len(results['pitch'])} whole sentences moved in pitch (calibrated on pyin's median).",
        f"**Command**: `python -m experiments.voices.edits` (seed {settings['seed']}).",
        "**Control**: vectors moved as far in random directions.",
        "## Duration",
        f"x {settings['factor']:g} by gradient through the voice's own predictor: "
        f"{percent(durations['within_3_percent'])} of the sentences are within 3 % (mean {number(durations['mean'])}, "
        f"{number(durations['lowest'])} to "
        f"{number(durations['highest'])}); all other sounds keep theirs within "
        f"{percent(durations['elsewhere_largest_change'], 1)}.",
        "## Pitch",
        "Semitones; the change of phoneme errors (hama) in points with 95 % intervals.",
        table(
            ("requested", "mean", "median error", "within 0.3", "phoneme errors", "random moves: pitch",
             "random moves: phoneme errors"),
            (
                (
                    name,
                    number(summary[name]["achieved_mean"], 2, sign=True),
                    number(summary[name]["median_error"], 2),
                    percent(summary[name]["within"]),
                    points(summary[name]["per"]),
                    number(summary[name].get("control_median"), 2, sign=True),
                    points(summary[name]["control_per"]) if "control_per" in summary[name] else "-",
                )
                for name in shifts
            ),
        ),
        picture("pitch.png", "Pitch measured against requested, a point a sentence"),
        "## What other layers and moves make of +2 semitones, without calibration",
        table(
            ("move", "pitch", "duration", "energy, dB", "share of the vectors' length"),
            (
                (
                    name,
                    number(row["pitch"], 2, sign=True),
                    number(row["duration"]),
                    number(row["energy"], 2, sign=True),
                    number(row["relative_length"], 2),
                )
                for name, row in results["moves"].items()
            ),
        ),
        "## What can be read where: held-out R² of linear probes",
        table(
            ("layer", *attributes),
            (
                *((layer, *(number(row[name]["r2"]) for name in attributes)) for layer, row in r2.items()),
                ("mean of the symbol", *(number(next(iter(r2.values()))[name]["baseline_r2"]) for name in attributes)),
            ),
        ),
        "## What it shows",
        "Durations are said as asked for. Pitch is for most sentences; the misses are large, mostly octave jumps of "
        f"the measurement, and in {summary['unpitched']} sentences no pitch is found. **It costs phonemes**: at the "
        f"outermost requests errors change by {points(first['per'])} and {points(last['per'])} points; random moves "
        f"of the same length cost "
        f"{points(first['control_per'])} and {points(last['control_per'])}, with the pitch hardly moved. Pitch is "
        f"read from layers where it "
        f"can't be changed (encoder.4: {number(layer_4['pitch'], 2, sign=True)} semitones for +2): readable is not "
        "causal.",
    )  # fmt: skip


def judge_check(results: dict[str, Any]) -> str:
    """What the judges of speech hear."""
    plain, replaced, about = results["plain"], results["one_word_replaced"], results["sentences"]
    units = {"whisper": "words", "pocketsphinx": "words", "hama": "phonemes"}
    return document(
        "# What the judges of speech hear",
        "**Asked**: how many errors do the recognisers hear in a voice without noise, and do they notice one word "
        "replaced by another?",
        f"**On**: {_JOE}, {about['n']} sentences, {number(about['seconds'], 0)} s of speech; "
        + ", ".join(f"{name} {version}" for name, version in results["versions"].items())
        + ".",
        f"**Command**: `python -m experiments.voices.judge_check` (seed {about['seed']}).",
        "**Control**: the words that were not replaced.",
        table(
            ("judge", "error rate", "substitutions", "deletions", "insertions", "of", "CPU seconds a sentence"),
            (
                (
                    name,
                    percent(plain[name][unit]["rate"], 1),
                    plain[name][unit]["substitutions"],
                    plain[name][unit]["deletions"],
                    plain[name][unit]["insertions"],
                    f"{plain[name][unit]['length']} {unit}",
                    number(plain[name]["processor_seconds"], 2),
                )
                for name, unit in units.items()
            ),
        ),
        f"DNSMOS: overall {number(plain['dnsmos']['overall'], 2)}, signal {number(plain['dnsmos']['signal'], 2)}, "
        f"background {number(plain['dnsmos']['background'], 2)}.",
        table(
            ("which word was replaced, by", "AUROC"),
            (
                ("phoneme errors of the word (hama)", number(replaced["auroc_phoneme_errors"])),
                ("the word's probability to Whisper", number(replaced["auroc_whisper_log_probability"])),
            ),
        ),
        "## What it shows",
        f"A replaced word is told from the others; but a judge's own errors are many "
        f"({percent(plain['hama']['phonemes']['rate'], 1)} of the phonemes, "
        f"{percent(plain['pocketsphinx']['words']['rate'], 1)} of pocketsphinx's words), so only differences between "
        "two versions of a sentence mean anything.",
    )


def _lines(lines: Sequence[str]) -> str:
    return "```text\n" + "\n".join(lines) + "\n```"


__all__ = ["PAGES", "summary"]

PAGES: tuple[Callable[[Any], str], ...] = (
    cures,
    detection,
    edits,
    judge_check,
    kept_repairs,
    onnx_voices,
    repair,
    sentence_splitters,
    tacotron_check,
    withheld,
)
