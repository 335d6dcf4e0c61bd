"""The judges on the real voice, on what is no speech, and without their packages."""

import io
import shutil
import subprocess
import sys

import numpy as np
import pytest
import soundfile

from genmend.tts.measures.audio_input import is_silent, resample_to
from genmend.tts.measures.judges import PhonemeJudge, PocketsphinxJudge, WhisperJudge
from genmend.tts.measures.naturalness import Naturalness, dnsmos
from genmend.tts.measures.phoneme_errors import phoneme_errors
from genmend.tts.measures.word_errors import word_errors

TEXT, IPA = "A magazine oriented towards young people.", "ɐ mˌæɡɐzˈiːn ˈoːɹiəntᵻd təwˈɔːɹdz jˈʌŋ pˈiːpəl."
RATE = 16_000
SILENCE = np.zeros(RATE, dtype=np.float32)
CLICK = np.array([0.5], dtype=np.float32)
UNUSABLE = [
    (np.zeros((2, 100)), "shape"),
    (np.zeros(0), "no samples"),
    (np.array([0.1, np.nan]), "sample 1 is not finite"),
    (np.zeros(601 * 4000), "longer than 10 minutes"),
    (np.zeros(100, dtype=np.int16), "int16"),
]


@pytest.fixture(scope="module")
def spoken(joe):
    """One sentence of the real voice."""
    return joe.speak(joe.tokenize(TEXT, phonemes=IPA))


def judge_of(package, judge):
    """The judge, where its package is here; loaded once."""
    pytest.importorskip(package)
    if judge not in _loaded:
        _loaded[judge] = judge()
    return _loaded[judge]


_loaded = {}


@pytest.fixture(
    params=[
        pytest.param(("faster_whisper", WhisperJudge), marks=pytest.mark.real("whisper-tiny")),
        ("pocketsphinx", PocketsphinxJudge),
        ("hama", PhonemeJudge),
    ],
    ids=["whisper", "pocketsphinx", "hama"],
)
def judge(request):
    return judge_of(*request.param)


@pytest.mark.real("whisper-tiny", "joe")
def test_whisper_hears_the_sentence(spoken):
    heard = judge_of("faster_whisper", WhisperJudge)(spoken.audio, spoken.sample_rate)
    assert word_errors(TEXT, heard).errors == 0


@pytest.mark.real("joe")
def test_pocketsphinx_hears_most_of_the_sentence(spoken):
    heard = judge_of("pocketsphinx", PocketsphinxJudge)(spoken.audio, spoken.sample_rate)
    assert word_errors(TEXT, heard).rate <= 1 / 3


@pytest.mark.real("joe")
def test_hama_hears_most_sounds_and_misses_those_cut_out(spoken):
    judge = judge_of("hama", PhonemeJudge)
    whole = phoneme_errors(IPA, judge(spoken.audio, spoken.sample_rate))
    cut = phoneme_errors(IPA, judge(spoken.audio[: len(spoken.audio) // 2], spoken.sample_rate))
    assert whole.rate < 0.35
    assert cut.deletions > whole.deletions + whole.length // 4


@pytest.mark.real("joe")
def test_a_judge_hears_the_same_whatever_it_heard_before(judge, spoken):
    first = judge(spoken.audio, spoken.sample_rate)
    judge(0.3 * spoken.audio[::-1], spoken.sample_rate)
    assert judge(spoken.audio, spoken.sample_rate) == first != ""


@pytest.mark.real("joe")
def test_pocketsphinx_keeps_nothing_of_what_it_heard_before(spoken):
    judge = judge_of("pocketsphinx", PocketsphinxJudge)
    scores = []
    for audio in (spoken.audio, 0.3 * spoken.audio[::-1], spoken.audio):
        judge(audio, spoken.sample_rate)
        scores.append(judge._decoder.hyp().best_score)
    assert scores[0] == scores[2] != scores[1]


@pytest.mark.parametrize("audio", [SILENCE, CLICK], ids=["silence", "click"])
def test_what_holds_no_sound_is_heard_as_nothing(judge, audio):
    assert judge(audio, RATE) == ""


@pytest.mark.parametrize(("audio", "message"), UNUSABLE)
def test_unusable_audio_is_refused(judge, audio, message):
    with pytest.raises(ValueError, match=message):
        judge(audio, 4000)


@pytest.mark.real("whisper-tiny", "joe")
def test_whisper_grades_every_word_and_finds_the_wrong_one(spoken):
    judge = judge_of("faster_whisper", WhisperJudge)
    heard, right = judge.listen(spoken.audio, spoken.sample_rate, TEXT)
    _, wrong = judge.listen(spoken.audio, spoken.sample_rate, TEXT.replace("young", "hungry"))
    assert word_errors(TEXT, heard).errors == 0
    assert right.shape == wrong.shape == (6,)
    assert (right <= 0).all()
    assert right[4] > wrong[4] + 3
    np.testing.assert_allclose(right[:4], wrong[:4], atol=0.01)  # the words before the wrong one


@pytest.mark.slow
@pytest.mark.real("whisper-tiny", "whisper-base")
def test_german_is_heard_with_german_ears():
    pytest.importorskip("faster_whisper")
    if shutil.which("espeak-ng") is None:
        pytest.skip("espeak-ng is not installed")
    text = "Der Hund schläft im Garten, und die Katze sitzt auf dem Tisch."
    command = ["espeak-ng", "-v", "de", "--stdout", text]
    audio, rate = soundfile.read(io.BytesIO(subprocess.run(command, capture_output=True, check=True).stdout))
    heard, logs = WhisperJudge("de").listen(audio, rate, text)
    english, english_logs = judge_of("faster_whisper", WhisperJudge).listen(audio, rate, text)
    assert word_errors(text, heard, "de").rate < 0.5 < word_errors(text, english, "de").rate
    assert logs.mean() > english_logs.mean() + 3


def test_whisper_names_the_languages_that_it_knows():
    pytest.importorskip("faster_whisper")
    with pytest.raises(ValueError, match="Whisper knows no language 'quz'; it knows af, am, ar"):
        WhisperJudge("quz")


@pytest.mark.real("whisper-tiny")
@pytest.mark.parametrize(
    ("audio", "text", "message"),
    [
        (SILENCE, "one", "silent"),
        (np.ones(31 * RATE, dtype=np.float32), "one", "31 s long"),
        (np.ones(RATE, dtype=np.float32), " ", "0 tokens"),
        (np.ones(RATE, dtype=np.float32), "word " * 225, "225 tokens"),
    ],
)
def test_what_whisper_cannot_grade_is_refused(audio, text, message):
    with pytest.raises(ValueError, match=message):
        judge_of("faster_whisper", WhisperJudge).listen(audio, RATE, text)


@pytest.mark.real("joe")
def test_dnsmos_falls_with_noise(spoken):
    pytest.importorskip("speechmos")
    clean = dnsmos(spoken.audio, spoken.sample_rate)
    noisy = dnsmos(spoken.audio + np.random.default_rng(0).normal(0, 0.02, spoken.audio.size), spoken.sample_rate)
    assert noisy.overall < clean.overall - 0.5
    assert noisy.background < clean.background - 0.5
    assert 1 < noisy.p808 < clean.p808 < 5
    assert set(clean.to_dict()) == {"overall", "signal", "background", "p808"}


@pytest.mark.real("joe")
def test_dnsmos_takes_audio_beyond_full_scale(spoken):
    pytest.importorskip("speechmos")
    full = spoken.audio / np.abs(spoken.audio).max()
    assert dnsmos(3 * full, spoken.sample_rate).p808 == pytest.approx(dnsmos(full, spoken.sample_rate).p808, abs=0.01)


@pytest.mark.parametrize(("audio", "message"), [*UNUSABLE, (SILENCE, "silent")])
def test_dnsmos_refuses_unusable_audio_and_silence(audio, message):
    with pytest.raises(ValueError, match=message):
        dnsmos(audio, 4000)


@pytest.mark.parametrize(
    ("module", "package", "use"),
    [
        ("faster_whisper", "faster-whisper", WhisperJudge),
        ("pocketsphinx", "pocketsphinx", PocketsphinxJudge),
        ("hama", "hama", PhonemeJudge),
        ("speechmos", "speechmos", lambda: dnsmos(np.ones(RATE), RATE)),
        ("jiwer", "jiwer", lambda: word_errors("a", "b")),
    ],
)
def test_a_missing_package_is_named_with_its_extra(monkeypatch, module, package, use):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ModuleNotFoundError, match=rf"package {package}, .*pip install 'genmend\[audio-eval\]'"):
        use()


def test_weights_that_are_missing_are_named(monkeypatch, tmp_path):
    pytest.importorskip("faster_whisper")
    monkeypatch.setenv("GENMEND_CACHE", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="genmend fetch whisper-tiny"):
        WhisperJudge()


def test_audio_is_brought_to_another_rate():
    wave = np.sin(2 * np.pi * 440 * np.arange(22_050) / 22_050)
    found = resample_to(wave, 22_050)
    assert found.dtype == np.float32
    np.testing.assert_allclose(
        found[500:-500], np.sin(2 * np.pi * 440 * np.arange(16_000) / 16_000)[500:-500], atol=1e-2
    )


def test_silence_is_below_80_decibels():
    assert is_silent(np.full(10, 9e-5))
    assert not is_silent(np.full(10, 2e-4))


def test_naturalness_is_a_plain_record():
    assert Naturalness(1.0, 2.0, 3.0, 4.0).to_dict()["p808"] == 4.0
