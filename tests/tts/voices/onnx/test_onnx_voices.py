"""ONNX voices of the layouts that exporters write: recognised, spoken, encoded, spoken from a layer."""

import json

import numpy as np
import onnx_toys as toys
import pytest

pytest.importorskip("onnxruntime")
onnx = pytest.importorskip("onnx")

from genmend.tts import diagnose, fit_reference, load_voice, repair  # noqa: E402
from genmend.tts.prosody.edit_requests import EditRequest  # noqa: E402
from genmend.tts.prosody.prosody import moved_attributes  # noqa: E402
from genmend.tts.prosody.sentence_edits import edit_sentence  # noqa: E402
from genmend.tts.voices.onnx.graph import read_onnx  # noqa: E402
from genmend.tts.voices.onnx.kinds import graph_kind  # noqa: E402
from genmend.tts.voices.onnx.onnx_voice import OnnxVoice  # noqa: E402

SENTENCE = "bˈad dab."
META = {"sample_rate": 16_000, "n_speakers": 0}
MMS = {**META, "model_type": "vits", "comment": "mms", "add_blank": 1, "frontend": "characters", "language": "eng"}
COQUI = {**META, "model_type": "vits", "comment": "coqui", "voice": "en-us", "has_espeak": 1, "n_speakers": 1,
         "blank_id": 0, "bos_id": 7, "eos_id": 8}  # fmt: skip
ICEFALL = {**META, "model_type": "matcha-tts", "has_espeak": 1, "voice": "en-us", "n_speakers": 1, "pad_id": 0}
OWN = {"symbols": toys.SYMBOLS, "sample_rate": 16_000, "reads": "phonemes"}


def mms(folder):
    (folder / "tokens.txt").write_text(toys.TOKENS_TXT)
    return toys.vits(folder / "mms.onnx", **MMS)


def coqui(folder):
    (folder / "tokens.txt").write_text(toys.TOKENS_TXT)
    return toys.coqui(folder / "model.onnx", **COQUI)


def icefall(folder):
    (folder / "tokens.txt").write_text(toys.TOKENS_TXT)
    return toys.matcha(folder / "matcha.onnx", icefall=True, **ICEFALL)


def described(make, **more):
    def made(folder):
        path = make(folder / "voice.onnx")
        (folder / "voice.onnx.json").write_text(json.dumps(OWN | more))
        return path

    return made


def kokoro(folder):
    packs = np.random.default_rng(0).normal(0, 0.3, (2, 9, toys.UNITS)).astype(np.float32)
    np.savez(folder / "voices.npz", af_a=packs[0], bm_b=packs[1])
    return toys.kokoro(folder / "kokoro.onnx")


LAYOUTS = {
    "mms": (mms, "vits"),
    "coqui": (coqui, "coqui"),
    "icefall": (icefall, "matcha"),
    "matcha": (described(lambda path: toys.matcha(path, wav=True)), "matcha"),
    "matcha mel": (described(toys.matcha, hop=64), "matcha"),
    "transformers": (described(toys.transformers, reads="characters"), "transformers"),
    "kokoro": (kokoro, "kokoro"),
    "hibari": (lambda folder: toys.hibari(folder / "hibari.onnx"), "hibari"),
}
# Layers besides the embedding, and the number of tokens of SENTENCE with the blanks and ends of each.
EXPECTED = {"kokoro": (4, 11), "hibari": (6, 11), "coqui": (2, 21), "transformers": (2, 17)}


def given(voice, sentence=SENTENCE):
    """The sentence as tokens; voices that read characters have it without the mark of stress."""
    if voice.description.reads == "characters":
        return voice.tokenize(sentence.replace("ˈ", ""))
    return voice.tokenize(phonemes=sentence)


@pytest.fixture(scope="module", params=list(LAYOUTS))
def layout(request, tmp_path_factory):
    make, kind = LAYOUTS[request.param]
    path = make(tmp_path_factory.mktemp(request.param.replace(" ", "")))
    return request.param, kind, load_voice(path)


def test_a_layout_is_recognised_and_its_layers_are_found(layout):
    name, kind, voice = layout
    assert isinstance(voice, OnnxVoice)
    assert graph_kind(voice.model) == kind
    n_layers, n_tokens = EXPECTED.get(name, (2, 17 if name == "mms" else 19))
    assert len(voice.layers) == 1 + n_layers
    assert voice.layers[0] == "embedding"
    tokens = given(voice)
    assert len(tokens) == n_tokens
    for layer, vectors in voice.encode([tokens])[0].items():
        assert vectors.shape == (n_tokens, toys.UNITS), layer
        assert vectors.dtype == np.float32


def test_it_speaks_with_the_durations_that_it_tells(layout):
    _, _, voice = layout
    tokens = given(voice)
    speech = voice.speak(tokens)
    assert speech.frames.shape == (len(tokens),)
    assert speech.frames.min() >= 1
    assert abs(len(speech.audio) - speech.frames.sum() * speech.hop) <= speech.hop
    assert speech.audio.dtype == np.float32
    assert np.isfinite(speech.audio).all()
    assert np.ptp(speech.audio) > 0
    np.testing.assert_array_equal(voice.speak(tokens, seed=0).audio, speech.audio)


def test_every_layer_can_be_put_back_without_changing_a_sample_and_an_edit_is_heard(layout):
    _, _, voice = layout
    tokens = given(voice)
    spoken, encoded = voice.speak(tokens), voice.encode([tokens])[0]
    for layer in voice.layers:
        np.testing.assert_array_equal(voice.speak(tokens, {layer: encoded[layer]}).audio, spoken.audio)
        edited = encoded[layer].copy()
        edited[3:6, 0] += 1.5
        changed = voice.speak(tokens, {layer: edited})
        assert changed.audio.shape != spoken.audio.shape or np.abs(changed.audio - spoken.audio).max() > 1e-4, layer
    np.testing.assert_array_equal(voice.speak(tokens, encoded).audio, spoken.audio)


def test_a_batch_encodes_as_each_alone(layout):
    _, _, voice = layout
    batch = [given(voice), given(voice, "da."), given(voice, "bad bad bad.")]
    for tokens, found in zip(batch, voice.encode(batch), strict=True):
        for layer, vectors in voice.encode([tokens])[0].items():
            np.testing.assert_allclose(found[layer], vectors, atol=1e-6)


def test_slowness_is_obeyed(layout):
    name, _, voice = layout
    if name == "transformers":
        with pytest.raises(ValueError, match="does not take it"):
            OnnxVoice(voice.path, length=1.6)
        return
    slow = OnnxVoice(voice.path, length=1.6)
    tokens = given(voice)
    assert slow.speak(tokens).frames.sum() > voice.speak(tokens).frames.sum()


@pytest.mark.parametrize("name", ["mms", "coqui", "icefall"])
def test_a_seed_repeats_the_noise_of_the_graph(name, tmp_path):
    voice = OnnxVoice(LAYOUTS[name][0](tmp_path), noise=0.7)
    tokens = given(voice)
    one, again, other = (voice.speak(tokens, seed=seed).audio for seed in (3, 3, 4))
    np.testing.assert_array_equal(one, again)
    assert np.abs(one - other).max() > 1e-3


def test_durations_that_are_given_hold_against_their_noise(tmp_path):
    voice = OnnxVoice(mms(tmp_path), duration_noise=3.0)
    tokens = given(voice)
    own = voice.speak(tokens, seed=3)
    assert own.frames.tolist() != voice.speak(tokens, seed=4).frames.tolist()
    np.testing.assert_array_equal(voice.speak(tokens, {"frames": own.frames[:, None]}, seed=3).audio, own.audio)
    wanted = np.full(len(tokens), 2)
    assert len(voice.speak(tokens, {"frames": wanted}, seed=3).audio) == wanted.sum() * own.hop


def test_what_the_graph_does_not_take_is_refused(tmp_path):
    path = kokoro(tmp_path)
    with pytest.raises(ValueError, match=r"noise is 0\.5, but the graph of kokoro does not take it"):
        OnnxVoice(path, noise=0.5)
    with pytest.raises(ValueError, match="length is 0"):
        OnnxVoice(path, length=0)
    with pytest.raises(ValueError, match="of hibari takes no speaker, so it would have no effect"):
        OnnxVoice(toys.hibari(tmp_path / "hibari.onnx"), speaker=2)


def test_speakers_by_name_and_number(tmp_path):
    (tmp_path / "tokens.txt").write_text(toys.TOKENS_TXT)
    path = toys.vits(tmp_path / "v.onnx", speakers=3, **MMS | {"n_speakers": 3})
    first, third = OnnxVoice(path), OnnxVoice(path, speaker=2)
    tokens = given(first)
    assert np.abs(first.speak(tokens).audio - third.speak(tokens).audio).max() > 1e-3
    (tmp_path / "v.onnx.json").write_text(json.dumps({"speakers": {"ann": 0, "bob": 2}}))
    for named in ("bob", "2", 2):
        np.testing.assert_array_equal(OnnxVoice(path, speaker=named).speak(tokens).audio, third.speak(tokens).audio)
    with pytest.raises(ValueError, match=r"speaker is 'eve', but v has ann, bob; give one of these"):
        OnnxVoice(path, speaker="eve")


def test_kokoro_has_a_style_for_each_voice_and_length(tmp_path):
    path = kokoro(tmp_path)
    one, other = OnnxVoice(path), OnnxVoice(path, speaker="bm_b")
    assert OnnxVoice(path, speaker=1).speaker_name == OnnxVoice(path, speaker="1").speaker_name == "bm_b"
    assert (one.speaker_name, other.speaker_name) == ("af_a", "bm_b")
    assert one.variant != other.variant
    tokens = given(one)
    assert np.abs(one.encode([tokens])[0]["prosody.2"] - other.encode([tokens])[0]["prosody.2"]).max() > 1e-3
    with np.load(tmp_path / "voices.npz") as packs:
        packs["bm_b"].tofile(tmp_path / "mine.bin")
        fed = one._feeds([given(one, "bad.")])["style"]
        np.testing.assert_array_equal(fed, packs["af_a"][3:4])  # four symbols, without both ends
    mine = OnnxVoice(path, speaker=str(tmp_path / "mine.bin"))
    np.testing.assert_array_equal(mine.speak(tokens).audio, other.speak(tokens).audio)
    with pytest.raises(ValueError, match=r"takes 512 at most: split it at a comma"):
        one.speak(one.tokenize(phonemes="bad " * 200))


def test_a_mel_goes_through_the_vocoder_that_is_named(tmp_path):
    toys.vocoder(tmp_path / "vocoder.onnx")
    path = described(toys.matcha, hop=toys.HOP, vocoder="vocoder.onnx")(tmp_path)
    voice = load_voice(path)
    speech = voice.speak(given(voice))
    assert speech.mel.shape == (toys.BINS, speech.frames.sum())
    assert len(speech.audio) == speech.frames.sum() * toys.HOP


def test_kokoro_reads_japanese_in_kana(tmp_path):
    voice = OnnxVoice(kokoro(tmp_path), language="ja")
    assert voice.tokenize("きょう は いい てんき。").phonemes == "kʲoː βa ii teŋkʲi."
    assert not voice.speaks_english


def test_a_voice_is_diagnosed_and_repaired(tmp_path):
    voice = load_voice(kokoro(tmp_path))
    rng = np.random.default_rng(0)
    texts = ["".join(rng.choice(list("abd"), 12)) + "." for _ in range(60)]
    reference = fit_reference(voice, [voice.tokenize(phonemes=text) for text in texts], k=3)
    assert reference.middle == "sounds.2"
    tokens = voice.tokenize(phonemes="ˈabˈdaˈ ˈdab.")
    (found,) = diagnose(voice, reference, [tokens])
    assert found.layer == "sounds.2"
    done = repair(voice, reference, tokens, copies=4)
    assert voice.speak(tokens, {done.layer: done.vectors}).audio.size


def test_it_is_read_as_it_was_written(tmp_path):
    path = kokoro(tmp_path)
    assert read_onnx(path).graph.name == "toy"
    model = onnx.load(path)
    onnx.save(model, tmp_path / "big.onnx", save_as_external_data=True, location="big.data", size_threshold=0)
    voice, other = load_voice(path), load_voice(tmp_path / "big.onnx")
    tokens = given(voice)
    np.testing.assert_array_equal(voice.speak(tokens).audio, other.speak(tokens).audio)


def test_durations_are_said_as_they_are_given(layout):
    _, _, voice = layout
    tokens = given(voice)
    own = voice.speak(tokens)
    np.testing.assert_array_equal(voice.speak(tokens, {"frames": own.frames[:, None]}).audio, own.audio)
    wanted = own.frames + (np.arange(len(tokens)) == 4) * 5
    slow = voice.speak(tokens, {"frames": wanted[:, None]})
    np.testing.assert_array_equal(slow.frames, wanted)
    assert len(slow.audio) - len(own.audio) == 5 * own.hop


def test_durations_that_cannot_be_are_refused(tmp_path):
    voice = load_voice(kokoro(tmp_path))
    tokens = given(voice)
    for wrong in (np.ones(3), np.full(len(tokens), -1), np.zeros(len(tokens)), np.full(len(tokens), np.nan)):
        with pytest.raises(ValueError, match=f"the sentence has {len(tokens)} tokens; give one of each"):
            voice.speak(tokens, {"frames": wrong})
    voice = load_voice(described(toys.matcha, frames="mel_lengths", frames_unit="samples")(tmp_path))
    with pytest.raises(LookupError, match="tells no whole frames of its tokens"):
        voice.speak(given(voice), {"frames": np.ones(5)})


def test_a_word_is_lengthened_and_the_rest_keeps_its_durations(tmp_path):
    voice = load_voice(kokoro(tmp_path))
    (edit,) = edit_sentence(voice, SENTENCE, ["dab:duration=2"], phonemes=SENTENCE).edits
    assert edit.achieved["duration"] == 2
    assert edit.elsewhere["duration"] == 1
    word = np.array([word == 1 for word in voice.tokenize(phonemes=SENTENCE).word_of])
    np.testing.assert_array_equal(edit.after.frames[~word], edit.before.frames[~word])


def test_pitch_is_set_where_the_graph_tells_it_and_refused_elsewhere(tmp_path):
    voice = load_voice(toys.hibari(tmp_path / "hibari.onnx"))
    tokens = given(voice)
    own = voice.speak(tokens)
    same = voice.speak(tokens, {"pitch": np.zeros((len(tokens), 1))})
    np.testing.assert_array_equal(same.audio, own.audio)
    higher = np.zeros(len(tokens))
    higher[2] = 12
    feeds = voice._feeds([tokens])
    hertz = voice._opened(0).run(["f0"], feeds)[0][0]
    added = voice._pitch_delta(higher, None, feeds, 0)[0]
    here = np.repeat(higher > 0, own.frames)
    np.testing.assert_allclose(added, np.where(here, np.maximum(hertz, 0), 0), rtol=1e-5)
    said = voice.speak(tokens, {"pitch": higher[:, None]})
    np.testing.assert_array_equal(said.frames, own.frames)
    assert np.abs(said.audio - own.audio).max() > 0
    for wrong in (np.ones(3), np.full(len(tokens), np.nan), np.full(len(tokens), 40.0)):
        with pytest.raises(ValueError, match="semitones from -36 to 36"):
            voice.speak(tokens, {"pitch": wrong})
    other = load_voice(kokoro(tmp_path))
    with pytest.raises(LookupError, match="tells no pitch of its tokens"):
        other.speak(given(other), {"pitch": np.zeros(5)})


def test_an_edit_of_a_pitch_that_is_set_needs_nothing_learnt(tmp_path):
    voice = load_voice(toys.hibari(tmp_path / "hibari.onnx"))
    request = EditRequest("aˈbad", {"pitch": 2.0, "duration": 2.0}, 0)
    assert moved_attributes(voice, request) == []
    assert moved_attributes(load_voice(kokoro(tmp_path)), request) == ["pitch"]
