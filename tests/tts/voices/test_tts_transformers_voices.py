"""VITS, FastSpeech 2 and SpeechT5 on tiny random models: what holds for all three, and what is each one's own."""

import warnings
from types import SimpleNamespace

import numpy as np
import pytest
import torch

pytest.importorskip("transformers")

import transformers_toys as toys
from voice_toys import largest_difference, n_hooks

from genmend.activations import edited
from genmend.tts.voices.fastspeech import FastSpeechVoice, fastspeech_reader
from genmend.tts.voices.replace_vectors import ReplaceVectors
from genmend.tts.voices.speecht5 import SpeechT5Voice, diagonal_head
from genmend.tts.voices.vits import VitsVoice, vits_reader

TEXTS = {
    "vits": ("bad cage", "hi", "a big jade"),
    "fastspeech": ("HH AH0 L OW1 | OW1 L D", "HH OW1", "D AH0 , | L OW1"),
    "speecht5": ("at", "tea.", "the"),
}


@pytest.fixture(scope="module", params=list(TEXTS))
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def voice(kind, tmp_path_factory):
    if kind == "vits":
        return toys.vits_voice(tmp_path_factory.mktemp("vits"))
    return toys.fastspeech_voice() if kind == "fastspeech" else toys.speecht5_voice()


@pytest.fixture(scope="module")
def batch(kind, voice):
    phonemes = list(TEXTS[kind]) if kind == "fastspeech" else None
    return voice.tokenize_all([""] * 3 if phonemes else list(TEXTS[kind]), phonemes)


def same_speech(one, other):
    """Whether samples, frames, attention and mel are equal to the last bit."""
    pairs = [(getattr(one, name), getattr(other, name)) for name in ("audio", "frames", "attention", "mel")]
    return all((a is None and b is None) or np.array_equal(a, b) for a, b in pairs)


def test_layers_are_outputs_of_named_modules(voice, batch):
    assert voice.layers[:2] == ("embedding", "encoder.1")
    names = dict(voice.model.named_modules())
    assert set(voice.modules.values()) <= set(names)
    vectors = voice.encode(batch[:1])[0]
    assert {layer: array.shape for layer, array in vectors.items()} == {
        name: (len(batch[0]), 16) for name in voice.layers
    }
    assert list(voice.encode(batch[:1], ["encoder.2"])[0]) == ["encoder.2"]


def test_the_embedding_depends_on_the_symbol_alone_and_is_scaled_as_the_model_does(voice, batch):
    vectors = voice.encode(batch[:1])[0]["embedding"]
    table = voice.model.get_submodule(voice.modules["embedding"]).weight.detach().numpy()
    np.testing.assert_allclose(vectors, table[list(batch[0].ids)] * voice.scale, rtol=1e-6)


def test_a_batch_gives_what_single_sentences_give(voice, batch):
    assert len({len(tokens) for tokens in batch}) > 1
    for tokens, vectors in zip(batch, voice.encode(batch), strict=True):
        for layer, array in voice.encode([tokens])[0].items():
            np.testing.assert_allclose(vectors[layer], array, atol=5e-6, err_msg=layer)


def test_cut_and_rejoined_nothing_changes_and_a_moved_vector_is_heard(voice, batch):
    whole, vectors = voice.speak(batch[0]), voice.encode(batch)[0]
    for layer in voice.layers:
        assert same_speech(voice.speak(batch[0], {layer: vectors[layer]}), whole), layer
        moved = vectors[layer].copy()
        moved[1] += 1
        assert not same_speech(voice.speak(batch[0], {layer: moved}), whole), layer
    assert same_speech(voice.speak(batch[0], vectors), whole)


def test_what_comes_after_a_replaced_layer_is_computed_anew(voice, batch):
    vectors = voice.encode(batch[:1])[0]
    moved = {"encoder.1": vectors["encoder.1"][::-1].copy()}
    with edited(
        voice.model,
        ReplaceVectors(voice.modules["encoder.1"], range(len(batch[0])), torch.from_numpy(moved["encoder.1"])),
    ):
        after, spoken = voice.encode(batch[:1])[0]["encoder.2"], voice.speak(batch[0])
    assert np.abs(after - vectors["encoder.2"]).max() > 1e-3
    assert same_speech(voice.speak(batch[0], moved), spoken)
    assert same_speech(voice.speak(batch[0], {"encoder.2": after}), spoken)
    # The deeper of two replaced layers decides.
    assert same_speech(
        voice.speak(batch[0], {**moved, voice.layers[-1]: vectors[voice.layers[-1]]}), voice.speak(batch[0])
    )


def test_a_seed_is_kept_to_and_the_callers_generators_are_left_alone(voice, batch):
    torch.manual_seed(5)
    np.random.seed(5)
    before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].copy()
    first, again = voice.speak(batch[0], seed=2), voice.speak(batch[0], seed=2)
    voice.encode(batch)
    assert torch.equal(torch.get_rng_state(), before)
    assert np.array_equal(np.random.get_state()[1], numpy_before)
    assert same_speech(first, again)


def test_the_model_is_as_it_was_also_after_an_error(voice, batch):
    before = {name: tensor.clone() for name, tensor in voice.model.state_dict().items()}
    attributes = {name: value for name, value in vars(voice.model).items() if not name.startswith("_")}
    vectors = voice.encode(batch[:1])[0]
    voice.speak(batch[0], vectors)
    wrong = vectors["encoder.1"][:, :5]
    with pytest.raises(ValueError, match="layers"):
        voice.speak(batch[0], {"embedding": vectors["embedding"], "encoder.1": wrong})
    too_high = type(batch[0])("x", (99,) * 3, ("?",) * 3, ("character",) * 3, (0,) * 3, ("x",))
    for call in (lambda: voice.encode([too_high]), lambda: voice.speak(too_high)):
        with pytest.raises(IndexError):
            call()
    assert n_hooks(voice.model) == 0
    assert not voice.model.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in voice.model.state_dict().items())
    assert {name: value for name, value in vars(voice.model).items() if not name.startswith("_")} == attributes


def test_nothing_is_warned_of(voice, batch):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        voice.speak(batch[1], voice.encode([batch[1]])[0])


def test_wrong_layers_and_vectors_are_refused_by_name(voice, batch):
    with pytest.raises(LookupError, match=r"no layer 'encoder\.11'; the nearest are 'encoder\.1'"):
        voice.encode(batch, ["encoder.11"])
    with pytest.raises(LookupError, match="'lstm'"):
        voice.speak(batch[0], {"lstm": np.zeros((len(batch[0]), 16))})
    with pytest.raises(ValueError, match=r"vectors of 'encoder\.1' have shape \(2, 16\)"):
        voice.speak(batch[0], {"encoder.1": np.zeros((2, 16))})


def test_empty_long_and_unknown_text_is_refused_and_parts_are_dropped(kind, voice):
    with pytest.raises(ValueError, match="empty"):
        voice.tokenize(" ")
    with pytest.raises(ValueError, match="10,000 characters"):
        voice.tokenize("a" * 10_000)
    given = {"phonemes": "ZH ZH"} if kind == "fastspeech" else {"text": "zzz"}
    with pytest.raises(ValueError, match="knows no sound"):
        voice.tokenize(**given)
    some = voice.tokenize(**({"phonemes": "HH ZH"} if kind == "fastspeech" else {"text": "hez"}))
    assert [one.symbol for one in some.dropped] == ["ZH" if kind == "fastspeech" else "z"]


def test_frames_add_up_to_the_audio(voice, batch):
    for tokens in batch:
        speech = voice.speak(tokens)
        assert len(speech.frames) == len(tokens)
        assert speech.frames.sum() * speech.hop == len(speech.audio)
        assert speech.audio.dtype == np.float32


# VITS


def test_durations_are_told_without_speaking_where_the_voice_decides_them(kind, voice, batch):
    told = voice.durations(batch, seed=0)
    if kind == "speecht5":
        assert told is None
        return
    frames = [voice.speak(tokens, seed=number).frames for number, tokens in enumerate(batch)]
    assert [one.tolist() for one in told] == [one.tolist() for one in frames]


def test_vits_reads_as_its_tokenizer_does(tmp_path):
    for options in ({}, {"add_blank": False}):
        tokenizer = toys.vits_tokenizer(tmp_path, **options)
        for text in ("Bad cage", "j'ai é", "a k"):
            assert list(vits_reader(tokenizer)([text])[0].ids) == tokenizer(text)["input_ids"]


def test_vits_blanks_are_not_the_letter_that_shares_their_number(tmp_path):
    tokens = toys.vits_voice(tmp_path).tokenize("ak")
    assert tokens.ids == (0, 1, 0, 0, 0)
    assert tokens.kinds == ("blank", "character", "blank", "character", "blank")
    assert tokens.symbols == ("_", "a", "_", "k", "_")


def test_vits_with_phonemes_reads_ipa(tmp_path):
    tokenizer = toys.vits_tokenizer(tmp_path)
    tokenizer.phonemize = True
    tokens = vits_reader(tokenizer)(["Bad"], ["bad"])[0]
    assert tokens.kinds == ("blank", "phoneme") * 3 + ("blank",)


def test_vits_in_romanian_reads_the_letter_it_was_trained_with(tmp_path):
    tokenizer = toys.vits_tokenizer(tmp_path)
    tokenizer.language, tokenizer.encoder = "ron", {**tokenizer.encoder, "ţ": 4}
    assert vits_reader(tokenizer)(["Țț"])[0].phonemes == "ţţ"


def test_vits_is_what_the_model_says_itself_without_noise(tmp_path):
    for config in (toys.vits_config(), toys.vits_config(use_stochastic_duration_prediction=False, speaking_rate=0.8)):
        voice = toys.vits_voice(tmp_path, config)
        tokens = voice.tokenize("bad cage")
        model, before = voice.model, (voice.model.noise_scale, voice.model.noise_scale_duration)
        speech = voice.speak(tokens)
        assert (model.noise_scale, model.noise_scale_duration) == before
        model.noise_scale = model.noise_scale_duration = 0.0
        with torch.no_grad():
            output = model(torch.tensor([tokens.ids]), output_hidden_states=True)
        np.testing.assert_array_equal(speech.audio, output.waveform[0].numpy())
        vectors = voice.encode([tokens])[0]
        for layer, hidden in zip(voice.layers, output.hidden_states, strict=True):
            np.testing.assert_allclose(vectors[layer], hidden[0], atol=2e-6)


def test_vits_noise_length_and_speaker_are_heard(tmp_path):
    config = toys.vits_config(num_speakers=3, speaker_embedding_size=4)
    plain, other = (toys.vits_voice(tmp_path, config, speaker=number) for number in (0, 2))
    tokens = plain.tokenize("bad cage")
    assert not same_speech(plain.speak(tokens), other.speak(tokens))
    slow = toys.vits_voice(tmp_path, config, length=2.0).speak(tokens)
    assert 1.8 * plain.speak(tokens).seconds < slow.seconds < 2.2 * plain.speak(tokens).seconds
    noisy = toys.vits_voice(tmp_path, config, noise=0.5, duration_noise=0.5)
    assert not same_speech(noisy.speak(tokens, seed=0), noisy.speak(tokens, seed=1))
    assert same_speech(plain.speak(tokens, seed=0), plain.speak(tokens, seed=1))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"noise": -1.0}, "noise is -1.0; give a number from 0"),
        ({"duration_noise": float("nan")}, "duration_noise is nan"),
        ({"length": 0.0}, "length is 0.0; give a number above 0"),
        ({"speaker": 1}, "speaker is 1, but toy VITS has 1"),
    ],
)
def test_vits_refuses_options_out_of_range(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        toys.vits_voice(tmp_path, **options)


@pytest.mark.real("joe")
def test_a_piper_voice_as_a_torch_model_is_the_same_voice(joe, joe_torch):
    voice = VitsVoice(joe_torch, joe.tokenize_all, name="joe")
    tokens = voice.tokenize("A bathing suit.", phonemes="ɐ bˈeɪðɪŋ sˈuːt.")
    assert voice.layers == joe.layers
    vectors = voice.encode([tokens])[0]
    for layer, array in joe.encode([tokens])[0].items():
        np.testing.assert_allclose(vectors[layer], array, atol=2e-5)
    one, other = voice.speak(tokens), joe.speak(tokens)
    np.testing.assert_array_equal(one.frames, other.frames)
    assert largest_difference(one.audio, other.audio) < 1e-4
    assert (one.sample_rate, one.hop) == (other.sample_rate, other.hop)


# FastSpeech 2


def test_fastspeech_speaks_with_the_vocoder_it_brings():
    from transformers import FastSpeech2ConformerWithHifiGan, FastSpeech2ConformerWithHifiGanConfig

    parts = toys.fastspeech_model(), toys.fastspeech_vocoder()
    config = FastSpeech2ConformerWithHifiGanConfig(
        model_config=parts[0].config.to_dict(), vocoder_config=parts[1].config.to_dict()
    )
    whole = FastSpeech2ConformerWithHifiGan(config).eval()
    whole.model.load_state_dict(parts[0].state_dict())
    whole.vocoder.load_state_dict(parts[1].state_dict())
    voice = FastSpeechVoice(whole, toys.fastspeech_voice()._read)
    tokens = voice.tokenize(phonemes="HH AH0 L OW1")
    with torch.no_grad():
        own = whole(torch.tensor([tokens.ids]), return_dict=True)
    np.testing.assert_array_equal(voice.speak(tokens).audio, own.waveform[0].numpy())
    np.testing.assert_array_equal(voice.speak(tokens).frames, own.duration_outputs[0].numpy())


def test_fastspeech_speed_and_speaker_are_heard():
    voice = toys.fastspeech_voice()
    tokens = voice.tokenize(phonemes="HH AH0 L OW1")
    slow = toys.fastspeech_voice(toys.fastspeech_config(speaking_speed=1.7)).speak(tokens)
    assert slow.frames.sum() > voice.speak(tokens).frames.sum()
    assert slow.frames.sum() * slow.hop == len(slow.audio)
    config = toys.fastspeech_config(num_speakers=3)
    one, other = (toys.fastspeech_voice(config, speaker_ids=torch.tensor([[i]])).speak(tokens) for i in (0, 2))
    assert not same_speech(one, other)


def test_fastspeech_needs_its_vocoder_and_phonemes():
    model, read = toys.fastspeech_model(), toys.fastspeech_voice()._read
    with pytest.raises(ValueError, match="no vocoder is given: give vocoder="):
        FastSpeechVoice(model, read)
    with pytest.raises(ValueError, match="takes 12 mel bins and FastSpeech 2 makes 10"):
        FastSpeechVoice(model, read, toys.fastspeech_vocoder(12))


def test_fastspeech_reads_text_where_g2p_is_installed(monkeypatch):
    import sys

    numbers = {symbol: i for i, symbol in enumerate(toys.SOUNDS)}
    monkeypatch.setattr("genmend.tts.voices.fastspeech.find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install g2p-en.*give phonemes="):
        fastspeech_reader(numbers)(["Hello"])
    heard = []

    def sounds(text):
        heard.append(text)
        return ["HH", "AH0", " ", ",", " ", "D"]

    stand_in = SimpleNamespace(G2p=lambda: sounds)
    monkeypatch.setitem(sys.modules, "g2p_en", stand_in)
    monkeypatch.setattr("genmend.tts.voices.fastspeech.find_spec", lambda name: stand_in)
    tokens = fastspeech_reader(numbers)(["he; (a-d)"])[0]
    assert heard == ["HE, A D"]
    assert tokens.symbols == ("HH", "AH0", ",", "D", "<sos/eos>")


# SpeechT5


def test_speecht5_begins_with_a_space_and_ends_as_its_tokenizer_does():
    tokens = toys.speecht5_voice().tokenize("The 2 tea")
    assert tokens.symbols == ("▁", "T", "h", "e", "▁", "▁", "t", "e", "a", "</s>")
    assert tokens.kinds[0] == tokens.kinds[-1] == "special"
    assert [one.symbol for one in tokens.dropped] == ["2"]


def test_speecht5_is_what_the_model_says_itself():
    voice = toys.speecht5_voice()
    tokens = voice.tokenize("tea")
    speech = voice.speak(tokens, seed=4)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(4)
        own = voice.model.generate_speech(torch.tensor([tokens.ids]), torch.arange(6.0)[None], vocoder=voice.vocoder)
    np.testing.assert_array_equal(speech.audio, own.numpy())
    assert not speech.finished
    assert speech.mel.shape == (10, len(speech.attention))
    np.testing.assert_allclose(speech.attention.sum(axis=1), 1, atol=1e-6)
    assert not same_speech(speech, voice.speak(tokens, seed=5))


def test_speecht5_ends_by_itself_speaks_as_the_speaker_and_shows_the_head_asked_for():
    tokens = toys.speecht5_voice().tokenize("tea")
    assert toys.speecht5_voice(toys.speecht5_model(stop=20.0)).speak(tokens).finished
    one = toys.speecht5_voice(head=(1, 0)).speak(tokens)
    other = toys.speecht5_voice(head=(1, 1)).speak(tokens)
    assert np.array_equal(one.audio, other.audio)
    assert not np.array_equal(one.attention, other.attention)
    speaker = toys.speecht5_voice(speaker=np.array([3.0, -1, 0, 0, 2, 1])).speak(tokens)
    assert not np.array_equal(speaker.mel, one.mel)


def test_the_head_that_reads_is_found_among_focused_ones():
    n_frames, n = 40, 10
    attention = np.full((2, 2, n_frames, n), 1 / n)
    resting, reading, backwards = attention[0, 0], attention[1, 0], attention[0, 1]
    resting[:] = np.eye(n)[-1]
    reading[:] = 0.8 * np.eye(n)[np.arange(n_frames) * n // n_frames] + 0.2 / n
    backwards[:] = np.eye(n)[(n_frames - 1 - np.arange(n_frames)) * n // n_frames]
    assert diagonal_head(attention) == (1, 0)
    reading[:] = 1 / n
    assert diagonal_head(attention) in ((0, 0), (0, 1))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"speaker": None}, "give speaker=, 6 finite numbers, not 0"),
        ({"speaker": np.zeros(5)}, "not 5"),
        ({"speaker": np.full(6, np.nan)}, "6 finite numbers"),
        ({"head": (2, 0)}, r"head is \(2, 0\), but toy SpeechT5 has 2 layers of 2 heads"),
    ],
)
def test_speecht5_refuses_what_does_not_fit(options, message):
    with pytest.raises(ValueError, match=message):
        toys.speecht5_voice(**options)


def test_speecht5_needs_its_vocoder_and_takes_as_many_tokens_as_it_has_positions():
    voice = toys.speecht5_voice()
    with pytest.raises(ValueError, match="give vocoder="):
        SpeechT5Voice(voice.model, voice._read, None, np.zeros(6))
    assert len(voice.tokenize("a" * 28)) == 30
    with pytest.raises(ValueError, match="has 31 tokens, and toy SpeechT5 reads up to 30"):
        voice.tokenize("a" * 29)
