"""Piper voices of several speakers, on a tiny voice that runs."""

import numpy as np
import pytest

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from piper_toys import piper_graph, write_piper

from genmend.tts import load_voice
from genmend.tts.measures.voice_judge import judge_for
from genmend.tts.voices.onnx.graph import VoiceFileError
from genmend.tts.voices.piper import PiperVoice

IPA = "ˈabta dɔː."
NAMES = {"ann": 0, "bob": 2, "3922": 1}


@pytest.fixture
def path(tmp_path):
    return write_piper(tmp_path, piper_graph(3), num_speakers=3, speaker_id_map=NAMES)


def spoken(path, **options):
    voice = PiperVoice(path, **options)
    return voice.speak(voice.tokenize(phonemes=IPA))


@pytest.mark.parametrize(("speaker", "number"), [("bob", 2), (2, 2), ("3922", 1), (3922, 1), ("2", 2), (2.0, 2)])
def test_a_speaker_has_a_name_and_a_number(path, speaker, number):
    assert PiperVoice(path, speaker=speaker).speaker == number


def test_each_speaker_speaks_otherwise_and_by_the_durations_of_its_own(path):
    ann, bob = spoken(path), spoken(path, speaker="bob")
    assert len(ann.audio) == ann.frames.sum() * ann.hop
    assert ann.frames.tolist() != bob.frames.tolist()
    voice = PiperVoice(path, speaker=2)
    tokens = voice.tokenize(phonemes=IPA)
    for layer, vectors in voice.encode([tokens])[0].items():
        np.testing.assert_array_equal(voice.speak(tokens, {layer: vectors}).audio, bob.audio)


@pytest.mark.parametrize("speaker", ["eve", 3, -1, 1.5, "", "-1"])
def test_a_speaker_that_is_none_of_the_voice_is_refused(path, speaker):
    with pytest.raises(ValueError, match=r"but the voice has 3; give a number from 0 to 2 or one of ann, bob, 3922\."):
        PiperVoice(path, speaker=speaker)


def test_a_graph_without_speakers_takes_none(tmp_path):
    path = write_piper(tmp_path, num_speakers=4, speaker_id_map={"ann": 3})
    assert PiperVoice(path).speaker == 0
    with pytest.raises(ValueError, match="takes no speaker, so it would have no effect"):
        PiperVoice(path, speaker="ann")


@pytest.mark.parametrize("n", [None, 0, 1, 3])
def test_the_graph_says_how_many_speakers_there_are(tmp_path, n):
    path = write_piper(tmp_path, piper_graph(3), num_speakers=n, speaker_id_map=None)
    assert load_voice(path, speaker=2).speaker == 2


def test_names_beyond_the_graph_are_refused(tmp_path):
    path = write_piper(tmp_path, piper_graph(3), num_speakers=4, speaker_id_map={"ann": 3})
    with pytest.raises(VoiceFileError, match=r"toy\.onnx\.json gives 'ann' the number \d+, and the voice knows 3"):
        PiperVoice(path)


@pytest.mark.parametrize("width", [4, 6, 8])
def test_voices_of_any_width_are_read_with_their_noise(tmp_path, width):
    path = write_piper(tmp_path, piper_graph(width=width, latents=width // 2))
    one, again, other = (spoken(path, noise=0.7, duration_noise=0.8) for _ in range(3))
    voice = PiperVoice(path, noise=0.7, duration_noise=0.8)
    tokens = voice.tokenize(phonemes=IPA)
    one, again, other = (voice.speak(tokens, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one.audio, again.audio)
    assert other.audio.shape != one.audio.shape or not np.allclose(other.audio, one.audio)
    assert voice.encode([tokens])[0]["encoder.2"].shape == (len(tokens), width)
    slow = spoken(path, length=3.0)
    assert slow.frames.sum() > 2 * spoken(path).frames.sum()


def test_fields_that_are_null_or_missing_are_read(tmp_path):
    path = write_piper(
        tmp_path, phoneme_map=None, speaker_id_map=None, language=None, inference=None, phoneme_type=None
    )
    expected = spoken(path).audio
    for changed in ({"num_speakers": 1.0}, {"audio": {"sample_rate": 16_000.0, "quality": None}}):
        np.testing.assert_array_equal(spoken(write_piper(tmp_path, **changed)).audio, expected)


def test_texts_of_characters_obey_the_map_of_the_voice(tmp_path):
    numbers = {symbol: i for i, symbol in enumerate("_^$ .abdeimnost")}
    path = write_piper(
        tmp_path, phoneme_type="text", phoneme_id_map=numbers | {"sch": 15}, phoneme_map={"u": ["o", "o"]}, espeak=None
    )
    tokens = PiperVoice(path).tokenize("Schub.")
    assert [tokens.symbols[i] for i in np.flatnonzero(tokens.spoken)] == ["sch", "o", "o", "b", "."]
    assert tokens.dropped == ()


def test_nobody_looks_for_words_in_a_text_that_is_phonemes(tmp_path):
    pytest.importorskip("jiwer")
    voice = PiperVoice(write_piper(tmp_path, phoneme_type="text", espeak=None))
    assert voice.tokenize("ˈabta dɔː.").words == ("ˈabta", "dɔː")
    with pytest.raises(ValueError, match="toy reads texts that are phonemes, which can't be compared with the words"):
        judge_for(voice)
