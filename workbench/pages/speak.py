"""The page of ``genmend speak``: players, what was heard, what is wrong, what was done; the science behind a fold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from genmend.tts.measures.heard_words import WordPair, in_words
from genmend.tts.measures.sentence_faults import faults_in_words
from genmend.tts.mending.acceptance import HAMA
from genmend.tts.mending.diagnosis import STATES
from genmend.tts.mending.figures import diagnosis_figure, score_heat_map, visible_symbol
from genmend.tts.mending.spoken import SpeakRun, SpokenSentence
from genmend.workbench.pages.facts import Preface
from genmend.workbench.pages.page import Answer, Facts, Figure, Number, Paragraph, Section, Table, write_report
from genmend.workbench.pages.speak_mending import (
    attempts_section,
    audio_block,
    fault_blocks,
    mending_blocks,
    players,
)

__all__ = ["heard_table", "misheard", "speak_answer", "write_speak_report"]

N_OPEN = 3  # sentences that are told at once


_LEXICON = (
    "Where the phonemes themselves are wrong, as of names that espeak-ng guesses, no repair of vectors helps: give "
    "them with --lexicon, a file of words with their phonemes (WORD tab IPA)."
)


def write_speak_report(path: Path, run: SpeakRun, preface: Preface | None = None) -> None:
    """Write the page; `preface` stands first."""
    many = len(run) > 1
    sections = list(preface.sections if preface else ())
    for number, sentence in enumerate(run, start=1):
        name = f"Sentence {number}: " if many else ""
        told = [*(_said(sentence) if many else ()), *_wrong(sentence, many)]
        if told:
            title = f"{name}{_short(sentence.diagnosis.tokens.text)}" if many else "What is wrong"
            sections.append(Section(title, told, closed=number > N_OPEN))
        if sentence.mending is not None and sentence.mending.attempts:
            sections.append(attempts_section(f"{name}{'what' if many else 'What'} was tried", sentence.mending))
        if sentence.repair is not None:
            sections.append(
                Section(f"{name}{'repair' if many else 'Repair'}", _repair(sentence), closed=sentence.accepted is False)
            )
        where = f"{name}{'where' if many else 'Where'} the voice has not been"
        sections.append(Section(where, [*_science(sentence), *_layers(sentence)], closed=True))
    if run.kept:
        sections.append(Section("Kept for other sentences", [_kept(run)]))
    settings = {key: value for key, value in run.settings.items() if value is not None}
    sections.append(Section("Settings", [Facts("What this run used", settings)], closed=True))
    if preface and preface.answer:
        answer = preface.answer(run)
    else:
        answer = replace(speak_answer(run), pictures=[] if many else _said(run[0]))
    write_report(path, preface.title if preface else f"genmend speak: {run.voice}", answer, sections)


def heard_table(words: Sequence[WordPair]) -> list[Table]:
    """What was heard beside what was meant, word by word, those that differ marked; nothing where nobody listened."""
    if not words:
        return []
    rows = [[pair.meant or None, pair.heard or None] for pair in words]
    marked = [(row, column) for row, pair in enumerate(words) if not pair.same for column in (0, 1)]
    caption = (
        "What Whisper heard beside what was meant; what differs is marked. It knows common words: of a rare name "
        "its spelling is a guess."
    )
    return [Table(caption, ["meant", "heard"], rows, marked=marked)]


def misheard(words: Sequence[WordPair]) -> tuple[int, int]:
    """How many written words were heard wrongly, and of how many."""
    n = [len(pair.meant.split()) for pair in words]
    return sum(n_words for n_words, pair in zip(n, words, strict=True) if not pair.same), sum(n)


def speak_answer(run: SpeakRun) -> Answer:
    """What was heard otherwise than it was meant, word by word; what attention did wrong; what became of a repair."""
    heard = [sentence for sentence in run if sentence.heard is not None]
    because = run.settings.get("not_heard_because")
    doubts = [f"Nobody listened: {str(because).rstrip('.')}."] if because else []
    if not heard and not any(sentence.mending is not None for sentence in run):
        return Answer(_in_words(run), _outside(run), doubts)
    pairs = [pair for sentence in heard for pair in sentence.heard_words]
    wrong, n = misheard(pairs)
    said = []
    for sentence in run:
        told = "" if sentence.heard is None else in_words(sentence.heard_words)
        faults = faults_in_words(sentence.reading_faults)
        done = _repair_in_words(sentence)
        if sentence.mending is not None and not (told and sentence.mending.before.is_right):
            done = sentence.mending.in_words()
        begins = f"{_short(sentence.diagnosis.tokens.text, 40)}: " if len(run) > 1 else ""
        said.append(begins + " ".join(part for part in (told, faults, done) if part))
    outside = _outside(run)
    if not heard:
        return Answer(_first(said), outside, doubts, more=_in_words(run))
    control = f"{outside.name}: {outside.value} ({outside.control})"
    if any(sentence.mending is not None and sentence.mending.changed for sentence in run):
        control = f"{wrong} before anything was mended"
        wrong = sum(misheard(sentence.final_words)[0] for sentence in heard)
    return Answer(
        _first(said),
        Number("Words heard wrongly", f"{wrong} of {n}", control),
        doubts,
        more=f"{_LEXICON}\n\n{_in_words(run)}" if wrong else _in_words(run),
    )


def _repair_in_words(sentence: SpokenSentence) -> str:
    if sentence.accepted is None:
        return ""
    if not sentence.accepted or sentence.verdicts is None:
        return f"The repair was {'accepted' if sentence.accepted else 'refused'}."
    before, after = (verdict.errors for verdict in sentence.verdicts)
    told = "as many words" if before == after else f"{after} in place of {before} words"
    return f"The repair was accepted: with it {told} are heard wrongly."


def _first(said: Sequence[str]) -> str:
    """What is said of the first sentences, and how many more there are."""
    return " ".join(said[:N_OPEN]) + (f" {len(said) - N_OPEN} more sentences below." if len(said) > N_OPEN else "")


def _outside(run: SpeakRun) -> Number:
    diagnoses = [sentence.diagnosis for sentence in run]
    share = np.average([d.outside for d in diagnoses], weights=[max(1, d.tokens.spoken.sum()) for d in diagnoses])
    return Number(
        "Symbols where the voice has not been", f"{share:.0%}", f"of ordinary text {diagnoses[0].base_rate:.0%}"
    )


def _said(sentence: SpokenSentence) -> list[Any]:
    """Players; what was heard word by word where it does not stand among the faults."""
    return [*players(sentence), *(heard_table(sentence.heard_words) if sentence.mending is None else ())]


def _wrong(sentence: SpokenSentence, many: bool) -> list[Any]:
    if sentence.mending is not None:
        # Of one sentence what was done stands on the first screen.
        done = [Paragraph(sentence.mending.in_words())] if many else []
        return [*done, *mending_blocks(sentence.mending)]
    return fault_blocks(sentence.reading_faults, "What the voice did wrong, word by word.")


def _science(sentence: SpokenSentence) -> list[Any]:
    diagnosis = sentence.diagnosis
    caption = (
        f"Along time: waveform, mel spectrogram, phonemes. Coloured by what {diagnosis.layer} says of each: "
        f"{100 * diagnosis.outside:.0f} % are not inside the normal region; of ordinary held-out text, "
        f"{100 * diagnosis.base_rate:.0f} % are not."
    )
    blocks: list[Any] = []
    blocks.append(Figure(caption, diagnosis_figure(diagnosis, sentence.speech)))
    words = sorted(diagnosis.words, key=lambda word: (STATES.index(word.state), -np.nan_to_num(word.score)))
    rows = [[w.word, w.state, f"{100 * w.outside:.0f} %", None if np.isnan(w.score) else w.score] for w in words]
    header = ["word", "worst state", "not inside", "largest score"]
    blocks.append(Table("Words, the most doubtful first. A score above 1 is outside.", header, rows))
    dropped = diagnosis.tokens.dropped
    if dropped:
        lost = [[d.symbol, diagnosis.tokens.words[d.word] if d.word >= 0 else "", d.reason] for d in dropped]
        blocks.append(Table("Dropped by the front end: no repair brings them back.", ["symbol", "word", "why"], lost))
    return blocks


def _layers(sentence: SpokenSentence) -> list[Any]:
    diagnosis = sentence.diagnosis
    blocks: list[Any] = [
        Figure("Score of every layer and symbol; red is outside, grey has no reference.", score_heat_map(diagnosis))
    ]
    near = [
        [
            visible_symbol(diagnosis.tokens.symbols[i]),
            float(diagnosis.scores[diagnosis.layer][i]),
            *contexts[:3],
        ]
        for i, contexts in enumerate(diagnosis.nearest)
        if len(contexts) == 3
    ]
    if near:
        header = ["symbol", "score", "nearest", "second", "third"]
        blocks.append(Table("Symbols outside, and the reference contexts nearest to them.", header, near))
    return blocks


def _repair(sentence: SpokenSentence) -> list[Any]:
    assert sentence.repair is not None
    if sentence.repaired is None:
        return [Paragraph("Nothing was repaired: no symbol that a repair is known for lies outside.")]
    blocks: list[Any] = [audio_block("With the flagged vectors repaired.", sentence.repaired)]
    if sentence.verdicts is None:
        blocks.append(Paragraph("No judge was asked: listen to both before you use the repaired one."))
    else:
        before, after = sentence.verdicts
        rows = [
            [name, verdict.heard, verdict.errors, verdict.to_dict()["log_probability"]]
            for name, verdict in (("original", before), ("repaired", after))
        ]
        outcome = "accepted" if sentence.accepted else "refused, the original is kept"
        caption = f"What {before.judge} heard. The repair was {outcome}."
        unit = "phoneme errors" if before.judge == HAMA else "word errors"
        blocks.append(Table(caption, ["", "heard", unit, "mean log probability"], rows))
    header = ["symbol", "position", "score before", "after", "moved by", "normal copies", "center"]
    moved = [
        [
            visible_symbol(m.symbol),
            m.position,
            m.score,
            m.score_after,
            m.distance,
            None if np.isnan(m.normal_copies) else m.normal_copies,
            m.center,
        ]
        for m in sentence.repair.moved
    ]
    caption = (
        f"What was moved in {sentence.repair.layer}, psi = {sentence.repair.psi:g}. Normal copies: the share of "
        "perturbed copies of the sentence whose vector is inside; the fewer, the more lost the symbol."
    )
    return [*blocks, Table(caption, header, moved)]


def _kept(run: SpeakRun) -> Table:
    found = [one.to_dict() for one in run.kept]
    caption = (
        f"{sum(row['written'] for row in found)} of {len(found)} accepted moves were written. Each combination was put "
        "into other ordinary sentences: a move holds if fewer of them are outside with it, and most of those come "
        "nearer. It is learnt from several sentences where that holds, and written if it holds and its own sentence is "
        "heard no worse."
    )
    header = ["combination", "symbol", "outside before", "outside after", "came nearer", "learnt from", "written"]
    names = ["combination", "symbol", "outside_before", "outside_after", "nearer", "learnt_from"]
    rows = [[*(row[name] for name in names), "yes" if row["written"] else "no"] for row in found]
    return Table(caption, header, rows)


def _in_words(run: SpeakRun) -> str:
    words = []
    for sentence in run:
        found = [word for word in sentence.diagnosis.words if word.state != "inside"]
        text = _short(sentence.diagnosis.tokens.text)
        if sentence.heard is None and sentence.mending is None and (wrong := faults_in_words(sentence.faults)):
            words.append(f'"{text}" {wrong}')
        if not found:
            words.append(f'"{text}" Every symbol is where the voice has been before.')
            continue
        worst = ", ".join(f"{word.word} ({word.state})" for word in found[:6])
        words.append(f'"{text}" Look at {worst}.')
        if sentence.accepted is not None:
            words[-1] += " The repair was accepted." if sentence.accepted else " The repair was refused."
    return "\n\n".join(words)


def _short(text: str, most: int = 70) -> str:
    return text if len(text) <= most else text[: most - 1] + "\N{HORIZONTAL ELLIPSIS}"
