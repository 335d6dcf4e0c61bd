"""What a page tells of a sentence's faults and cures: players side by side, faults word by word, attempts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from genmend.tts import Speech
from genmend.tts.cures.case import Reading
from genmend.tts.cures.figures import reading_figure
from genmend.tts.cures.mending import Mending
from genmend.tts.measures.reading_faults import ReadingFault
from genmend.tts.mending.spoken import SpokenSentence
from genmend.tts.voices.wav import wav_bytes
from genmend.workbench.pages.page import Audio, Figure, Players, Section, Table

__all__ = ["attempts_section", "audio_block", "fault_blocks", "mending_blocks", "players"]

_WHAT = {
    "skipped": "skipped",
    "partly skipped": "skipped in part",
    "stalled": "stayed on for more than a second",
    "repeated": "went back to it",
    "end cut": "stopped before its end",
    "did not end": "did not end, stopped at its limit",
    "too short": "sounds far too short",
    "too long": "sounds far too long",
    "dropped": "symbols dropped by the front end",
    "not heard": "not heard",
    "heard otherwise": "heard otherwise",
    "added": "heard, not in the text",
}


def audio_block(caption: str, speech: Speech) -> Audio:
    """A player of one spoken sentence."""
    return Audio(caption, wav_bytes(speech.audio, speech.sample_rate))


def players(sentence: SpokenSentence) -> list[Any]:
    """The sentence as the voice says it; beside it what is kept in its place, where that is another reading."""
    text, mending = sentence.diagnosis.tokens.text, sentence.mending
    if mending is None or not mending.changed:
        return [audio_block(text, sentence.speech)]
    both = [(name, one) for name, one in (("Original", mending.before), ("Mended", mending.after))]
    return [Players(text, [audio_block(f"{name}{_heard(one)}", one.speech) for name, one in both])]


def _heard(reading: Reading) -> str:
    return "" if reading.verdict is None else f', heard as "{reading.verdict.heard}"'


def fault_blocks(faults: Sequence[ReadingFault], caption: str) -> list[Any]:
    """The faults word by word, in order; nothing where there is none."""
    rows = [
        [fault.word or "between words", _WHAT[fault.fault], _when(fault), _more(fault)]
        for fault in sorted(faults, key=lambda fault: (fault.seconds or (float("inf"),))[0])
    ]
    return [Table(caption, ["word", "what", "seconds", "more"], rows)] if rows else []


def mending_blocks(mending: Mending) -> list[Any]:
    """What was wrong, and what still is: word by word, and both readings along time; nothing where nothing was."""
    before, after = mending.before, mending.after
    blocks = fault_blocks(before.faults, "What is wrong with the original, word by word.")
    if before.is_right and not before.faults:
        return []
    longest = max(before.speech.seconds, after.speech.seconds)
    attends = ", below is the path of the attention" if before.speech.attention is not None else ""
    caption = f"The {{}} along time: what is wrong is coloured{attends}."
    blocks.append(Figure(caption.format("original"), reading_figure(before, seconds=longest)))
    if mending.changed:
        blocks += fault_blocks(after.faults, "What is still wrong with the mended reading.")
        blocks.append(Figure(caption.format("mended reading"), reading_figure(after, seconds=longest)))
    return blocks


def attempts_section(title: str, mending: Mending) -> Section:
    """Every reading that was tried, folded."""
    rows = [
        [
            attempt.cure,
            attempt.how,
            attempt.n_misread,
            None if attempt.verdict is None else attempt.verdict.errors,
            None if attempt.verdict is None else attempt.verdict.heard,
            attempt.outcome,
            round(attempt.seconds, 1),
        ]
        for attempt in mending.attempts
    ]
    caption = (
        "Each reading in the order it was tried, on top of what was kept before it. Faults of reading are those that "
        "the voice's own attention or durations show; where they are more than before, nobody listened."
    )
    header = ["cure", "how", "faults of reading", "words heard wrongly", "heard", "outcome", "seconds"]
    marked = [(row, 5) for row, attempt in enumerate(mending.attempts) if attempt.outcome == "kept"]
    return Section(title, [Table(caption, header, rows, marked=marked)], closed=True)


def _when(fault: ReadingFault) -> str | None:
    if fault.seconds is None:
        return None
    begin, end = fault.seconds
    return f"{begin:.2f}" if begin == end else f"{begin:.2f} to {end:.2f}"


def _more(fault: ReadingFault) -> str | None:
    if fault.fault in ("heard otherwise", "added"):
        return f'"{fault.detail}"'
    return fault.detail or None
