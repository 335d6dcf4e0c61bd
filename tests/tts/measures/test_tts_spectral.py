"""Cepstral distortion and pitch error: on tones of known pitch, and against loops written from the formulas."""

import numpy as np
import pytest

from genmend.tts.measures.spectral import PitchError, cents, mel_cepstral_distortion, pitch_error

librosa = pytest.importorskip("librosa")

RATE = 16_000


def tone(pitch, seconds=0.5, rate=RATE):
    """A harmonic tone, its overtones falling by 1/k."""
    time = np.arange(int(seconds * rate)) / rate
    return 0.2 * sum(np.sin(2 * np.pi * k * pitch * time) / k for k in range(1, 8))


def noise(seconds=0.3, seed=0):
    draw = np.random.default_rng(seed)
    return 0.1 * np.convolve(draw.normal(size=int(seconds * RATE)), [1, 0.8, 0.4], mode="same")


def cepstra_by_loops(wave):
    """c_1 .. c_13 of each frame, from the definition: padded, windowed, mel bands, logarithm, cosines."""
    padded = np.pad(wave.astype(np.float32), 512)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(1024) / 1024)
    bands = librosa.filters.mel(sr=RATE, n_fft=1024, n_mels=80)
    frames = range(0, len(padded) - 1023, 160)
    power = np.array([bands @ np.abs(np.fft.rfft(padded[i : i + 1024] * window)) ** 2 for i in frames])
    logs = np.log(np.maximum(power, power.max() * 1e-8))
    return np.array(
        [
            [sum(row[m] * np.cos(np.pi * d * (m + 0.5) / 80) for m in range(80)) / 80 for d in range(1, 14)]
            for row in logs
        ]
    )


def distortion_by_loops(before, after):
    """The mean along the cheapest path, by dynamic programming."""
    x, y = cepstra_by_loops(before), cepstra_by_loops(after)
    distance = np.array([[np.sqrt(((a - b) ** 2).sum()) for b in y] for a in x])
    best = np.full((len(x), len(y)), np.inf)
    for i in range(len(x)):
        for j in range(len(y)):
            ways = [best[i - 1, j - 1]] * (i > 0 and j > 0) + [best[i - 1, j]] * (i > 0) + [best[i, j - 1]] * (j > 0)
            best[i, j] = distance[i, j] + min(ways, default=0)
    i, j = len(x) - 1, len(y) - 1
    along = [distance[i, j]]
    while i or j:
        steps = [(i - 1, j - 1), (i - 1, j), (i, j - 1)]
        i, j = min((step for step in steps if min(step) >= 0), key=lambda step: best[step])
        along.append(distance[i, j])
    return 10 / np.log(10) * np.sqrt(2) * np.mean(along)


def test_a_recording_does_not_differ_from_itself():
    wave = tone(120)
    assert mel_cepstral_distortion(wave, wave, RATE) == 0
    found = pitch_error(wave, wave, RATE)
    assert (found.rmse, found.voicing) == (0, 0)
    assert found.n_voiced > 40


def test_loudness_alone_is_no_distortion():
    assert mel_cepstral_distortion(noise(), 0.5 * noise(), RATE) == pytest.approx(0, abs=1e-3)


def test_distortion_agrees_with_loops_over_the_definition():
    before, after = noise(0.3, 0), np.convolve(noise(0.25, 1), [1, -0.9], mode="same")
    expected = distortion_by_loops(before, after)
    assert expected > 3
    assert mel_cepstral_distortion(before, after, RATE) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("semitones", [-3, 1, 7])
def test_a_shifted_tone_is_off_by_its_cents(semitones):
    found = pitch_error(tone(150), tone(150 * 2 ** (semitones / 12)), RATE)
    assert found.rmse == pytest.approx(100 * abs(semitones), abs=12)
    assert found.voicing < 0.1


def test_the_sample_rate_does_not_matter():
    found = pitch_error(tone(150, rate=22_050), tone(300, rate=22_050), 22_050)
    assert found.rmse == pytest.approx(1200, abs=12)


def test_voiced_against_unvoiced_is_a_voicing_error():
    half = RATE // 4
    hissed = tone(150)
    hissed[half:] = noise(0.25, 3)
    found = pitch_error(tone(150), hissed, RATE)
    assert 0.2 < found.voicing < 0.6  # half of the recording, less what the warping finds a partner for
    assert found.rmse < 30


def test_without_voiced_frames_there_is_no_pitch_error():
    found = pitch_error(noise(), noise(), RATE)
    assert np.isnan(found.rmse)
    assert found.to_dict() == {"rmse": None, "voicing": 0.0, "n_frames": found.n_frames, "n_voiced": 0}


def test_cents_are_1200_an_octave():
    np.testing.assert_allclose(cents(np.array([100.0, 100.0, 440.0]), np.array([200.0, 50.0, 440.0])), [1200, -1200, 0])


def test_a_change_inside_the_spans_left_out_does_not_count():
    before = tone(120, 1.0)
    after = before.copy()
    after[int(0.4 * RATE) : int(0.6 * RATE)] = tone(170, 0.2)
    assert mel_cepstral_distortion(before, after, RATE) > 0.5
    assert mel_cepstral_distortion(before, after, RATE, leave_out=[(0.4, 0.6)]) == pytest.approx(0, abs=1e-4)
    assert mel_cepstral_distortion(before, after, RATE, leave_out=[(0.1, 0.2)]) > 0.5
    # pyin decides over the whole recording, so a hair may be left beside the span.
    whole = pitch_error(before, after, RATE)
    rest = pitch_error(before, after, RATE, leave_out=[(0.38, 0.62)])
    assert whole.rmse > 100
    assert rest.rmse < 20
    assert rest.n_frames < whole.n_frames


@pytest.mark.parametrize(
    ("before", "after", "options", "message"),
    [
        (np.zeros(RATE), tone(100), {}, "before is silent"),
        (tone(100), tone(100)[:500], {}, r"after lasts 0.031 s"),
        (tone(100), np.array([]), {}, "no samples"),
        (tone(100), np.where(np.arange(8000) == 5, np.nan, tone(100)), {}, "sample 5 is not finite"),
        (tone(100), tone(100), {"leave_out": [(0.3, 0.1)]}, "leave_out holds"),
        (tone(100), tone(100), {"leave_out": [(0.0, 9.0)]}, "covers the whole"),
    ],
)
def test_bad_input_is_refused(before, after, options, message):
    for measure in (mel_cepstral_distortion, pitch_error):
        with pytest.raises(ValueError, match=message):
            measure(before, after, RATE, **options)


@pytest.mark.real("joe")
def test_what_another_vowel_changes_in_a_real_voice_is_mostly_in_its_word(joe):
    voice, layer = joe, "encoder.3"
    car, keer = (voice.tokenize("The car left.", phonemes=f"ðə k{vowel}ɹ lˈɛft.") for vowel in ("ˈɑː", "ˈiː"))
    vectors, others = (given[layer] for given in voice.encode([car, keer], [layer]))
    vowel = car.symbols.index("ɑ")
    changed = vectors.copy()
    changed[vowel : vowel + 2] = others[vowel : vowel + 2]  # with its blank
    before, after = voice.speak(car), voice.speak(car, {layer: changed})
    word = [i for i, number in enumerate(car.word_of) if number == car.words.index("car")]
    span = (before.spans[word[0], 0], before.spans[word[-1] + 1, 1])
    same, whole, rest = (
        mel_cepstral_distortion(before.audio, other.audio, voice.sample_rate, leave_out=leave_out)
        for other, leave_out in ((before, []), (after, []), (after, [span]))
    )
    assert same == 0
    assert whole > 1.2 * rest > 0
    assert pitch_error(before.audio, before.audio, voice.sample_rate).rmse == 0
    assert pitch_error(before.audio, after.audio, voice.sample_rate).n_voiced > 10


def test_the_result_is_a_plain_record():
    assert PitchError(12.0, 0.1, 50, 30).to_dict() == {"rmse": 12.0, "voicing": 0.1, "n_frames": 50, "n_voiced": 30}
