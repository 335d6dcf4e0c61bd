"""Labels of tokens against sounds whose length, pitch, level and tilt are known."""

from dataclasses import replace

import numpy as np
import pytest
from prosody_toys import ENERGY, HOP, PITCH, RATE, Hum, hummed_tokens

from genmend.tts.prosody.token_labels import (
    ATTRIBUTES,
    frame_measures,
    median_pitch,
    pitch_track,
    token_labels,
    token_spans,
)
from genmend.tts.voices.voice import Speech

pytest.importorskip("librosa")


def test_a_symbol_lasts_as_long_as_its_blanks():
    tokens = hummed_tokens(("ab",))  # ^ a _ b _ space _ $
    spans = token_spans(tokens, np.array([5, 2, 3, 4, 0, 1, 1, 6]))
    assert spans.tolist() == [[5, 5], [5, 10], [10, 10], [10, 14], [14, 14], [14, 16], [16, 16], [22, 22]]


def test_blanks_after_the_beginning_belong_to_nothing():
    tokens = replace(hummed_tokens(("a",)), kinds=("special", "blank", "phoneme", "blank", "special", "special"))
    spans = token_spans(tokens, np.array([1, 2, 3, 4, 1, 1]))
    assert spans[2].tolist() == [3, 10]
    assert (spans[[0, 1, 3, 4, 5], 0] == spans[[0, 1, 3, 4, 5], 1]).all()


def test_labels_are_what_was_hummed():
    voice, tokens = Hum(), hummed_tokens(("aaaa", "bbbb"))
    vectors = voice.encode([tokens], ["last"])[0]["last"]
    second = np.array(tokens.word_of) == 1
    second[1:] |= second[:-1]
    vectors[second, PITCH] += 0.2
    vectors[second, ENERGY] += 6
    labels = token_labels(tokens, voice.speak(tokens, {"last": vectors}))
    assert set(labels) == set(ATTRIBUTES)
    letters = np.array([kind == "phoneme" for kind in tokens.kinds])
    for values in labels.values():
        np.testing.assert_array_equal(np.isfinite(values), letters)
    np.testing.assert_allclose(labels["duration"][letters], np.log(16 * HOP / RATE))
    first, later = labels["pitch"][letters][1:3], labels["pitch"][letters][5:7]
    np.testing.assert_allclose(first, np.log(120), atol=0.02)
    np.testing.assert_allclose(later, np.log(120) + 0.2, atol=0.02)
    np.testing.assert_allclose(
        labels["energy"][letters][5:7].mean() - labels["energy"][letters][1:3].mean(), 6, atol=0.6
    )


def test_tilt_is_high_for_low_sounds():
    seconds = np.arange(RATE) / RATE

    def tilt(hertz):
        speech = Speech(np.sin(2 * np.pi * hertz * seconds).astype(np.float32), RATE, HOP)
        return np.median(frame_measures(speech)["tilt"])

    assert tilt(300) > 30
    assert tilt(3_000) < -30


def test_noise_has_no_pitch():
    noise = np.random.default_rng(0).normal(size=RATE).astype(np.float32) * 0.1
    track = pitch_track(Speech(noise, RATE, HOP))
    assert len(track) == 100
    assert np.isnan(track).mean() > 0.8


def test_a_median_of_too_few_frames_is_none():
    track = np.array([np.nan, 4.0, 4.2, np.nan, 4.4])
    assert np.isnan(median_pitch(track, 0, 4))
    assert median_pitch(track) == 4.2


def test_labels_need_frames():
    with pytest.raises(ValueError, match="no frames of its tokens"):
        token_labels(hummed_tokens(), Speech(np.zeros(RATE, np.float32), RATE, HOP))
