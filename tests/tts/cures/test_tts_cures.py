"""Cures: what fits, what is better, what is kept, and that nothing worse ever is."""

from dataclasses import dataclass

import numpy as np
import pytest
from spoken_toys import toy_reference
from voice_toys import SYMBOLS, shared_voice, toy_tacotron

from genmend.tts import mend
from genmend.tts.cures.case import Case, read
from genmend.tts.cures.mending import mend_sentence
from genmend.tts.cures.say_again import WINDOWS, has_seeds
from genmend.tts.cures.table import CURES, Cure
from genmend.tts.cures.way import Way, join_speech, join_tokens
from genmend.tts.mending.settings import SpeakSettings
from genmend.tts.text.tokens import Tokens
from genmend.tts.voices.tacotron import TacotronVoice
from genmend.tts.voices.voice import Speech

TEXT = "ab cd ef"
TOKENS = Tokens(
    TEXT,
    tuple(range(8)),
    tuple(TEXT),
    ("phoneme", "phoneme", "punctuation") * 2 + ("phoneme", "phoneme"),
    (0, 0, -1, 1, 1, -1, 2, 2),
    ("ab", "cd", "ef"),
)
WHOLE, SKIPS, STALLS = [0, 1, 2, 3, 4, 5, 6, 7], [0, 1, 2, 5, 6, 7], [0, 1, 2, *[3] * 11, 4, 5, 6, 7]


class Judge:
    """Hears what the first samples of the audio say: how many words are wrong."""

    def __init__(self):
        self.asked = 0

    def listen(self, audio, sample_rate, text):
        self.asked += 1
        words = text.split()
        heard = ["xx"] * int(audio[0]) + words[int(audio[0]) :]
        return " ".join(heard), np.full(len(words), float(audio[1]))


@dataclass(frozen=True)
class Said:
    """A way whose reading is known: the attention's path, wrong words, mean log probability."""

    path: tuple
    wrong: int = 0
    log: float = -0.1
    voice: object = None
    parts: tuple = (TOKENS,)
    seed: int = 0

    def say(self):
        audio = np.array([self.wrong, self.log, 0.5], np.float32)
        return TOKENS, Speech(audio, 1_000, 100, attention=np.eye(8)[list(self.path)])


def mended(first, *ways, judge=None, **options):
    """What becomes of a reading with one cure for each tuple of ways."""
    way = Said(*first)
    case = Case(way, read(*way.say(), judge=judge, text=TEXT), None, SpeakSettings(), listens=judge is not None)
    everything = ("skipped", "stalled", "heard otherwise", "not heard")
    cures = [
        Cure(f"cure {i}", "", everything, lambda case, tried=tried: ((str(t), Said(*t)) for t in tried))
        for i, tried in enumerate(ways)
    ]
    return mend_sentence(case, judge=judge, text=TEXT, cures=cures, **options)


@pytest.fixture
def judge():
    pytest.importorskip("jiwer")
    return Judge()


def outcomes(found):
    return [attempt.outcome.split(":")[0] for attempt in found.attempts]


def test_a_right_sentence_is_left_alone_at_no_further_cost(judge):
    found = mended((WHOLE,), [(WHOLE,)], judge=judge)
    assert (found.attempts, found.changed, judge.asked) == ((), False, 1)
    assert found.in_words() == "Nothing was wrong, so it was left alone."


def test_the_first_cure_that_leaves_nothing_wrong_ends_the_search():
    found = mended((SKIPS,), [(STALLS,), (WHOLE,)], [(WHOLE,)])
    assert outcomes(found) == ["better, but not the best", "kept"]
    assert found.before.n_misread == 2
    assert found.after.n_misread == 0
    assert "Mended by cure 0" in found.in_words()
    everything = mended((SKIPS,), [(STALLS,), (WHOLE,)], [(WHOLE,)], try_all=True)
    assert outcomes(everything) == ["better, but not the best", "kept", "refused"]


@pytest.mark.parametrize(
    ("first", "after"),
    [
        ((SKIPS, 0), (WHOLE, 1)),  # a fault less, and a word more heard wrongly
        ((WHOLE, 2), (STALLS, 0)),  # the opposite
        ((WHOLE, 2, -3.0), (WHOLE, 2, -0.1)),  # two equally wrong hearings
        ((STALLS, 0, -3.0), (STALLS, 0, -0.1)),  # the same faults, more probable
        ((SKIPS, 1), (SKIPS, 1)),
    ],
)
def test_nothing_is_kept_that_is_not_better_in_one_and_no_worse_in_the_other(judge, first, after):
    found = mended(first, [after], judge=judge)
    assert outcomes(found) == ["refused"]
    assert found.after is found.before
    assert found.in_words().startswith("Nothing was better than the original, which is kept")


def test_fewer_misheard_words_are_better_and_cures_are_put_on_one_another(judge):
    found = mended((SKIPS, 2), [(WHOLE, 2)], [(WHOLE, 2), (WHOLE, 0)], judge=judge)
    assert outcomes(found) == ["kept", "refused", "kept"]
    assert [attempt.cure for attempt in found.kept] == ["cure 0", "cure 1"]
    assert (found.after.n_misread, found.after.n_misheard) == (0, 0)
    assert found.to_dict()["cures"][1]["cure"] == "cure 1"


def test_of_two_attempts_that_are_heard_alike_the_more_probable_is_kept(judge):
    found = mended((SKIPS, 1), [(WHOLE, 0, -1.0), (WHOLE, 0, -0.2)], judge=judge, try_all=True)
    assert outcomes(found) == ["better, but not the best", "kept"]


def test_nobody_listens_to_what_is_refused_already(judge):
    found = mended((WHOLE, 1), [(SKIPS, 0)], judge=judge)
    assert judge.asked == 1
    assert found.attempts[0].verdict is None
    assert found.attempts[0].outcome == "refused: more faults of reading"


def test_without_a_judge_the_attention_alone_decides():
    found = mended((SKIPS, 0), [(WHOLE, 3)])
    assert found.changed
    assert found.after.verdict is None


def test_a_sentence_in_parts_is_one_row_of_tokens_and_one_speech():
    voice = shared_voice()
    one, other = voice.tokenize(phonemes="dˈasət mˈɔːn."), voice.tokenize(phonemes="ɐ bˈɔːs")
    tokens, speech = Way(voice, (one, other)).say()
    parts = [voice.speak(part) for part in (one, other)]
    assert len(tokens) == len(one) + len(other)
    assert speech.attention.shape == (sum(map(len, (p.attention for p in parts))) + 15, len(tokens))
    np.testing.assert_allclose(speech.attention.sum(axis=1), 1, atol=1e-5)
    assert len(speech.audio) == sum(len(part.audio) for part in parts) + 15 * 80  # 0.15 s
    assert speech.frames.sum() == len(speech.attention) == speech.mel.shape[1]
    assert join_tokens([one]) is one
    assert join_speech(parts[:1]) is parts[0]


def test_windows_and_seeds_are_tried_on_a_voice_that_attends():
    voice = shared_voice()
    tokens = voice.tokenize(phonemes="nəbˈita sˈudə tˈa nimˈo.")
    way = Way(voice, (tokens,))
    case = Case(way, read(*way.say()), None, SpeakSettings())
    assert not case.reading.is_right  # random weights attend to one place
    named = {cure.name: [how for how, _ in cure.ways(case)] for cure in CURES[:3] if cure.fits(case)}
    assert len(named["attention window"]) == len(WINDOWS)
    assert named["other seed"] == [f"seed {seed}" for seed in range(1, 6)]
    held = dict(next(cure for cure in CURES if cure.name == "attention window").ways(case))["1 back, 3 ahead"]
    assert (held.voice.attention_window, voice.attention_window) == ((1, 3), None)


@pytest.mark.parametrize(("noise", "expected"), [({}, True), ({"noise": 0.0}, False), ({"noise": 0.3}, True)])
def test_a_voice_without_noise_says_the_same_with_every_seed(noise, expected):
    assert has_seeds(type("Quiet", (TacotronVoice,), noise)(toy_tacotron(), SYMBOLS, shared_voice().mel)) is expected


def test_a_language_that_whisper_does_not_know_is_mended_by_the_attention_alone(monkeypatch):
    def unknown(voice):
        raise ValueError("Whisper does not know it")

    monkeypatch.setattr("genmend.tts.mending.mend.judge_for", unknown)
    voice, reference, _ = toy_reference()
    settings = SpeakSettings(mend=True, phonemes="nəbˈita sˈudə.", copies=2)
    run = mend(voice, "two words", reference=reference, settings=settings)
    assert run.settings["not_heard_because"] == "Whisper does not know it"
    assert run[0].mending.attempts
    assert all(attempt.verdict is None for attempt in run[0].mending.attempts)


def test_phonemes_alone_are_no_text_to_be_heard(monkeypatch, judge):
    monkeypatch.setattr("genmend.tts.mending.mend.judge_for", lambda voice: judge)
    voice, reference, _ = toy_reference()
    mend(voice, "", reference=reference, settings=SpeakSettings(mend=True, phonemes="nəbˈita sˈudə.", copies=2))
    assert judge.asked == 0
