"""Piper voices: the real one read and cut, repairs written into it; broken files refused. Phonemes are given."""

import json

import numpy as np
import pytest

from genmend.tts.mending.combination import CombinationRepair, combination_repairs
from genmend.tts.mending.repair import MovedToken, Repair
from genmend.tts.text.tokens import Tokens
from genmend.tts.voices.onnx.graph import VoiceFileError
from genmend.tts.voices.piper import PiperVoice
from genmend.tts.voices.piper_patch import write_into_piper
from genmend.tts.voices.voice import MAX_CHARACTERS

SENTENCES = (
    ("Hello, world!", "həlˈoʊ, wˈɜːld!"),
    ("The car.", "ðə kˈɑːɹ."),
    ("It was late again.", "ɪt wʌz lˈeɪt ɐɡˈɛn."),
)


@pytest.fixture(scope="module")
def voice(joe):
    return joe


@pytest.fixture(scope="module")
def sentences(voice):
    texts, ipa = zip(*SENTENCES, strict=True)
    return voice.tokenize_all(texts, ipa)


@pytest.mark.real("joe")
def test_tokens_are_those_that_piper_makes(voice, sentences):
    tokens = sentences[1]
    assert tokens.symbols == ("^", "_", *[s for c in "ðə kˈɑːɹ." for s in (c, "_")], "$")
    assert tokens.ids[:5] == (1, 0, 41, 0, 59)
    assert tokens.words == ("The", "car")
    assert [tokens.symbols[i] for i, word in enumerate(tokens.word_of) if word == 1] == list("kˈɑːɹ")
    assert not tokens.spoken[[0, 1, -1]].any()


@pytest.mark.real("joe")
def test_every_layer_can_be_cut_and_rejoined_without_changing_a_sample(voice, sentences):
    spoken = voice.speak(sentences[0])
    encoded = voice.encode(sentences)[0]  # in a batch, padded
    assert len(spoken.audio) == spoken.frames.sum() * spoken.hop
    for layer in voice.layers:
        again = voice.speak(sentences[0], {layer: encoded[layer]})
        np.testing.assert_array_equal(again.audio, spoken.audio)
    everything = voice.speak(sentences[0], encoded)
    np.testing.assert_array_equal(everything.audio, spoken.audio)


@pytest.mark.real("joe")
def test_an_edited_vector_changes_the_speech_and_the_layers_behind_it(voice, sentences):
    vectors = voice.encode([sentences[2]], ["encoder.2"])[0]["encoder.2"]
    edited = vectors.copy()
    edited[11] += 1.0
    spoken, changed = voice.speak(sentences[2]), voice.speak(sentences[2], {"encoder.2": edited})
    n = min(len(spoken.audio), len(changed.audio))
    assert np.abs(spoken.audio[:n] - changed.audio[:n]).max() > 0.01


@pytest.mark.real("joe")
def test_a_batch_encodes_as_each_alone(voice, sentences):
    together = voice.encode(sentences)
    for tokens, found in zip(sentences, together, strict=True):
        (alone,) = voice.encode([tokens])
        for layer in voice.layers:
            assert found[layer].shape == (len(tokens), 192)
            np.testing.assert_allclose(found[layer], alone[layer], atol=1e-5)
    (last,) = voice.encode([sentences[0]], ["encoder.1"])
    np.testing.assert_allclose(last["encoder.1"], together[0]["encoder.1"], atol=1e-5)


@pytest.mark.real("joe")
def test_the_same_seed_says_the_same_and_noise_differs(voice, sentences):
    loud = PiperVoice(voice.path, noise=0.667, duration_noise=0.8)
    one, again, other = (loud.speak(sentences[0], seed=seed).audio for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, again)
    assert one.shape != other.shape or not np.allclose(one, other)


@pytest.mark.real("joe")
def test_durations_are_told_without_speaking(voice, sentences):
    told = voice.durations(sentences)
    assert [one.tolist() for one in told] == [voice.speak(tokens).frames.tolist() for tokens in sentences]


def test_symbols_outside_the_voice_are_dropped_and_named(voice):
    tokens = voice.tokenize("guys", phonemes="g'aIs")
    assert [(lost.symbol, lost.word) for lost in tokens.dropped] == [("I", 0)]
    assert "write ɪ for it" in tokens.dropped[0].reason
    assert tokens.phonemes == "ɡˈas"
    with pytest.raises(ValueError, match="knows no sound of"):
        voice.tokenize(phonemes="漢字")


@pytest.mark.real("joe")
def test_bad_text_vectors_and_layers_are_refused(voice, sentences):
    with pytest.raises(ValueError, match="The sentence is empty"):
        voice.tokenize("  ")
    with pytest.raises(ValueError, match="10,000 characters, and up to 2,000 are accepted"):
        voice.tokenize("a" * 10_000)
    assert MAX_CHARACTERS == 2_000
    with pytest.raises(LookupError, match=r"no layer 'encoder\.9'; the nearest are 'encoder"):
        voice.encode(sentences, ["encoder.9"])
    with pytest.raises(ValueError, match="have shape \\(3, 192\\), but the sentence has"):
        voice.speak(sentences[0], {"encoder.1": np.zeros((3, 192))})
    with pytest.raises(ValueError, match="hold NaN"):
        voice.speak(sentences[0], {"encoder.1": np.full((len(sentences[0]), 192), np.nan)})
    with pytest.raises(ValueError, match="noise is -1"):
        PiperVoice(voice.path, noise=-1)
    with pytest.raises(ValueError, match="speaker is 1, but the voice has 1"):
        PiperVoice(voice.path, speaker=1)


@pytest.mark.real("joe")
def test_a_repair_written_into_the_voice_speaks_as_the_repair(voice, sentences, tmp_path):
    tokens, layer = sentences[2], "encoder.3"
    before = voice.encode([tokens], [layer])[0][layer]
    after, positions = before.copy(), [10, 20]
    after[positions] += np.random.default_rng(0).standard_normal((2, 192)).astype(np.float32)
    moved = tuple(MovedToken(i, tokens.symbols[i], 2.0, 0.9, 1.0, 0.5, "perturbed") for i in positions)
    repairs = combination_repairs(voice, Repair(tokens, layer, after, moved, 0.0))
    assert [found.symbols[found.place] for found in repairs] == [tokens.symbols[i] for i in positions]
    write_into_piper(voice, repairs, tmp_path / "mended.onnx")
    mended = PiperVoice(tmp_path / "mended.onnx")
    assert [given.name for given in mended.model.graph.input] == [given.name for given in voice.model.graph.input]
    np.testing.assert_allclose(mended.speak(tokens).audio, voice.speak(tokens, {layer: after}).audio, atol=1e-4)
    np.testing.assert_array_equal(mended.speak(sentences[1]).audio, voice.speak(sentences[1]).audio)


@pytest.mark.real("joe")
def test_a_written_voice_needs_a_repair_and_another_name(voice, tmp_path):
    nothing = CombinationRepair(
        "encoder.3", (1, 0, 20), ("^", "_", "h"), ("special", "blank", "phoneme"), 2, np.zeros(192, np.float32)
    )
    with pytest.raises(ValueError, match="no repair to write"):
        write_into_piper(voice, [], tmp_path / "new.onnx")
    with pytest.raises(ValueError, match="is the voice itself"):
        write_into_piper(voice, [nothing], voice.path)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_voice_or_json_is_named(tmp_path):
    (tmp_path / "voice.onnx").write_bytes(b"")
    with pytest.raises(VoiceFileError, match="only the beginning of one: get the voice again"):
        PiperVoice(tmp_path / "voice.onnx")
    (tmp_path / "none.onnx.json").write_text(json.dumps(description()))
    with pytest.raises(FileNotFoundError, match="There is no voice file"):
        PiperVoice(tmp_path / "none.onnx")


@pytest.mark.parametrize("content", [b"not a graph", b"\x08\x08"])
def test_a_broken_graph_is_refused(tmp_path, content):
    (tmp_path / "voice.onnx").write_bytes(content)
    (tmp_path / "voice.onnx.json").write_text(json.dumps(description()))
    with pytest.raises(VoiceFileError, match=r"get the voice again|not a Piper voice"):
        PiperVoice(tmp_path / "voice.onnx")


@pytest.mark.parametrize(
    "changed",
    ["[]", "{", json.dumps({"audio": {"sample_rate": 22050}}), json.dumps({"audio": {}, "phoneme_id_map": {}}),
     json.dumps({"audio": {"sample_rate": 22050}, "phoneme_id_map": {"a": ["x"]}}),
     json.dumps({"audio": {"sample_rate": 22050}, "phoneme_id_map": {"a": [3]}})],
)  # fmt: skip
def test_a_description_that_is_none_is_refused(tmp_path, changed):
    (tmp_path / "voice.onnx").write_bytes(b"")
    (tmp_path / "voice.onnx.json").write_text(changed)
    with pytest.raises(VoiceFileError, match="get it again"):
        PiperVoice(tmp_path / "voice.onnx")


def test_tokens_know_what_is_spoken():
    tokens = Tokens("a", (1, 2, 3), ("^", "a", "$"), ("special", "phoneme", "special"), (-1, 0, -1), ("a",))
    assert tokens.spoken.tolist() == [False, True, False]
    assert tokens.phonemes == "a"
    assert len(tokens) == 3


def description(**changed):
    table = {"_": [0], "^": [1], "$": [2], "a": [3]}
    return {"audio": {"sample_rate": 22050}, "phoneme_id_map": table, "espeak": {"voice": "en-us"}} | changed


def beside_joe(folder, voice, **changed):
    """Joe's graph with another description."""
    path = folder / "voice.onnx"
    path.symlink_to(voice.path)
    own = json.loads(voice.path.with_name(voice.path.name + ".json").read_text(encoding="utf-8"))
    path.with_name("voice.onnx.json").write_text(json.dumps(own | changed), encoding="utf-8")
    return path


@pytest.mark.real("joe")
def test_a_missing_description_is_named(voice, tmp_path):
    (tmp_path / "voice.onnx").symlink_to(voice.path)
    with pytest.raises(FileNotFoundError, match=r"has no voice\.onnx\.json beside it"):
        PiperVoice(tmp_path / "voice.onnx")


@pytest.mark.real("joe")
def test_a_voice_of_texts_takes_symbols_as_they_are(voice, tmp_path):
    text = PiperVoice(beside_joe(tmp_path, voice, phoneme_type="text", espeak=None))
    given = "kˈɔːl ɡˈaɪs nˈaʊ."
    assert text.tokenize(given).ids == voice.tokenize(phonemes=given).ids
    assert text.tokenize(given).words == ("kˈɔːl", "ɡˈaɪs", "nˈaʊ")


@pytest.mark.real("joe")
def test_unambiguous_descriptions_of_others_are_read(voice, tmp_path):
    numbers = {symbol: ids[0] for symbol, ids in voice.config["phoneme_id_map"].items()}
    audio = {"sample_rate": 22050.0}
    other = PiperVoice(beside_joe(tmp_path, voice, num_speakers=None, audio=audio, phoneme_id_map=numbers))
    tokens = other.tokenize(phonemes="həlˈoʊ")
    assert tokens.ids == voice.tokenize(phonemes="həlˈoʊ").ids
    np.testing.assert_array_equal(other.speak(tokens).audio, voice.speak(tokens).audio)


@pytest.mark.real("joe")
def test_the_map_of_phonemes_is_obeyed(voice, tmp_path):
    mapped = PiperVoice(beside_joe(tmp_path, voice, phoneme_map={"ɡ": ["k"], "aɪ": ["a", "ː"]}))
    assert mapped.tokenize(phonemes="ɡaɪs").phonemes == "kaːs"


@pytest.mark.real("joe")
def test_a_speaker_that_the_graph_does_not_take_is_refused(voice, tmp_path):
    path = beside_joe(tmp_path, voice, num_speakers=5, speaker_id_map={"ann": 3})
    for speaker in (3, "ann"):
        with pytest.raises(ValueError, match="takes no speaker, so it would have no effect"):
            PiperVoice(path, speaker=speaker)
    with pytest.raises(ValueError, match="'bob', but the voice has 5; give a number from 0 to 4 or one of ann"):
        PiperVoice(path, speaker="bob")


@pytest.mark.real("joe")
def test_numbers_beyond_the_graph_are_refused(voice, tmp_path):
    with pytest.raises(VoiceFileError, match=r"gives 'a' the number \d+, and the voice knows \d+"):
        PiperVoice(beside_joe(tmp_path, voice, phoneme_id_map={"_": [0], "^": [1], "$": [2], "a": [100_000]}))


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"phoneme_type": "kana"}, "phoneme_type = 'kana': its front end is not in genmend"),
        ({"espeak": None}, "espeak.voice = None"),
        ({"espeak": []}, "espeak.voice = None"),
        ({"espeak": {"voice": "-v/etc/passwd"}}, "espeak.voice = -v/etc/passwd"),
        ({"espeak": {"voice": "../en"}}, r"espeak.voice = \.\./en"),
        ({"num_speakers": float("inf")}, "num_speakers = inf"),
        ({"num_speakers": "two"}, "num_speakers = two"),
        ({"audio": {"sample_rate": 0.5}}, "audio.sample_rate = 0.5"),
        ({"audio": None}, "audio.sample_rate = None"),
        ({"phoneme_id_map": {"_": [0], "^": [1], "$": [2], "a": [2**80]}}, "phoneme_id_map"),
        ({"phoneme_map": {"a": "b"}}, "phoneme_map"),
        ({"speaker_id_map": {"ann": "one"}}, "speaker_id_map"),
    ],
)
def test_a_wrong_field_is_named_with_the_file(tmp_path, changed, says):
    (tmp_path / "voice.onnx").write_bytes(b"")
    (tmp_path / "voice.onnx.json").write_text(json.dumps(description(**changed)))
    with pytest.raises(VoiceFileError, match=rf"voice\.onnx\.json has {says}"):
        PiperVoice(tmp_path / "voice.onnx")


@pytest.mark.real("joe")
def test_one_endless_sentence_is_read_in_parts(voice, monkeypatch):
    monkeypatch.setattr("genmend.tts.text.ipa.espeak_phonemes", lambda texts, _: [[(text, "a", ".")] for text in texts])
    parts = [tokens.text for tokens in voice.tokenize_sentences("one two three, " * 200)]
    assert len(parts) > 5
    assert max(map(len, parts)) <= 400
    assert " ".join(parts) == ("one two three, " * 200).strip()
