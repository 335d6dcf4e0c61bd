"""The picture of a diagnosed sentence: what the attention did wrong is marked along its path."""

import numpy as np

from genmend.tts.mending.diagnosis import Diagnosis
from genmend.tts.mending.figures import can_draw, diagnosis_figure, visible_word
from genmend.tts.text.tokens import Tokens
from genmend.tts.voices.voice import Speech


def drawn(path):
    tokens = Tokens("abcd", tuple(range(4)), tuple("abcd"), ("phoneme",) * 4, (0,) * 4, ("abcd",))
    attention = np.eye(4)[list(path)]
    speech = Speech(np.zeros(8_000, np.float32), 8_000, 2_000, attention=attention, mel=np.zeros((4, len(path))))
    scores = {"layer": np.full(4, 0.5)}
    diagnosis = Diagnosis(tokens, "layer", scores, ("inside",) * 4, ((),) * 4, 0.05)
    axes = diagnosis_figure(diagnosis, speech).axes[-1]
    return axes.get_legend_handles_labels()[1], len(axes.patches)


def test_faults_of_the_attention_are_marked_at_their_tokens():
    assert drawn([0, 1, 2, 3]) == ([], 0)
    assert drawn([0, 3, 3]) == (["skipped"], 2)
    assert drawn([0, 1, *[2] * 6, 3]) == (["stalled"], 1)
    assert drawn([0, 1, 2, 3, 3, 3, 0, 0, 0, 3]) == (["went back to"], 1)


def test_words_that_the_font_of_pictures_cannot_write_are_drawn_by_their_phonemes():
    tokens = Tokens("ねこ left", tuple(range(4)), tuple("neko"), ("phoneme",) * 4, (0, 0, 0, 0), ("ねこ", "left"))
    assert visible_word(tokens, 0) == "neko"
    assert visible_word(tokens, 1) == "left"
    assert can_draw("ˈɔɪʒ naïve")
