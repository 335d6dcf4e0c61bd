"""Voices by name and path: saved tiny models come back, and everything else is refused with what is accepted."""

import json
import sys
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("transformers")

import transformers_toys as toys
from test_tts_tacotron import files  # noqa: F401  a fixture
from transformers import FastSpeech2ConformerWithHifiGan, FastSpeech2ConformerWithHifiGanConfig

from genmend.tts.voices.fastspeech import FastSpeechVoice
from genmend.tts.voices.load import load_voice
from genmend.tts.voices.speecht5 import SpeechT5Voice
from genmend.tts.voices.tacotron import TacotronVoice
from genmend.tts.voices.vits import VitsVoice


def test_a_tacotron_file_is_loaded_with_its_options(files):  # noqa: F811
    voice = load_voice(files, attention_window=(1, 3))
    assert isinstance(voice, TacotronVoice)
    assert voice.attention_window == (1, 3)


def test_a_saved_vits_comes_back(tmp_path):
    saved = toys.vits_voice(tmp_path)
    saved.model.save_pretrained(tmp_path / "mms-toy")
    (tmp_path / "mms-toy" / "vocab.json").write_text((tmp_path / "vocab.json").read_text())
    (tmp_path / "mms-toy" / "tokenizer_config.json").write_text(json.dumps({"phonemize": False, "language": "toy"}))
    voice = load_voice(tmp_path / "mms-toy", length=1.5)
    assert isinstance(voice, VitsVoice)
    assert (voice.name, voice.length) == ("mms-toy", 1.5)
    tokens = voice.tokenize("bad cage")
    assert tokens == saved.tokenize("bad cage")
    np.testing.assert_array_equal(voice.encode([tokens])[0]["encoder.3"], saved.encode([tokens])[0]["encoder.3"])


def test_a_saved_fastspeech_comes_back_with_its_vocoder_or_another(tmp_path):
    model, vocoder = toys.fastspeech_model(), toys.fastspeech_vocoder()
    config = FastSpeech2ConformerWithHifiGanConfig(
        model_config=model.config.to_dict(), vocoder_config=vocoder.config.to_dict()
    )
    whole = FastSpeech2ConformerWithHifiGan(config)
    whole.model.load_state_dict(model.state_dict())
    whole.vocoder.load_state_dict(vocoder.state_dict())
    for name, part in (("whole", whole), ("bare", model), ("hifigan", vocoder)):
        part.save_pretrained(tmp_path / name)
    for name in ("whole", "bare"):
        table = {symbol: i for i, symbol in enumerate(toys.SOUNDS)}
        (tmp_path / name / "vocab.json").write_text(json.dumps(table))
    one, other = load_voice(tmp_path / "whole"), load_voice(tmp_path / "bare", vocoder=tmp_path / "hifigan")
    assert isinstance(one, FastSpeechVoice)
    tokens = one.tokenize(phonemes="HH AH0 L OW1")
    expected = toys.fastspeech_voice().speak(tokens).audio
    for voice in (one, other):  # where weights lie in memory decides how sums are rounded
        np.testing.assert_allclose(voice.speak(tokens).audio, expected, rtol=1e-3, atol=1e-10)
    with pytest.raises(ValueError, match="give vocoder="):
        load_voice(tmp_path / "bare")


def test_a_saved_speecht5_comes_back(tmp_path, monkeypatch):
    saved = toys.speecht5_voice()
    saved.model.save_pretrained(tmp_path / "t5")
    saved.vocoder.save_pretrained(tmp_path / "hifigan")

    class Table:
        def get_vocab(self):
            return {symbol: i for i, symbol in enumerate(toys.PIECES)}

    # The tokenizer itself needs sentencepiece, and a file that only sentencepiece writes.
    stand_in = SimpleNamespace(from_pretrained=lambda name, **_: Table())
    # transformers puts another module in its own place while it is imported.
    monkeypatch.setattr(sys.modules["transformers"], "SpeechT5Tokenizer", stand_in, raising=False)
    voice = load_voice(tmp_path / "t5", vocoder=tmp_path / "hifigan", speaker=np.arange(6.0))
    assert isinstance(voice, SpeechT5Voice)
    tokens = voice.tokenize("tea")
    np.testing.assert_allclose(voice.speak(tokens).mel, saved.speak(tokens).mel, rtol=1e-3, atol=1e-5)

    def missing(name, **_):
        raise ImportError("sentencepiece")

    stand_in.from_pretrained = missing
    with pytest.raises(ModuleNotFoundError, match="pip install sentencepiece"):
        load_voice(tmp_path / "t5")


def test_a_piper_voice_takes_no_other_device(tmp_path):
    for name in ("joe", str(tmp_path / "other.onnx")):
        with pytest.raises(ValueError, match="runs by onnxruntime, on the CPU; the device is 'cuda'"):
            load_voice(name, device="cuda")


def test_no_hub_is_asked_without_download():
    with pytest.raises(FileNotFoundError, match=r"facebook/mms-tts-xyz is not on this machine: give download=True"):
        load_voice("facebook/mms-tts-xyz")
    with pytest.raises(FileNotFoundError, match="download=True"):
        load_voice("torchaudio:TACOTRON2_GRIFFINLIM_CHAR_LJSPEECH")


@pytest.mark.parametrize("name", ["", "jo", "joe.wav", "./voices/none", "~/voice", "a/b/c", "torchaudio:"])
def test_what_is_no_voice_is_answered_with_what_is(name):
    with pytest.raises(ValueError, match=r"accepted are|choose one"):
        load_voice(name)


def test_missing_and_foreign_files_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.onnx"):
        load_voice(tmp_path / "none.onnx")
    with pytest.raises(FileNotFoundError, match=r"none\.safetensors"):
        load_voice(tmp_path / "none.safetensors")
    with pytest.raises(FileNotFoundError, match=r"has no config\.json"):
        load_voice(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(ValueError, match="of the kind 'bert'; accepted are vits"):
        load_voice(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "unheard_of"}))
    with pytest.raises(ValueError, match="no model that transformers knows"):
        load_voice(tmp_path)


@pytest.mark.parametrize(
    ("name", "accepted"),
    [
        ("joe", "duration_noise, length, noise, speaker"),
        ("none.onnx", "duration_noise, language, length, name, noise, speaker"),
        ("tacotron", "attention_window, language, mel_deviation, mel_mean, name, reads, vocoder"),
        ("none.safetensors", "attention_window, language, mel_deviation, mel_mean, name, reads, vocoder"),
        ("torchaudio:TACOTRON2_GRIFFINLIM_CHAR_LJSPEECH", "attention_window, language"),
        ("vits", "duration_noise, length, name, noise, speaker"),
        ("fastspeech2_conformer", "lang_ids, name, speaker_embedding, speaker_ids, vocoder"),
        ("speecht5", "head, name, speaker, vocoder"),
    ],
)
def test_an_option_that_a_voice_does_not_have_is_answered_with_those_it_has(name, accepted, tmp_path):
    if name in ("vits", "fastspeech2_conformer", "speecht5"):
        (tmp_path / "config.json").write_text(json.dumps({"model_type": name}))
        name = tmp_path
    with pytest.raises(TypeError, match=f"has no option 'nosie'; accepted are {accepted}"):
        load_voice(name, nosie=0.5)


def test_the_nearest_option_is_named():
    with pytest.raises(TypeError, match=r"Did you mean noise\?"):
        load_voice("joe", nois=0.5)


@pytest.mark.real("joe")
def test_joe_is_loaded_by_name():
    pytest.importorskip("onnxruntime")
    assert load_voice("joe", noise=0.5).noise == 0.5
