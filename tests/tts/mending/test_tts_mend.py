"""What the command line does with a text, from Python: say, diagnose, repair, judge and keep; and rank sentences."""

import sys

import numpy as np
import pytest
import soundfile
from spoken_toys import random_sentences, toy_reference

from genmend.storage.weights import MissingWeightsError
from genmend.tts import diagnose, mend, repair
from genmend.tts.mending.cached_reference import reference_for
from genmend.tts.mending.combination_file import load_repairs
from genmend.tts.mending.kept_repairs import read_carriers
from genmend.tts.mending.ranking import rank_sentences, sentence_columns
from genmend.tts.mending.settings import SpeakSettings
from genmend.tts.prosody.cached_moves import load_or_fit_moves
from genmend.tts.voices.wav import write_wav

SETTINGS = {"repair": True, "layer": "convolutions.0", "copies": 6, "judge": "none"}


@pytest.fixture(autouse=True)
def _no_cache(monkeypatch):
    monkeypatch.setattr("genmend.tts.mending.mend.reference_for", pytest.fail)
    monkeypatch.setattr("genmend.tts.mending.ranking.reference_for", pytest.fail)


@pytest.fixture(scope="module")
def flagged():
    """Phonemes of a sentence of which something is outside, and its tokens."""
    voice, reference, _ = toy_reference()
    sentences = random_sentences(40, seed=3)
    found = diagnose(voice, reference, sentences, layer=SETTINGS["layer"], layers=())
    tokens = next(d.tokens for d in found if len(d.flagged))
    return tokens.phonemes, tokens


class Judge:
    """Hears the right words of every second sentence it is given, first or second as asked for."""

    right = 1

    def __init__(self):
        self.heard = 0

    def listen(self, audio, sample_rate, text):
        self.heard += 1
        well = (self.heard - 1) % 2 == self.right
        return (text if well else "something else"), np.full(len(text.split()), -0.1 if well else -3.0)


def test_the_sentence_is_said_diagnosed_and_repaired_as_its_parts_do_it(flagged):
    voice, reference, _ = toy_reference()
    ipa, _ = flagged
    run = mend(voice, ipa, reference=reference, settings=SpeakSettings(phonemes=ipa, **SETTINGS))
    (sentence,) = run
    tokens = voice.tokenize(ipa, phonemes=ipa)
    done = repair(voice, reference, tokens, layer=SETTINGS["layer"], copies=6)
    assert sentence.repair.to_dict() == done.to_dict()
    np.testing.assert_array_equal(sentence.repaired.audio, voice.speak(tokens, {done.layer: done.vectors}).audio)
    np.testing.assert_array_equal(sentence.speech.audio, voice.speak(tokens).audio)
    assert sentence.accepted is None
    assert sentence.final is sentence.repaired  # nobody judged it
    assert run.settings["psi"] == 0.3
    assert run.to_dict()["sentences"][0]["text"] == ipa
    assert "".join(run.token_columns()["symbol"]) == sentence.diagnosis.tokens.phonemes


def test_without_a_repair_it_is_said_and_diagnosed_alone(flagged):
    voice, reference, _ = toy_reference()
    (sentence,) = mend(voice, "", reference=reference, settings=SpeakSettings(phonemes=flagged[0], judge="none"))
    assert (sentence.repair, sentence.repaired, sentence.kept) == (None, None, ())
    assert sentence.final is sentence.speech


@pytest.mark.parametrize("right", [0, 1])
def test_a_repair_is_taken_only_if_the_judge_hears_it_better(flagged, monkeypatch, right):
    pytest.importorskip("jiwer")
    voice, reference, _ = toy_reference()
    monkeypatch.setattr(Judge, "right", right)
    monkeypatch.setattr("genmend.tts.measures.judges.WhisperJudge", Judge)
    settings = SpeakSettings(phonemes=flagged[0], **SETTINGS | {"judge": "whisper"})
    (sentence,) = mend(voice, "two words", reference=reference, settings=settings)
    assert sentence.accepted is (right == 1)
    assert [verdict.errors for verdict in sentence.verdicts] == ([2, 0] if right else [0, 2])
    assert sentence.final is (sentence.repaired if right else sentence.speech)


@pytest.mark.parametrize(("extra", "accepted"), [(0, False), (1, False), (2, True)])
def test_hama_decides_by_phonemes_and_a_single_one_does_not_count(flagged, monkeypatch, extra, accepted):
    class Phonemes:
        n_heard = 0

        def __call__(self, audio, sample_rate):
            Phonemes.n_heard += 1
            return ipa if Phonemes.n_heard % 2 == 0 else ipa + "m" * extra  # first the original

    ipa = flagged[0]
    voice, reference, _ = toy_reference()
    monkeypatch.setattr("genmend.tts.measures.judges.PhonemeJudge", Phonemes)
    monkeypatch.setattr("genmend.tts.measures.judges.WhisperJudge", Judge)
    settings = SpeakSettings(phonemes=ipa, **SETTINGS | {"judge": "hama"})
    (sentence,) = mend(voice, "two words", reference=reference, settings=settings)
    assert sentence.accepted is accepted
    assert sentence.verdicts[0].errors - sentence.verdicts[1].errors == extra
    assert {verdict.judge for verdict in sentence.verdicts} == {"hama"}
    assert sentence.to_dict()["heard"][0]["log_probability"] is None


def test_hama_is_refused_where_it_cannot_decide(flagged, monkeypatch):
    with pytest.raises(ValueError, match="judge hama hears phonemes and decides on repair alone"):
        SpeakSettings(judge="hama", best_of=2, repair=True)
    voice, reference, _ = toy_reference()
    monkeypatch.setattr(voice, "language", "deu")
    monkeypatch.setattr(voice, "speak", pytest.fail)
    settings = SpeakSettings(phonemes=flagged[0], **SETTINGS | {"judge": "hama"})
    with pytest.raises(ValueError, match="speaks 'deu', and the judge hama hears English phonemes"):
        mend(voice, "two words", reference=reference, settings=settings)


def test_of_several_tries_the_best_heard_is_kept(flagged, monkeypatch):
    pytest.importorskip("jiwer")
    voice, reference, _ = toy_reference()
    monkeypatch.setattr("genmend.tts.measures.judges.WhisperJudge", Judge)
    settings = SpeakSettings(phonemes=flagged[0], best_of=2)
    (sentence,) = mend(voice, "two words", reference=reference, settings=settings)
    tokens = voice.tokenize("two words", phonemes=flagged[0])
    np.testing.assert_array_equal(sentence.speech.audio, voice.speak(tokens, seed=1).audio)


def test_repairs_that_hold_elsewhere_are_kept_in_a_file(flagged, tmp_path, monkeypatch):
    voice, reference, sentences = toy_reference()
    monkeypatch.setattr("genmend.tts.mending.mend.read_carriers", lambda voice, corpus: sentences)
    path = tmp_path / "kept.safetensors"
    settings = SpeakSettings(phonemes=flagged[0], save_repairs=path, **SETTINGS | {"psi": 0.0})
    run = mend(voice, "", reference=reference, settings=settings)
    moved = [token for token in run[0].repair.moved if token.distance > 0]
    assert len(run.kept) == len(moved) > 0
    written = [one.generalisation.repair.shown for one in run.kept if one.written]
    assert all(one.written == one.generalisation.holds for one in run.kept)
    assert path.exists() == bool(written)
    if written:
        assert [one.shown for one in load_repairs(path, voice)] == written


def test_sentences_are_ranked_and_the_unreadable_are_told():
    voice, reference, sentences = toy_reference()
    given = [(f"sentence {i}", tokens.phonemes) for i, tokens in enumerate(sentences[:6])] + [("foreign", "漢字")]
    ranking = rank_sentences(voice, given, reference=reference, settings=SpeakSettings(judge="none"))
    outside = [diagnosis.outside for diagnosis in ranking.diagnoses]
    assert outside == sorted(outside, reverse=True)
    assert len(ranking.diagnoses) == 6
    assert len(ranking.unreadable) == 1
    assert ranking.unreadable[0].startswith("foreign: ")
    assert ranking.n_risky == sum(share > 2 * ranking.base_rate for share in outside)
    columns = sentence_columns(ranking)
    np.testing.assert_array_equal(columns["outside"], outside)
    assert set(ranking.pair_columns()["pair"]) == {pair.pair for pair in ranking.pairs}
    assert [line.get_label() for line in ranking.plot().axes[0].lines] == ["ordinary held-out text"]
    with pytest.raises(ValueError, match="can read none of the sentences of the list"):
        rank_sentences(voice, given[-1:], reference=reference, settings=SpeakSettings(judge="none"))


def test_what_is_heard_wrongly_stands_before_what_lies_outside(monkeypatch):
    voice, reference, sentences = toy_reference()
    given = [(f"sentence {i} here", tokens.phonemes) for i, tokens in enumerate(sentences[:6])]
    misheard = {given[4][0]: "sentence or two", given[1][0]: "sentence 1 hear"}

    class Listener:
        def listen(self, audio, sample_rate, text):
            return misheard.get(text, text), np.zeros(len(text.split()))

    monkeypatch.setattr("genmend.tts.mending.ranking.load_listener", lambda voice, settings: Listener())
    monkeypatch.setattr("genmend.tts.mending.ranking.find_reading_faults", lambda tokens, speech: ())
    ranking = rank_sentences(voice, given, reference=reference)
    assert [d.tokens.text for d in ranking.diagnoses[:2]] == [given[4][0], given[1][0]]
    outside = [diagnosis.outside for diagnosis in ranking.diagnoses[2:]]
    assert outside == sorted(outside, reverse=True)
    assert ranking.n_misheard == 2
    assert ranking.to_dict()["riskiest"][0]["heard"] == "sentence or two"
    columns = sentence_columns(ranking)
    assert columns["wrong_words"].tolist() == [2, 1, 0, 0, 0, 0]
    assert len(set(columns["base_rate"])) == 1
    assert ranking.pairs == tuple(pair for pair in ranking.pairs if pair.reference_count < 20)


def test_where_nobody_can_listen_that_is_said(flagged, monkeypatch):
    def missing(*_):
        raise MissingWeightsError("Weights whisper-tiny are not on this machine: genmend fetch whisper-tiny.")

    monkeypatch.setattr("genmend.tts.measures.judges.WhisperJudge", missing)
    voice, reference, sentences = toy_reference()
    run = mend(voice, "", reference=reference, settings=SpeakSettings(phonemes=flagged[0]))
    assert "genmend fetch whisper-tiny" in run.settings["not_heard_because"]
    assert (run[0].heard, run[0].heard_words) == (None, [])
    given = [("one", sentences[0].phonemes)]
    assert rank_sentences(voice, given, reference=reference).heard == ()
    with pytest.raises(MissingWeightsError):
        mend(voice, "", reference=reference, settings=SpeakSettings(phonemes=flagged[0], repair=True))


def test_sentences_become_one_wav_with_pauses(flagged, tmp_path):
    voice, _, _ = toy_reference()
    speech = voice.speak(flagged[1])
    write_wav(tmp_path / "one.wav", speech)
    write_wav(tmp_path / "two.wav", [speech, speech])
    one, rate = soundfile.read(tmp_path / "one.wav")
    two, _ = soundfile.read(tmp_path / "two.wav")
    assert rate == speech.sample_rate
    assert len(one) == len(speech.audio)
    assert len(two) == 2 * len(one) + round(0.25 * rate)
    assert np.abs(one).max() <= 1
    with pytest.raises(ValueError, match="no speech to write"):
        write_wav(tmp_path / "none.wav", [])


@pytest.mark.parametrize(
    ("option", "value"), [("k", 0), ("copies", 0), ("window", 0), ("best_of", 0), ("psi", 1.5), ("seed", -1)]
)
def test_settings_out_of_range_are_refused(option, value):
    with pytest.raises(ValueError, match=f"{option} is {value}"):
        SpeakSettings(**{option: value})


def test_every_setting_has_its_help():
    fields = SpeakSettings.__dataclass_fields__.values()
    assert all(field.metadata["help"].endswith(".") for field in fields)


@pytest.mark.parametrize("chosen", [{"repair": True}, {"best_of": 2}])
@pytest.mark.parametrize(
    ("language", "error", "says"),
    [
        (
            "de",
            MissingWeightsError,
            "speaks 'de', which the English Whisper does not know: .*genmend fetch whisper-base",
        ),
        ("quz", ValueError, "speaks 'quz', which Whisper does not know: give judge="),
    ],
)
def test_a_judge_of_another_language_is_refused_before_anything_is_said(
    flagged, monkeypatch, tmp_path, chosen, language, error, says
):
    pytest.importorskip("faster_whisper")
    voice, reference, _ = toy_reference()
    monkeypatch.setenv("GENMEND_CACHE", str(tmp_path))
    monkeypatch.setattr(voice, "language", language)
    monkeypatch.setattr(voice, "speak", pytest.fail)
    with pytest.raises(error, match=says):
        mend(voice, "", reference=reference, settings=SpeakSettings(phonemes=flagged[0], **chosen))


def test_the_judge_hears_the_language_of_the_voice(flagged, monkeypatch):
    asked = []

    class German(Judge):
        def __init__(self, language, kana):
            super().__init__()
            assert not kana
            self.language = language
            asked.append(language)

        def listen(self, audio, sample_rate, text):
            return "STRASSE dreissig", np.zeros(2)

    voice, reference, _ = toy_reference()
    monkeypatch.setattr(voice, "language", "deu")
    monkeypatch.setattr("genmend.tts.measures.judges.WhisperJudge", German)
    (sentence,) = mend(voice, "Straße dreißig", reference=reference, settings=SpeakSettings(phonemes=flagged[0]))
    assert asked == ["de"]
    assert (sentence.heard.errors, sentence.heard.language) == (0, "de")


def test_a_missing_counter_of_word_errors_is_told_before_anything_is_said(flagged, monkeypatch):
    voice, reference, _ = toy_reference()
    monkeypatch.setattr(voice, "speak", pytest.fail)
    monkeypatch.setitem(sys.modules, "jiwer", None)
    with pytest.raises(ModuleNotFoundError, match="jiwer"):
        mend(voice, "", reference=reference, settings=SpeakSettings(phonemes=flagged[0], repair=True))


@pytest.mark.parametrize("use", [reference_for, read_carriers, load_or_fit_moves])
def test_english_sentences_are_none_of_another_language(monkeypatch, use):
    voice, _, _ = toy_reference()
    monkeypatch.setattr(voice, "language", "deu")
    with pytest.raises(ValueError, match="speaks 'deu', and genmend's own reference sentences are English"):
        use(voice)
