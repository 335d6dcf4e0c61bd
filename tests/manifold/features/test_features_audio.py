"""Recordings: reading within limits, resampling, which frames carry sound, and calling audio extractors."""

import numpy as np
import pytest

from genmend.manifold.features import (
    AudioExtractor,
    UnusableSampleError,
    audio_files,
    extract,
    extract_audio,
    features_of,
    read_audio,
)
from genmend.manifold.features.audio_extractor import resample, sounding_frames
from genmend.manifold.features.extractors.speaker_vector import window_starts

soundfile = pytest.importorskip("soundfile")


def tone(seconds=0.5, rate=16_000, hertz=440.0):
    return (0.5 * np.sin(2 * np.pi * hertz * np.arange(int(seconds * rate)) / rate)).astype(np.float32)


def energy(wave):
    return np.array([np.sqrt(np.mean(wave**2)), len(wave)])


@pytest.mark.parametrize("ending", ["wav", "flac", "ogg"])
def test_channels_are_averaged_and_the_rate_is_kept(tmp_path, ending):
    stereo = np.stack([tone(rate=22_050), np.zeros(11_025, np.float32)], axis=1)
    soundfile.write(tmp_path / f"a.{ending}", stereo, 22_050)
    wave, rate = read_audio(tmp_path / f"a.{ending}")
    assert (rate, wave.dtype, wave.shape) == (22_050, np.float32, (11_025,))
    np.testing.assert_allclose(wave, tone(rate=22_050) / 2, atol=0.02 if ending == "ogg" else 1e-4)


def test_long_files_are_read_whole_over_several_blocks(tmp_path):
    noise = np.random.default_rng(0).uniform(-1, 1, 200_001).astype(np.float32)
    soundfile.write(tmp_path / "a.wav", noise, 16_000, subtype="FLOAT")
    np.testing.assert_array_equal(read_audio(tmp_path / "a.wav")[0], noise)


def refused(path, match):
    with pytest.raises(UnusableSampleError, match=match) as error:
        read_audio(path)
    assert error.value.path == str(path)


def test_what_is_outside_the_limits_is_refused(tmp_path, monkeypatch):
    soundfile.write(tmp_path / "slow.wav", tone(rate=2000), 2000)
    refused(tmp_path / "slow.wav", "sample rate is 2000 Hz")
    soundfile.write(tmp_path / "many.wav", np.zeros((100, 9)), 8000)
    refused(tmp_path / "many.wav", "9 channels")
    soundfile.write(tmp_path / "none.wav", np.zeros(0), 8000)
    refused(tmp_path / "none.wav", "no samples")
    for value in (np.nan, np.inf):
        broken = tone()
        broken[5000] = value
        soundfile.write(tmp_path / "nan.wav", broken, 16_000, subtype="FLOAT")
        refused(tmp_path / "nan.wav", "sample 5000 is not finite")
    monkeypatch.setattr(audio_files, "MOST_SECONDS", 1)
    soundfile.write(tmp_path / "long.wav", tone(1.01), 16_000)
    refused(tmp_path / "long.wav", "longer than")
    soundfile.write(tmp_path / "fits.wav", tone(1), 16_000)
    assert len(read_audio(tmp_path / "fits.wav")[0]) == 16_000


def test_a_length_that_a_program_did_not_know_is_not_believed(tmp_path):
    soundfile.write(tmp_path / "a.wav", tone(), 16_000)
    content = bytearray((tmp_path / "a.wav").read_bytes())
    place = content.index(b"data") + 4
    content[place : place + 4] = (2**31 - 2).to_bytes(4, "little")  # two gigabytes of samples
    (tmp_path / "a.wav").write_bytes(bytes(content))
    assert len(read_audio(tmp_path / "a.wav")[0]) == 8000


@pytest.mark.parametrize("content", [b"", b"RIFF", b"no audio" * 100])
def test_other_bytes_are_refused(tmp_path, content):
    (tmp_path / "a.wav").write_bytes(content)
    refused(tmp_path / "a.wav", r"no whole WAV, FLAC, OGG, MP3 or AIFF file")
    refused(tmp_path / "missing.wav", "No such file or directory; give a file that can be read")


KINDS = [("a.wav", "PCM_16"), ("a.wav", "FLOAT"), ("a.aiff", "PCM_16"), ("a.ogg", "VORBIS"), ("a.flac", "PCM_16")]


@pytest.mark.parametrize(("name", "subtype"), KINDS)
def test_a_recording_cut_in_two_is_an_error_and_a_whole_one_is_not(tmp_path, name, subtype):
    noise = np.random.default_rng(0).uniform(-0.3, 0.3, 24_001)  # an odd number of bytes, where one is a sample
    soundfile.write(tmp_path / name, noise, 16_000, subtype=subtype)
    assert len(read_audio(tmp_path / name)[0]) == 24_001
    content = (tmp_path / name).read_bytes()
    for share in (0.5, 0.95):
        (tmp_path / name).write_bytes(content[: int(share * len(content))])
        refused(tmp_path / name, r"ends too early|no whole|malformed")


def test_what_a_torn_recording_lacks_is_said(tmp_path):
    soundfile.write(tmp_path / "a.wav", tone(), 16_000)
    content = (tmp_path / "a.wav").read_bytes()
    (tmp_path / "a.wav").write_bytes(content[:-1000])
    refused(tmp_path / "a.wav", r"ends too early: its header announces 16000 bytes of sound, and 15000 are there")
    soundfile.write(tmp_path / "a.ogg", tone(3), 16_000)
    content = (tmp_path / "a.ogg").read_bytes()
    (tmp_path / "a.ogg").write_bytes(content[: content.rindex(b"OggS")])  # between two pages
    refused(tmp_path / "a.ogg", r"ends too early: its last page does not end the stream")


def test_resampling_keeps_a_tone():
    found = resample(tone(1, 44_100), 44_100, 16_000)
    assert found.shape == (16_000,)
    np.testing.assert_allclose(found[500:-500], tone(1, 16_000)[500:-500], atol=2e-3)
    same = tone()
    assert resample(same, 16_000, 16_000) is same


def test_frames_that_carry_sound():
    wave = np.concatenate([tone(0.1), np.zeros(3200, np.float32), 0.005 * tone(0.1), 0.02 * tone(0.0125)])
    # 46 dB below the loudest is silence, 34 dB is not; the last frame is short.
    assert sounding_frames(wave, 320).tolist() == [True] * 5 + [False] * 10 + [False] * 5 + [True]
    with pytest.raises(ValueError, match="silent"):
        sounding_frames(np.zeros(1000, np.float32), 320)


def test_extract_audio_resamples_for_the_extractor_and_keeps_the_order():
    extractor = AudioExtractor("energy", 8000, energy, {"layer": "energy"})
    found = extract_audio(extractor, [tone(0.5), tone(0.25) / 2, tone(1).astype(np.float64)], 16_000)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found[:, 1], [4000, 2000, 8000])
    np.testing.assert_allclose(found[:, 0], np.sqrt([0.125, 0.125 / 4, 0.125]), rtol=0.01)
    # A callable of one's own gets 16 kHz.
    np.testing.assert_allclose(extract_audio(energy, [tone(0.5)], 16_000)[0, 1], 8000)


def test_what_extract_audio_refuses():
    with pytest.raises(ValueError, match="no waves"):
        extract_audio(energy, [], 16_000)
    with pytest.raises(ValueError, match=r"Wave 1 has shape \(2, 4\)"):
        extract_audio(energy, [tone(), np.zeros((2, 4))], 16_000)
    with pytest.raises(ValueError, match="wave 0 cannot be used: sample 3 is not finite"):
        extract_audio(energy, [np.array([0, 0, 0, np.nan])], 16_000)
    with pytest.raises(ValueError, match=r"returned shape \(\) for wave 0; it has to return one vector"):
        extract_audio(lambda wave: wave.mean(), [tone()], 16_000)
    with pytest.raises(ValueError, match="features of wave 0 are not finite"):
        extract_audio(lambda wave: wave[:2] * np.nan, [tone()], 16_000)


def test_images_are_no_audio():
    torch = pytest.importorskip("torch")
    with pytest.raises(ValueError, match="'energy' is for audio"):
        extract(AudioExtractor("energy", 8000, energy, {"layer": "energy"}), torch.zeros(1, 3, 4, 4))


def test_features_of_waves_and_of_a_folder_agree(tmp_path, monkeypatch):
    monkeypatch.setenv("GENMEND_CACHE", str(tmp_path / "cache"))
    waves = [tone(0.2, hertz=hertz) for hertz in (200, 900, 400)]
    folder = tmp_path / "sounds"
    (folder / "deep").mkdir(parents=True)
    for name, wave in zip(("a.wav", "deep/b.wav", "c.flac"), waves, strict=True):
        soundfile.write(folder / name, wave, 16_000, subtype="FLOAT" if name.endswith("wav") else "PCM_24")
    (folder / "a.txt").write_text("the transcript")
    extractor = AudioExtractor("change", 16_000, lambda wave: np.abs(np.diff(wave))[:100], {"layer": "differences"})
    array = features_of(waves, extractor, sample_rate=16_000)
    assert (array.kind, array.names) == ("audio", ["0", "1", "2"])
    files = features_of(folder, extractor)
    assert (files.kind, files.names) == ("audio", ["a.wav", "c.flac", "deep/b.wav"])
    np.testing.assert_allclose(files.values, array.values[[0, 2, 1]], atol=1e-6)
    assert files.pipeline["sample_rate"] == 16_000
    with pytest.raises(ValueError, match="give their sample_rate"):
        features_of(waves, extractor)


def test_silence_is_an_unusable_sample(tmp_path, monkeypatch):
    monkeypatch.setenv("GENMEND_CACHE", str(tmp_path / "cache"))

    def loudest(wave):
        return np.array([sounding_frames(wave, 320).sum()])

    found = features_of([tone(), np.zeros(500), tone()], loudest, sample_rate=16_000, on_error="skip")
    assert found.names == ["0", "2"]
    assert found.skipped == [("1", "it is silent throughout")]


@pytest.mark.parametrize(
    ("samples", "starts"),
    # 1.6 s windows every 0.77 s; the last one must be filled to three quarters.
    [(1, [0]), (16_000, [0]), (25_600, [0]), (31_000, [0]), (31_600, [0, 77]), (60_000, [0, 77, 154, 231])],
)
def test_where_the_speaker_s_windows_begin(samples, starts):
    assert window_starts(samples) == starts


def test_channels_that_cancel_each_other_are_silence_and_named(tmp_path):
    soundfile = pytest.importorskip("soundfile")
    sound = 0.3 * np.sin(np.arange(16_000) / 7)
    for subtype in ("PCM_16", "FLOAT", "PCM_24"):
        soundfile.write(tmp_path / "anti.wav", np.stack([sound, -sound], axis=1), 16_000, subtype=subtype)
        with pytest.raises(UnusableSampleError, match=r"anti\.wav cannot be used: its channels cancel each other"):
            read_audio(tmp_path / "anti.wav")
    soundfile.write(tmp_path / "half.wav", np.stack([sound, 0 * sound], axis=1), 16_000)
    np.testing.assert_allclose(read_audio(tmp_path / "half.wav")[0], sound / 2, atol=1e-4)
    soundfile.write(tmp_path / "silent.wav", np.zeros((16_000, 2)), 16_000)
    assert not read_audio(tmp_path / "silent.wav")[0].any()


@pytest.mark.parametrize(
    "subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW", "IMA_ADPCM"]
)
def test_recordings_of_every_coding(tmp_path, subtype):
    soundfile = pytest.importorskip("soundfile")
    sound = 0.3 * np.sin(np.arange(16_000) / 40)
    soundfile.write(tmp_path / "A.WAV", sound, 16_000, subtype=subtype)
    found, rate = read_audio(tmp_path / "A.WAV")
    assert rate == 16_000
    np.testing.assert_allclose(found[: len(sound)], sound, atol=0.05)
