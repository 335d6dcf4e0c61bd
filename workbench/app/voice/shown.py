"""What the Voice tab shows: what was heard beside what was meant, phonemes by their distance, the path, the moves."""

from __future__ import annotations

from html import escape

import numpy as np

from genmend.tts.cures.mending import Mending
from genmend.tts.measures.heard_words import in_words, pair_words
from genmend.tts.measures.sentence_faults import faults_in_words
from genmend.tts.mending.acceptance import Verdict
from genmend.tts.mending.diagnosis import STATES, Diagnosis
from genmend.tts.mending.figures import diagnosis_figure, visible_symbol
from genmend.tts.mending.repair import Repair
from genmend.tts.mending.spoken import SpokenSentence
from genmend.workbench.app.page_parts import figure_html, note_html, table_html
from genmend.workbench.app.voice.work import Edited, Mended, Said
from genmend.workbench.pages.speak_edit import edit_answer

__all__ = [
    "edited_in_words",
    "edited_picture",
    "heard_text",
    "mended_in_words",
    "moved_tables",
    "path",
    "phonemes",
    "words_of",
]

FAR = 2.0  # radii from which on a symbol has the strongest colour
_INSIDE, _NEAR, _FAR = (217, 234, 216), (244, 165, 130), (214, 96, 77)
_LEGEND = (
    ("inside", "inside: where the voice has been before"),
    ("outside", "outside the normal region, the darker the farther"),
    ("never-seen", "never seen in ordinary text"),
    ("dropped", "dropped by the front end"),
)


def heard_text(said: Said) -> str:
    """What was heard beside what was meant, sentence by sentence."""
    if not said.heard:
        return note_html(f"Nobody listened: {said.unheard}")
    texts = [sentence.diagnosis.tokens.text for sentence in said.run]
    return "".join(_heard(text, verdict) for text, verdict in zip(texts, said.heard, strict=True))


def _heard(text: str, verdict: Verdict, who: str = "") -> str:
    who = who or f"{verdict.judge} heard"
    pairs = pair_words(text, verdict.heard, verdict.language)
    shown = " ".join(
        f"<span>{escape(pair.meant)}</span>"
        if pair.same
        else f'<span class="wrong"><del>{escape(pair.meant)}</del> <ins>{escape(pair.heard)}</ins></span>'
        for pair in pairs
    )
    return f'<p class="heard"><strong>{escape(who)}:</strong> {shown} <em>{escape(in_words(pairs))}</em></p>'


def phonemes(said: Said) -> str:
    """Every phoneme of every sentence under its word, coloured by its distance; then the words in a table."""
    rows = [_sentence(sentence) for sentence in said.run]
    legend = "".join(f'<li><span class="chip {name}">ə</span> {escape(words)}</li>' for name, words in _LEGEND)
    return (
        f'<div class="phonemes">{"".join(rows)}</div><ul class="legend">{legend}</ul>'
        f"<details><summary>Word by word, with distances</summary>{_words_table(said)}</details>"
    )


def _sentence(sentence: SpokenSentence) -> str:
    diagnosis = sentence.diagnosis
    shown = "".join(_word(diagnosis, number, word) for number, word in enumerate(diagnosis.tokens.words))
    outside = f"{100 * diagnosis.outside:.0f} % of its symbols are not inside; of ordinary held-out text, "
    found = [word.word for word in diagnosis.words if word.state != "inside"]
    first = f"Look at {', '.join(found[:6])}: " if found else "Every symbol is where the voice has been before: "
    faults = "".join(f"<li>{escape(line)}</li>" for line in _faults(sentence))
    return (
        f'<p class="sentence"><strong>{escape(first)}</strong>{outside}{100 * diagnosis.base_rate:.0f} %.</p>'
        f'<div class="words">{shown}</div>{f"<ul>{faults}</ul>" if faults else ""}'
    )


def _faults(sentence: SpokenSentence) -> list[str]:
    said = [faults_in_words([fault]) for fault in sentence.reading_faults]
    tokens = sentence.diagnosis.tokens
    for lost in tokens.dropped:
        of = f" of {tokens.words[lost.word]}" if lost.word >= 0 else ""
        said.append(f"The front end dropped {lost.symbol!r}{of}: {lost.reason}.")
    return said


def _word(diagnosis: Diagnosis, number: int, word: str) -> str:
    tokens, scores = diagnosis.tokens, diagnosis.scores[diagnosis.layer]
    places = [i for i, of in enumerate(tokens.word_of) if of == number and diagnosis.states[i]]
    chips = "".join(_chip(tokens.symbols[i], diagnosis.states[i], float(scores[i])) for i in places)
    lost = "".join(_chip(one.symbol, "dropped", float("nan")) for one in tokens.dropped if one.word == number)
    return (
        f'<span class="word"><span class="chips">{chips}{lost}</span><span class="label">{escape(word)}</span></span>'
    )


def _chip(symbol: str, state: str, score: float) -> str:
    far = "" if np.isnan(score) else f", {score:.2f} radii"
    colour = "" if np.isnan(score) else f' style="background:rgb{_colour(score)}"'
    words = escape(f"{visible_symbol(symbol)}: {state}{far}")
    return (
        f'<span class="chip {state.replace(" ", "-")}"{colour} title="{words}">{escape(visible_symbol(symbol))}</span>'
    )


def _colour(score: float) -> tuple[int, ...]:
    """From green at the centre of a ball over orange at its edge to red at `FAR` radii."""
    if score <= 1:
        return _INSIDE
    share = min(1.0, (score - 1) / (FAR - 1))
    return tuple(round(near + share * (far - near)) for near, far in zip(_NEAR, _FAR, strict=True))


def _words_table(said: Said) -> str:
    found = [word for sentence in said.run for word in sentence.diagnosis.words]
    found.sort(key=lambda word: (STATES.index(word.state), -np.nan_to_num(word.score)))
    rows = [[w.word, w.state, f"{100 * w.outside:.0f} %", None if np.isnan(w.score) else w.score] for w in found]
    return table_html(["word", "worst state", "not inside", "largest distance"], rows, "Above 1 is outside.")


def path(sentence: SpokenSentence) -> str:
    """Waveform, spectrogram and phonemes along time, and the attention with its faults where the voice attends."""
    figure = diagnosis_figure(sentence.diagnosis, sentence.speech)
    attends = ", and the attention" if sentence.speech.attention is not None else ""
    words = f"Waveform, spectrogram and phonemes along time{attends}"
    return f'<div class="wide" tabindex="0" role="region" aria-label="{words}">{figure_html(figure, words)}</div>'


def words_of(said: Said, number: int) -> list[tuple[str, int]]:
    """Words of a sentence with their places, like ones numbered."""
    words = said.run[number].diagnosis.tokens.words
    return [
        (f"{word} ({words[: place + 1].count(word)})" if words.count(word) > 1 else word, place)
        for place, word in enumerate(words)
    ]


def mended_in_words(found: Mended) -> str:
    """What became of the mending, and what was heard of both."""
    parts = [f'<p class="verdict"><strong>{escape(_outcome(found))}</strong></p>']
    for number, sentence in enumerate(found.before.run):
        text = sentence.diagnosis.tokens.text
        after = None if found.after is None else found.after.run[number]
        if found.way == "attention" and after is not None:
            pairs = list(zip((found.before, found.after), ("Before", "After"), strict=True))
            parts += [_heard(text, one.heard[number], f"{when}, heard") for one, when in pairs if one and one.heard]
        elif sentence.mending is not None:
            parts.append(f"<p>{escape(sentence.mending.in_words())}</p>")
            both = (sentence.mending.before, "Before"), (sentence.mending.after, "After")
            parts += [_heard(text, one.verdict, f"{when}, heard") for one, when in both if one.verdict is not None]
        elif sentence.verdicts is not None:
            parts += [
                _heard(text, verdict, f"{when}, heard")
                for verdict, when in zip(sentence.verdicts, ("Before", "After"), strict=True)
            ]
    if found.before.unheard:
        parts.append(note_html(f"Nobody listened, so listen to both yourself: {found.before.unheard}"))
    return "".join(parts)


def _outcome(found: Mended) -> str:
    if found.way == "cures":
        done = [sentence.mending for sentence in found.before.run if sentence.mending is not None]
        changed = sum(one.changed for one in done)
        if all(one.before.is_right for one in done):
            return "Nothing was wrong, so nothing was changed."
        if len(done) == 1:
            return "Mended: another reading is better." if changed else "Nothing was better, so the original is kept."
        return f"{changed} of {len(done)} sentences are mended; the others are kept as they are."
    if found.after is None:
        return "Nothing was changed: no symbol that a repair is known for lies outside."
    if found.way == "attention":
        before, after = (sum(len(one.reading_faults) for one in said.run) for said in (found.before, found.after))
        return f"The attention was held in a window: {before} faults before, {after} after."
    judged = [sentence.accepted for sentence in found.before.run if sentence.accepted is not None]
    if not judged:
        return "Repaired; no judge was asked."
    if len(judged) == 1:
        return (
            "The repair was accepted: it is heard as better."
            if judged[0]
            else ("The repair was refused: it is not heard as better, so the original is kept.")
        )
    return f"{sum(judged)} of {len(judged)} repaired sentences are heard as better; of the others the original is kept."


def moved_tables(found: Mended) -> str:
    """What was tried or moved of every sentence, and which moves hold in other sentences."""
    repairs = [sentence.repair for sentence in found.before.run if sentence.repair is not None]
    tables = [_moved(repair) for repair in repairs if repair.moved]
    tables += [_attempts(one.mending) for one in found.before.run if one.mending is not None and one.mending.attempts]
    kept = [one.to_dict() for one in found.before.run.kept]
    if kept:
        names = ["combination", "symbol", "outside_before", "outside_after", "nearer", "learnt_from"]
        rows = [[*(row[name] for name in names), "yes" if row["written"] else "no"] for row in kept]
        header = ["combination", "symbol", "outside before", "outside after", "came nearer", "learnt from", "kept"]
        tables.append(table_html(header, rows, "The moves in other ordinary sentences; those that hold are kept."))
    return "".join(tables)


def _attempts(mending: Mending) -> str:
    rows = [
        [one.cure, one.how, one.n_misread, None if one.verdict is None else one.verdict.errors, one.outcome]
        for one in mending.attempts
    ]
    header = ["cure", "how", "faults of reading", "words heard wrongly", "outcome"]
    return table_html(header, rows, "Each reading in the order it was tried.")


def _moved(repair: Repair) -> str:
    rows = [[visible_symbol(one.symbol), one.score, one.score_after, one.distance, one.center] for one in repair.moved]
    header = ["symbol", "distance before", "after", "moved by", "towards"]
    return table_html(header, rows, f"What was moved in {repair.layer}; a distance above 1 is outside.")


def edited_in_words(found: Edited) -> str:
    """What was asked for and what was reached, and what was heard of both."""
    (done,) = found.run.edits
    rows = table_html(
        ["", "unit", "asked for", "achieved", "all other sounds"],
        done.rows,
        "Measured on the audio. What was not asked for moves too, in the word and elsewhere.",
    )
    heard = "".join(
        _heard(done.text, verdict, f"{when}, heard")
        for verdict, when in zip(found.heard, ("Before", "After"), strict=False)
    )
    return f'<p class="verdict"><strong>{escape(edit_answer(found.run).in_words())}</strong></p>{rows}{heard}'


def edited_picture(found: Edited) -> str:
    """Pitch before and after."""
    return figure_html(found.run.edits[0].plot(), "Pitch before and after along time")
