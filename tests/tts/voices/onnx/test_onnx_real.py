"""hibari and Kokoro-82M as their packages carry them: loaded, heard, their layers put back; phonemes are given."""

import json

import numpy as np
import pytest

pytest.importorskip("onnxruntime")

from genmend.tts import load_voice
from genmend.tts.prosody.sentence_edits import edit_sentence
from genmend.tts.voices.onnx.kinds import kokoro_table

IPA = "ðə kwˈɪk bɹˈaʊn fˈɑːks dʒˈʌmps ˌoʊvɚ ðə lˈeɪzi dˈɔɡ."


def heard(speech):
    from genmend.tts.measures.judges import WhisperJudge

    return WhisperJudge()(speech.audio, speech.sample_rate).lower().strip(" .")


_KOKORO = (pytest.mark.real("kokoro"), pytest.mark.slow)  # two seconds of one core for one of speech


@pytest.fixture(
    scope="module",
    params=[pytest.param("hibari", marks=pytest.mark.real("hibari")), pytest.param("kokoro", marks=_KOKORO)],
)
def voice(request):
    return load_voice(request.param)


def test_the_table_is_the_packages(voice):
    given = json.loads(voice.path.with_name("vocab.json").read_text(encoding="utf-8"))
    assert given.get("vocab", given) == kokoro_table()["symbols"]


def test_espeaks_phonemes_are_read_as_the_voice_was_trained(voice):
    tokens = voice.tokenize(phonemes=IPA)
    assert tokens.phonemes == "ðə kwˈɪk bɹˈWn fˈɑks ʤˈʌmps ˌOvəɹ ðə lˈAzi dˈɔɡ."
    assert tokens.ids[0] == tokens.ids[-1] == 0
    assert not tokens.dropped


def test_it_speaks_at_its_own_durations_and_level(voice):
    speech = voice.speak(voice.tokenize(phonemes=IPA))
    assert speech.sample_rate == 24_000
    assert (speech.hop, len(speech.audio)) == (600, 600 * speech.frames.sum())
    assert 2.5 < speech.seconds < 5
    assert 0.02 < np.sqrt(np.mean(speech.audio**2)) < 0.3
    assert np.abs(speech.audio).max() <= 1


def test_layers_put_back_keep_every_sample_and_edits_do_not(voice):
    tokens = voice.tokenize(phonemes="ðə kˈɑːɹ.")
    spoken, encoded = voice.speak(tokens), voice.encode([tokens])[0]
    np.testing.assert_array_equal(voice.speak(tokens, encoded).audio, spoken.audio)
    for layer in voice.layers[1:]:
        edited = encoded[layer].copy()
        edited[5:8] *= 1.5
        changed = voice.speak(tokens, {layer: edited})
        assert changed.audio.shape != spoken.audio.shape or np.abs(changed.audio - spoken.audio).max() > 1e-3, layer


@pytest.mark.real("whisper-tiny")
def test_every_word_is_heard(voice):
    pytest.importorskip("faster_whisper")
    assert heard(voice.speak(voice.tokenize(phonemes=IPA))) == "the quick brown fox jumps over the lazy dog"


@pytest.mark.slow
@pytest.mark.real("kokoro")
def test_kokoro_has_five_voices_and_reads_kana():
    voice = load_voice("kokoro", speaker="jm_kumo", language="ja")
    assert voice.speaker_name == "jm_kumo"
    tokens = voice.tokenize("きょう は いい てんき です。")
    assert not tokens.dropped
    assert 1 < voice.speak(tokens).seconds < 4
    with pytest.raises(ValueError, match="has jf_alpha, jf_gongitsune, jf_nezumi, jf_tebukuro, jm_kumo"):
        load_voice("kokoro", speaker="af_heart")


@pytest.mark.parametrize("asked", [-3, 2])
def test_a_word_is_said_higher_or_lower_and_nothing_else_moves(voice, asked):
    edit = edit_sentence(voice, "The car left.", [f"car:pitch={asked:+}st"], phonemes="ðə kˈɑːɹ lˈɛft.").edits[0]
    assert abs(edit.achieved["pitch"] - asked) < 0.5
    assert abs(edit.elsewhere["pitch"]) < 0.5
    np.testing.assert_array_equal(edit.after.frames, edit.before.frames)
