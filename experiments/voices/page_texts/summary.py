"""One page on voices: what mends them, whether it spoils anything, what it costs, and which voices it was tried on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from experiments.intervals import mean_with_interval
from experiments.markdown import document, estimate, number, percent, table
from experiments.voices.page_texts.cures import change_of, count_spoiled, repair_wins, share_interval
from experiments.voices.page_texts.onnx_voices import NAMES, both, wrong
from genmend.tts.cures.say_again import N_SEEDS

_PLAIN = "as it is"


def voices(results: Mapping[str, Any]) -> str:
    """Cures, ordinary sentences, seconds, voices that people use."""
    cures, onnx, check = (results[f"voices/{name}"] for name in ("cures", "onnx_voices", "tacotron_check"))
    rows, ordinary = cures["rows"], cures["ordinary mended"]
    plain = rows[_PLAIN]
    n, n_seeds = np.shape(plain["bad"])
    before, after = np.array(ordinary["bad"]).sum(axis=0)
    spoiled, said = count_spoiled(ordinary), len(ordinary["bad"])
    worse = int((np.diff(np.array(ordinary["words"]), axis=1) > 0).sum())
    sounds = change_of(*np.array(ordinary["sounds"]).T)
    tested = [(NAMES[name], onnx["voices"][name]) for name in NAMES if name in onnx["voices"]]
    failing, told = check["voices"]["failing"], cures["diagnosis"]
    left = np.array(rows["mend"]["bad"])
    return document(
        "# Voices: what mends them, and what it costs",
        "**Asked**: does `genmend speak --mend` mend what a voice reads wrongly, does it leave right sentences alone, "
        "how long does it take, and on which voices?",
        f"**Short**: of the readings of failing sentences {percent(_share(plain))} are bad, after it "
        f"{percent(left.mean())} ({int(left.sum())} of {left.size}); of {said} ordinary sentences it spoils {spoiled}. "
        f"The best of {N_SEEDS} other seeds alone leaves {percent(_share(rows[f'best of {N_SEEDS} other seeds']))}. "
        f"{repair_wins(rows, plain)}",
        "## Cures on a voice that fails",
        f"A small [Tacotron 2 that learnt without a guide](voices-tacotron_check.md) (words heard wrongly "
        f"{number(failing['word_error_rate'], 2)}); {n} sentences that it reads badly with one seed, each read with "
        f"{n_seeds} others. Bad: a word skipped, repeated or stalled on, or no end. Intervals are 95 %, sentences "
        "drawn again in pairs. [Every layer, and the controls by their own length](voices-cures.md).",
        table(
            ("", "still bad", "change", "mended / spoiled", "CPU s a reading"),
            (_line(name, kept, rows) for name, kept in _families(rows)),
        ),
        "A range is of several rows: of layers, of widths; its change and counts are those of the row with the fewest "
        "bad readings, which flatters it.",
        "## Ordinary sentences are left unharmed",
        table(
            ("ordinary sentences", "read badly", "after `mend`", "spoiled, 95 %", "with more words heard wrongly",
             "phoneme errors, which `mend` never asks for"),
            [(said, before, after, f"{spoiled} ({share_interval(spoiled, said)})", worse, sounds)],
        ),
        "## Seconds of one core, a sentence",
        table(
            ("voice", "speaking", "diagnosis", "mending", "its reference, once"),
            [
                ("failing Tacotron 2, ordinary sentences", number(plain["cpu_seconds"], 2),
                 number(told["cpu_seconds"], 3), number(ordinary["cpu_seconds"], 1),
                 number(told["reference_cpu_seconds"], 0)),
                ("failing Tacotron 2, failing ones", number(plain["cpu_seconds"], 2), "as above",
                 number(rows["mend"]["cpu_seconds"], 1), "as above"),
                *((name, *_seconds(of)) for name, of in tested),
            ],
        ),
        "CPU seconds of one thread. Mending is saying, hearing (Whisper tiny) and every cure that was tried; of the "
        "Tacotron's ordinary sentences, judges of the experiment included; of the others, sentences with rare names. "
        f"The reference is of 800 sentences, the Tacotron's of {told['reference']:,}; `genmend speak` takes all of its "
        "text, and keeps it.",
        "## Voices that people use",
        table(
            ("voice", "words heard wrongly", "flagged: ordinary", "flagged: sounds shuffled",
             f"a word {onnx['factor']:g} times as long", f"a word {onnx.get('semitones', 0):g} semitones higher",
             "mended: words heard wrongly", "phoneme errors (hama)"),
            ((name, *_tested(of)) for name, of in tested),
        ),
        "Flagged: the share of symbols outside the normal region, which should be few in ordinary text and many in "
        "shuffled sounds. [More on these voices](voices-onnx_voices.md). Others (Matcha, MMS, Coqui, several speakers, "
        "x_low and high Piper voices) were run on tiny graphs of their layouts alone.",
        "## More",
        "* [Which cure mends?](voices-cures.md) Every row, words and phonemes.\n"
        "* [The two Tacotron 2 voices](voices-tacotron_check.md), and what they can do.\n"
        "* [Does repair help?](voices-repair.md) [Do repairs hold elsewhere?](voices-kept_repairs.md)\n"
        "* [Does a diagnosis foretell errors?](voices-detection.md) [Does it find what was never taught?]"
        "(voices-withheld.md)\n"
        "* [Prosody](voices-edits.md), [judges](voices-judge_check.md), [where sentences end]"
        "(voices-sentence_splitters.md).",
    )  # fmt: skip


def _families(rows: Mapping[str, Any]) -> list[tuple[str, list[str]]]:
    """Rows of one kind together, under a name for a reader; only those that were measured."""
    kinds = (
        (_PLAIN, (_PLAIN,)), ("`mend`, every cure, judged", ("mend",)), ("best of 5 other seeds", ("best of",)),
        ("attention windows", ("attention window",)), ("split at commas", ("split at marks",)),
        ("split at a clause", ("split at clauses",)),
        ("respelling", ("respelling",)), ("local repair", ("local, ",)),
        ("local repair, neighbours too", ("local with neighbours, ",)), ("control: mean of the sound, as far",
        ("global, as far, ",)), ("control: some vector of the sound, as far", ("random vector, as far, ",)),
        ("control: random direction, as far", ("random direction, ",)),
    )  # fmt: skip
    found = ((told, [name for name in rows if name.startswith(begins)]) for told, begins in kinds)
    return [(told, names) for told, names in found if names]


def _line(told: str, names: Sequence[str], rows: Mapping[str, Any]) -> tuple[str, ...]:
    shares = sorted((_share(rows[name]), name) for name in names)
    row, plain = rows[shares[0][1]], rows[_PLAIN]
    bad = np.array(row["bad"]), np.array(plain["bad"])
    still = number(shares[0][0]) if len(names) == 1 else f"{number(shares[0][0])} to {number(shares[-1][0])}"
    seconds = number(float(np.mean([rows[name]["cpu_seconds"] for name in names])), 2)
    if told == _PLAIN:
        return told, still, "", "", seconds
    mended, spoiled = int((bad[1] > bad[0]).sum()), int((bad[0] > bad[1]).sum())
    of = f", {len(names)} rows" if len(names) > 1 else ""
    return f"{told}{of}", still, change_of(*(one.mean(axis=1) for one in bad[::-1])), f"{mended} / {spoiled}", seconds


def _share(row: Mapping[str, Any]) -> float:
    return float(np.mean(row["bad"]))


def _seconds(of: Mapping[str, Any]) -> tuple[str, ...]:
    taken, mended = of["cpu_seconds"], of.get("mended")
    return (
        number(taken["speaking_a_sentence"], 2),
        number(taken["diagnosis_of_a_sentence"], 3),
        number(float(np.mean([one["cpu_seconds"] for one in mended])), 1) if mended else "-",
        number(taken["reference"], 0),
    )


def _tested(of: Mapping[str, Any]) -> tuple[str, ...]:
    mended = of.get("mended")
    return (
        wrong(np.sum(of["word_errors"], axis=0).tolist()),
        *(percent(float(np.mean(of["outside"][kind])), 1) for kind in ("ordinary", "shuffled")),
        _mean(of["edits"]["achieved"], 3),
        _mean(of["higher"]["achieved"], 2) if "higher" in of else "-",
        f"{both(mended, 'misheard', 0)}, {len(mended)} sentences" if mended else "-",
        both(mended, "phoneme_errors", 3) if mended else "-",
    )


def _mean(values: Sequence[float], digits: int) -> str:
    mean, *ends = mean_with_interval(np.array([value for value in values if np.isfinite(value)]))
    return estimate(mean, ends, digits)
