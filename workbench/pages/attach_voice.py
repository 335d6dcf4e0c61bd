"""The first screen of ``genmend attach`` for a voice: what a file's repairs do to a text, to be heard beside it."""

from __future__ import annotations

from genmend.tts.mending.figures import visible_symbol
from genmend.tts.mending.spoken import SpeakRun
from genmend.workbench.pages.blocks import Players
from genmend.workbench.pages.page import Answer, Number
from genmend.workbench.pages.speak_mending import audio_block

__all__ = ["repairs_answer"]


def repairs_answer(run: SpeakRun) -> Answer:
    """How many sounds of the text are moved, and how many lie where the voice has not been before and after."""
    moved = [one for sentence in run if sentence.repair is not None for one in sentence.repair.moved if one.distance]
    n = sum(int(sentence.diagnosis.tokens.spoken.sum()) for sentence in run)
    if not moved:
        return Answer(
            "The file's repairs meet none of the sounds of this text, so it is said as it was; give a text with one of "
            "the combinations below.",
            pictures=[audio_block(sentence.diagnosis.tokens.text, sentence.speech) for sentence in run],
        )
    before, after = sum(one.score > 1 for one in moved), sum(one.score_after > 1 for one in moved)
    symbols = ", ".join(dict.fromkeys(visible_symbol(one.symbol) for one in moved))
    return Answer(
        f"The file's repairs move {len(moved)} of {n} sounds of this text ({symbols}); whether that is better, listen.",
        Number("Of these outside of where the voice has been", f"{after} of {len(moved)}", f"before: {before}"),
        ["Nobody listened: no judge was asked."],
        [
            Players(
                sentence.diagnosis.tokens.text,
                [
                    audio_block("Without the repairs", sentence.speech),
                    *([] if sentence.repaired is None else [audio_block("With them", sentence.repaired)]),
                ],
            )
            for sentence in run
        ],
    )
