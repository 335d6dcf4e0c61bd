"""Waveforms from spectra: the transform and its inverse, pulses of a pitch, the parts of hibari's speech."""

import numpy as np
import pytest

from genmend.tts.voices.onnx.waveforms import _stft, audio_of_mel, audio_of_spectra, inverse_stft, pulse_train

RATE, SIZE, HOP = 8_000, 64, 16


def test_a_spectrum_turns_back_into_its_audio():
    audio = np.random.default_rng(0).normal(size=HOP * 20)
    spectrum = _stft(audio, SIZE, HOP)
    assert spectrum.shape == (SIZE // 2 + 1, 21)
    np.testing.assert_allclose(inverse_stft(spectrum[:, :20], HOP)[: HOP * 17], audio[: HOP * 17], atol=1e-6)


def test_pulses_are_the_sum_of_all_harmonics_below_11_khz():
    pitch = np.full(10, 4_000.0)
    time = (np.arange(10 * HOP) + 1) / RATE
    expected = np.cos(2 * np.pi * 4_000 * time) + np.cos(2 * np.pi * 8_000 * time)
    np.testing.assert_allclose(pulse_train(pitch, HOP, RATE), expected, atol=1e-6)
    assert not pulse_train(np.zeros(5), HOP, RATE).any()
    assert np.isfinite(pulse_train(np.linspace(0, 400, 50), HOP, RATE)).all()


def test_the_parts_add_up_and_noise_has_a_seed():
    quiet, none = np.full((9, 12), -20.0), np.zeros((9, 12))
    pitch = np.full(12, 500.0)
    middle = np.pi * np.arange(9)[:, None] + none  # phases of a pulse in the middle of a frame, where the window is 1

    def said(*, harmonic=quiet, noise=quiet, rest=quiet, seed=0):
        return audio_of_spectra(harmonic, none, noise, rest, middle, pitch, RATE, np.random.default_rng(seed))

    assert np.abs(said()).max() < 1e-6
    for part in ({"harmonic": none}, {"noise": none}, {"rest": none}):
        assert np.abs(said(**part)).max() > 0.05
    np.testing.assert_array_equal(said(noise=none), said(noise=none))
    assert np.abs(said(noise=none) - said(noise=none, seed=1)).max() > 0.1
    assert np.isfinite(said(harmonic=np.full((9, 12), 1e4))).all()  # no magnitude beyond e^7


class Vocos:
    """Stands in for a session of a Vocos vocoder: magnitudes, cosines and sines."""

    def get_inputs(self):
        return [type("Input", (), {"name": "mel"})]

    def run(self, names, feeds):
        shape = (1, 9, feeds["mel"].shape[2])
        return [np.ones(shape), np.ones(shape), np.zeros(shape)]


def test_a_mel_becomes_audio_with_and_without_a_vocoder():
    pytest.importorskip("torchaudio")
    mel = np.full((20, 12), -2.0, np.float32)
    assert audio_of_mel(mel, RATE, 4, Vocos()).shape == (12 * 4,)
    plain = audio_of_mel(mel, RATE, 64)
    assert plain.dtype == np.float32
    assert len(plain) == 11 * 64
