"""Voices whose modules lie on a device encode, are edited and speak as on the CPU."""

import json

import numpy as np
import pytest
import torch
from labelled_device import labelled_device

pytest.importorskip("transformers")

import transformers_toys as toys
from transformers import VitsModel
from voice_toys import SENTENCES, random_module, toy_voice

from genmend.tts.prosody.predictor_edits import edit_through
from genmend.tts.voices.load import load_voice
from genmend.tts.voices.piper_torch import log_durations

pytestmark = pytest.mark.all  # half a minute of CPU


def tacotron(folder, device):
    voice = toy_voice()
    voice.model.to(device)
    return voice, voice.tokenize_all([""] * 2, SENTENCES[:2])


def tacotron_in_a_window(folder, device):
    voice, batch = tacotron(folder, device)
    return voice.with_attention_window(), batch


def tacotron_with_a_vocoder(folder, device):
    voice, batch = tacotron(folder, device)
    voice.vocoder = torch.nn.Conv1d(20, 1, 3, padding=1).requires_grad_(False)
    torch.nn.init.constant_(voice.vocoder.weight, 0.01)
    torch.nn.init.zeros_(voice.vocoder.bias)
    return voice, batch


def vits(folder, device):
    voice = toys.vits_voice(folder, noise=0.3)
    voice.model.to(device)
    return voice, voice.tokenize_all(["bad cage", "hi"])


def fastspeech(folder, device):
    voice = toys.fastspeech_voice(toys.fastspeech_config(num_speakers=3), speaker_ids=torch.tensor([[2]]))
    voice.model.to(device)  # and its vocoder stays
    return voice, voice.tokenize_all([""] * 2, ["HH AH0 L OW1 | OW1 L D", "HH OW1"])


def speecht5(folder, device):
    voice = toys.speecht5_voice()
    voice.model.to(device)
    voice.vocoder.to(device)
    return voice, voice.tokenize_all(["at", "tea."])


@pytest.mark.parametrize("make", [tacotron, tacotron_in_a_window, tacotron_with_a_vocoder, vits, fastspeech, speecht5])
def test_a_voice_speaks_on_the_device_as_on_the_cpu(make, tmp_path):
    expected = spoken(*make(tmp_path, "cpu"))
    with labelled_device() as device:
        found = spoken(*make(tmp_path, device))
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_voice_and_its_vocoder_are_loaded_onto_the_device(tmp_path, monkeypatch):
    whole, vocoder = toys.fastspeech_model(), toys.fastspeech_vocoder()
    for name, part in (("voice", whole), ("hifigan", vocoder)):
        part.save_pretrained(tmp_path / name)
    table = {symbol: number for number, symbol in enumerate(toys.SOUNDS)}
    (tmp_path / "voice" / "vocab.json").write_text(json.dumps(table))
    voice = load_voice(tmp_path / "voice", vocoder=tmp_path / "hifigan")
    tokens = voice.tokenize_all([""] * 2, ["HH AH0 L OW1 | OW1 L D"] * 2)
    expected = spoken(voice, tokens)
    # Read on the CPU, as always: transformers fills buffers that it makes without values, which the imitation lacks.
    monkeypatch.setattr("genmend.tts.voices.load._loaded", lambda *arguments: voice)
    with labelled_device() as device:
        voice = load_voice(tmp_path / "voice", device=str(device), vocoder=tmp_path / "hifigan")
        places = {weights.device for part in (voice.model, voice.vocoder) for weights in part.parameters()}
        assert places == {device}
        found = spoken(voice, tokens)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)


def spoken(voice, batch):
    """Vectors of all layers, and speech before and after an edit of each."""
    vectors = voice.encode(batch)
    layer = voice.layers[-1]
    edited = {layer: vectors[0][layer] * 0.5}
    speeches = [voice.speak(batch[0], seed=3), voice.speak(batch[0], edited, seed=3)]
    parts = [(one.audio, one.frames, one.attention, one.mel) for one in speeches]
    return [*vectors[0].values(), *vectors[1].values(), *(x for part in parts for x in part if x is not None)]


def test_durations_are_edited_through_a_predictor_on_the_device():
    vectors = np.random.default_rng(0).normal(size=(5, 16)).astype(np.float32)
    where = np.arange(5) < 2

    def edit(device):
        model = random_module(lambda: VitsModel(toys.vits_config())).requires_grad_(False).to(device)
        return edit_through(lambda given: log_durations(model, given), vectors, where, 1.0, n_steps=3).vectors

    expected = edit("cpu")
    with labelled_device() as device:
        np.testing.assert_array_equal(edit(device), expected)
