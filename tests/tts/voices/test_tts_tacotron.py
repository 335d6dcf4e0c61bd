"""Tacotron 2 voices on tiny random models, the reference's files, and torchaudio's bundles with stand-in weights."""

import json

import numpy as np
import pytest
import torch
import torchaudio
from safetensors.torch import save_file
from torchaudio.models import Tacotron2, WaveRNN
from torchaudio.pipelines._tts import impl
from torchaudio.pipelines._tts import utils as bundled
from voice_toys import SENTENCES, SYMBOLS, WIDTHS, largest_difference, random_module, toy_tacotron, toy_voice

from genmend.tts.voices.attention_decoder import decode
from genmend.tts.voices.seeding import use_seed
from genmend.tts.voices.tacotron import TacotronVoice
from genmend.tts.voices.tacotron_bundles import BUNDLES, load_bundle


@pytest.fixture(scope="module")
def voice():
    return toy_voice()


def sentences(voice):
    return voice.tokenize_all([""] * len(SENTENCES), SENTENCES)


def test_a_sentence_begins_and_ends_and_has_no_blanks(voice):
    tokens = voice.tokenize("Some moon.", phonemes=SENTENCES[0])
    assert tokens.symbols == ("^", *SENTENCES[0], "$")
    assert tokens.words == ("Some", "moon")
    assert tokens.kinds[0] == tokens.kinds[-1] == "special"
    assert tokens.ids == tuple(SYMBOLS.index(symbol) for symbol in tokens.symbols)


def test_layers_are_those_of_the_model_shallow_to_deep(voice):
    assert voice.layers == ("embedding", "convolutions.0", "convolutions.1", "convolutions.2", "lstm")
    tokens = sentences(voice)[0]
    vectors = voice.encode([tokens])[0]
    assert {layer: array.shape for layer, array in vectors.items()} == {
        layer: (len(tokens), 12) for layer in voice.layers
    }
    assert all((vectors[f"convolutions.{i}"] >= 0).all() for i in range(3))
    assert list(voice.encode([tokens], ["lstm"])[0]) == ["lstm"]


def test_the_deepest_layer_is_what_the_models_own_encoder_gives(voice):
    tokens = sentences(voice)[0]
    with torch.no_grad():
        embedded = voice.model.embedding(torch.tensor([tokens.ids])).transpose(1, 2)
        own = voice.model.encoder(embedded, torch.tensor([len(tokens)]))
    np.testing.assert_array_equal(voice.encode([tokens], ["lstm"])[0]["lstm"], own[0].numpy())


def test_a_batch_gives_what_single_sentences_give(voice):
    batch = sentences(voice)
    assert len({len(tokens) for tokens in batch}) == 3
    for tokens, vectors in zip(batch, voice.encode(batch), strict=True):
        for layer, array in voice.encode([tokens])[0].items():
            np.testing.assert_allclose(vectors[layer], array, atol=2e-6, err_msg=layer)


def test_speech_is_torchaudios_own_bit_for_bit(voice):
    for tokens in sentences(voice):
        speech = voice.speak(tokens, seed=3)
        with torch.no_grad(), use_seed(3), pytest.warns(UserWarning, match="max decoder steps"):
            mel, lengths, attention = voice.model.infer(torch.tensor([tokens.ids]))
        np.testing.assert_array_equal(speech.mel, mel[0].numpy())
        np.testing.assert_array_equal(speech.attention, attention[0].numpy())
        assert not speech.finished
        assert int(lengths) == 30


@pytest.mark.parametrize("layer", ["embedding", "convolutions.0", "convolutions.1", "convolutions.2", "lstm"])
def test_cut_and_rejoined_it_sounds_the_same_to_the_last_sample(voice, layer):
    batch = sentences(voice)
    for tokens, vectors in zip(batch, voice.encode(batch), strict=True):
        whole = voice.speak(tokens, seed=1)
        assert largest_difference(voice.speak(tokens, {layer: vectors[layer]}, seed=1).audio, whole.audio) == 0
        moved = vectors[layer].copy()
        moved[2] += 1
        assert largest_difference(voice.speak(tokens, {layer: moved}, seed=1).mel, whole.mel) > 1e-6


def test_what_comes_after_a_replaced_layer_is_computed_anew(voice):
    one, other, _ = sentences(voice)
    other = voice.tokenize(phonemes=SENTENCES[0].replace("m", "b"))
    assert len(one) == len(other)
    vectors, swapped = (
        voice.encode([one])[0],
        voice.speak(one, {"convolutions.0": voice.encode([other])[0]["convolutions.0"]}),
    )
    np.testing.assert_array_equal(swapped.mel, voice.speak(other).mel)
    # The deeper of two replaced layers decides.
    both = {"convolutions.0": vectors["convolutions.0"] + 1, "lstm": vectors["lstm"]}
    np.testing.assert_array_equal(voice.speak(one, both).mel, voice.speak(one).mel)


def test_a_seed_is_a_reading_and_the_callers_generator_is_left_alone(voice):
    tokens = sentences(voice)[0]
    torch.manual_seed(11)
    before = torch.get_rng_state()
    first, again, other = (voice.speak(tokens, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(5)
    assert largest_difference(voice.speak(tokens, seed=0).audio, first.audio) == 0
    assert largest_difference(again.audio, first.audio) == 0
    assert largest_difference(other.mel, first.mel) > 1e-4
    with pytest.raises(ValueError, match="seed is -1"):
        voice.speak(tokens, seed=-1)


def test_speech_says_how_long_each_token_was_attended(voice):
    tokens = sentences(voice)[2]
    speech = voice.speak(tokens)
    assert speech.attention.shape == (30, len(tokens))
    np.testing.assert_allclose(speech.attention.sum(axis=1), 1, atol=1e-6)
    assert [int(count) for count in speech.frames] == [
        int((speech.attention.argmax(1) == i).sum()) for i in range(len(tokens))
    ]
    assert speech.mel.shape == (20, 30)
    assert speech.audio.dtype == np.float32
    assert np.abs(speech.audio).max() <= 1
    assert 29 * 80 <= len(speech.audio) <= 30 * 80
    assert (speech.sample_rate, speech.hop) == (8_000, 80)


@pytest.mark.parametrize("early", [True, False])
def test_it_ends_where_the_gate_opens(early):
    model = toy_tacotron(gate=10.0, decoder_early_stopping=early)
    speech = toy_voice(model).speak(toy_voice().tokenize(phonemes=SENTENCES[0]))
    assert speech.finished
    assert speech.mel.shape[1] == 1
    assert 0 < len(speech.audio) <= 80


def test_the_mel_is_scaled_as_the_voice_says(voice):
    tokens = sentences(voice)[0]
    scaled = toy_voice(mel_mean=-5.0, mel_deviation=2.0).speak(tokens)
    np.testing.assert_allclose(scaled.mel, voice.speak(tokens).mel * 2 - 5, atol=1e-6)


@pytest.mark.parametrize("window", [(0, 1), (1, 3), (2, 50)])
def test_in_a_window_the_attention_stays_about_where_it_was(voice, window):
    tokens = sentences(voice)[2]
    attention = voice.with_attention_window(*window).speak(tokens).attention
    on = np.concatenate([[0], attention.argmax(axis=1)[:-1]])
    away = np.arange(len(tokens)) - on[:, None]
    assert (attention[(away < -window[0]) | (away > window[1])] == 0).all()
    np.testing.assert_allclose(attention.sum(axis=1), 1, atol=1e-6)


def test_a_window_as_wide_as_the_sentence_changes_nothing(voice):
    tokens = sentences(voice)[2]
    free, wide = voice.speak(tokens), voice.with_attention_window(99, 99).speak(tokens)
    np.testing.assert_array_equal(wide.mel, free.mel)
    assert voice.attention_window is None
    narrow = toy_voice(attention_window=(0, 1))
    np.testing.assert_array_equal(narrow.speak(tokens).mel, voice.with_attention_window(0, 1).speak(tokens).mel)
    assert largest_difference(narrow.speak(tokens).mel, free.mel) > 1e-6


@pytest.mark.parametrize("window", [(-1, 3), (1, 0), (0.5, 3)])
def test_a_window_that_cannot_go_on_is_refused(voice, window):
    with pytest.raises(ValueError, match="attention_window is"):
        voice.with_attention_window(*window)


def test_decoding_leaves_the_memory_as_it_was(voice):
    memory = torch.from_numpy(voice.encode(sentences(voice)[:1])[0]["lstm"])[None]
    before = memory.clone()
    with torch.no_grad():
        decoded = decode(voice.model.decoder, memory)
    assert torch.equal(memory, before)
    assert len({row.data_ptr() for row in decoded.attention}) == 30


def test_a_wrong_layer_is_named_with_the_nearest(voice):
    tokens = sentences(voice)[0]
    with pytest.raises(LookupError, match=r"no layer 'convolution\.1'; the nearest are 'convolutions\.1'"):
        voice.encode([tokens], ["convolution.1"])
    with pytest.raises(LookupError, match="'encoder'"):
        voice.speak(tokens, {"encoder": np.zeros((len(tokens), 12))})


@pytest.mark.parametrize("shape", [(3, 12), (15, 7)])
def test_vectors_that_do_not_fit_are_refused(voice, shape):
    tokens = sentences(voice)[0]
    assert len(tokens) == 15
    with pytest.raises(ValueError, match="lstm"):
        voice.speak(tokens, {"lstm": np.zeros(shape)})


def test_bad_sentences_are_refused(voice):
    with pytest.raises(ValueError, match="empty"):
        voice.tokenize("  ")
    with pytest.raises(ValueError, match="10,000 characters"):
        voice.tokenize("a" * 10_000)
    with pytest.raises(ValueError, match="knows no sound"):
        voice.tokenize(phonemes="xyz")
    tokens = voice.tokenize(phonemes="daxə")
    assert [one.symbol for one in tokens.dropped] == ["x"]
    assert tokens.phonemes == "daə"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"symbols": SYMBOLS[:-1]}, "19 symbols are given for a model that reads 20"),
        ({"symbols": [*SYMBOLS[:-1], "a"]}, "give one for each"),
        ({"n_mels": 21}, "has 21 bins and the model makes 20"),
        ({"reads": "runes"}, "accepted are ipa, characters, arpabet"),
    ],
)
def test_what_does_not_fit_the_model_is_refused(voice, change, message):
    mel = type(voice.mel)(n_mels=change.pop("n_mels", 20))
    with pytest.raises(ValueError, match=message):
        TacotronVoice(voice.model, change.pop("symbols", SYMBOLS), mel, **change)


@pytest.fixture
def files(tmp_path):
    """A voice as the training of the reference writes it."""
    model, mel = toy_tacotron(), toy_voice().mel
    weights = {name: t.half() if t.is_floating_point() else t for name, t in model.state_dict().items()}
    save_file({name: t.contiguous() for name, t in weights.items()}, tmp_path / "toy.safetensors")
    widths = {**WIDTHS, "n_symbol": len(SYMBOLS), "decoder_max_step": 30}
    described = {"symbols": SYMBOLS, "widths": widths, "mel": mel.to_dict(), "mel_mean": -5.0, "mel_deviation": 2.0}
    (tmp_path / "toy.json").write_text(json.dumps(described))
    return tmp_path / "toy.safetensors"


def test_a_voice_is_read_from_its_files(files):
    voice = TacotronVoice.from_files(files, attention_window=(1, 3))
    halves = toy_tacotron()
    halves.load_state_dict({name: t.half().to(t.dtype) for name, t in halves.state_dict().items()})
    tokens = voice.tokenize(phonemes=SENTENCES[1])
    expected = toy_voice(halves, mel_mean=-5.0, mel_deviation=2.0, attention_window=(1, 3)).speak(tokens)
    assert largest_difference(voice.speak(tokens).audio, expected.audio) == 0
    assert voice.name == "toy"
    assert not voice.model.training


def test_missing_and_damaged_files_are_named(files):
    with pytest.raises(FileNotFoundError, match=r"other\.safetensors"):
        TacotronVoice.from_files(files.with_name("other.safetensors"))
    whole = files.with_suffix(".json").read_text()
    for text in ("{", "{}", whole.replace('"n_mels": 20', '"n_mels": 24'), whole.replace("n_symbol", "n_sym")):
        files.with_suffix(".json").write_text(text)
        with pytest.raises(ValueError, match=r"toy\.safetensors and its \.json are no Tacotron 2"):
            TacotronVoice.from_files(files)
    files.with_suffix(".json").write_text(whole)
    files.write_bytes(files.read_bytes()[:200])
    with pytest.raises(ValueError, match="get both again"):
        TacotronVoice.from_files(files)


def test_the_reference_voice_speaks_and_rejoins():
    try:
        voice = TacotronVoice.reference()
    except FileNotFoundError:
        pytest.skip("tts/reference is not trained yet")
    voice.model.decoder.decoder_max_step = 40
    tokens = voice.tokenize("A bald man.", phonemes="ɐ bˈɔːld mˈæn.")
    assert not tokens.dropped
    speech, vectors = voice.speak(tokens), voice.encode([tokens])[0]
    assert len(speech.audio) > 0
    assert all(
        largest_difference(voice.speak(tokens, {name: v}).audio, speech.audio) == 0 for name, v in vectors.items()
    )


@pytest.fixture
def bundles(monkeypatch, tmp_path):
    """The two bundles' places taken by tiny models; nothing is fetched, and what would be is listed."""
    fetched = []
    wave = {"upsample_scales": [5, 11], "n_classes": 256, "hop_length": 55, "n_res_block": 1, "n_rnn": 8, "n_fc": 8}
    wave |= {"kernel_size": 5, "n_freq": 80, "n_hidden": 8, "n_output": 8}

    def load(url, weights_only=False, **_):
        assert weights_only
        fetched.append(url.rsplit("/", 1)[-1])
        build = (lambda: WaveRNN(**wave)) if "wavernn_10k" in url else (lambda: Tacotron2(**widths(url)))
        return random_module(build).state_dict()

    def widths(url):
        return WIDTHS | {
            "n_mels": 80,
            "decoder_max_step": 6,
            "gate_threshold": 2.0,
            "n_symbol": 38 if "characters" in url else 96,
        }

    for name in BUNDLES:
        bundle = getattr(torchaudio.pipelines, name)
        monkeypatch.setattr(bundle, "_tacotron2_params", widths(bundle._tacotron2_path))
        if "WAVERNN" in name:
            monkeypatch.setattr(bundle, "_wavernn_params", wave)
    monkeypatch.setattr(impl, "load_state_dict_from_url", load)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    return fetched


def test_a_character_bundle_reads_and_speaks(bundles):
    voice = load_bundle("TACOTRON2_GRIFFINLIM_CHAR_LJSPEECH", download=True)
    tokens = voice.tokenize("Hello, T. T. S!")
    processor = torchaudio.pipelines.TACOTRON2_GRIFFINLIM_CHAR_LJSPEECH.get_text_processor()
    assert list(tokens.ids) == processor("Hello, T. T. S!")[0][0].tolist()
    assert set(tokens.kinds) == {"character", "punctuation"}
    speech = voice.speak(tokens)
    assert (speech.sample_rate, speech.hop) == (22_050, 256)
    assert 5 * 256 <= len(speech.audio) <= 6 * 256
    assert bundles == ["tacotron2_english_characters_1500_epochs_ljspeech.pth"]


def test_a_wavernn_bundle_speaks_with_its_own_vocoder_and_the_seed(bundles):
    voice = load_bundle("TACOTRON2_WAVERNN_CHAR_LJSPEECH", download=True)
    tokens = voice.tokenize("Hello.")
    first, again, other = (voice.speak(tokens, seed=seed) for seed in (0, 0, 1))
    assert len(first.audio) == 6 * 55
    assert largest_difference(first.audio, again.audio) == 0
    assert largest_difference(first.audio, other.audio) > 0
    assert len(bundles) == 2


def test_phone_bundles_read_given_phonemes_and_explain_themselves(bundles):
    voice = load_bundle("TACOTRON2_GRIFFINLIM_PHONE_LJSPEECH", download=True)
    tokens = voice.tokenize("Hello, world", phonemes="HH AH0 L OW1 , | W ER1 L D")
    assert [bundled._get_phones()[i] for i in tokens.ids] == ["HH", "AH0", "L", "OW1", ",", " ", "W", "ER1", "L", "D"]
    assert tokens.words == ("Hello", "world")
    with pytest.raises(ModuleNotFoundError, match=r"reads ARPAbet phonemes.*give phonemes="):
        voice.tokenize("Hello")


def test_the_tables_are_those_of_torchaudio(bundles):
    for reads, expected in (("CHAR", bundled._get_chars()), ("PHONE", bundled._get_phones())):
        voice = load_bundle(f"TACOTRON2_GRIFFINLIM_{reads}_LJSPEECH", download=True)
        assert tuple(voice._read.table.numbers) == expected


def test_nothing_is_fetched_unless_asked(bundles, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"characters_1500_epochs_ljspeech\.pth.*download=True"):
        load_bundle("TACOTRON2_GRIFFINLIM_CHAR_LJSPEECH")
    assert bundles == []
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "tacotron2_english_characters_1500_epochs_ljspeech.pth").touch()
    assert load_bundle("TACOTRON2_GRIFFINLIM_CHAR_LJSPEECH").name == "TACOTRON2_GRIFFINLIM_CHAR_LJSPEECH"
    with pytest.raises(ValueError, match="TACOTRON2_WAVERNN_PHONE_LJSPEECH; choose one"):
        load_bundle("TACOTRON2")
