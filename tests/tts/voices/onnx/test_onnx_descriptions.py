"""Descriptions of ONNX voices: what is missing, wrong or damaged is named in one sentence, with what to do."""

import json

import numpy as np
import onnx_toys as toys
import pytest

pytest.importorskip("onnxruntime")
onnx = pytest.importorskip("onnx")

from genmend.tts import load_voice  # noqa: E402
from genmend.tts.voices.onnx.graph import VoiceFileError, read_onnx  # noqa: E402
from genmend.tts.voices.onnx.metadata import read_tokens  # noqa: E402
from genmend.tts.voices.onnx.onnx_voice import OnnxVoice  # noqa: E402
from genmend.tts.voices.piper import PiperVoice  # noqa: E402

OWN = {"symbols": toys.SYMBOLS, "sample_rate": 16_000, "reads": "phonemes"}


def described(folder, make=toys.matcha, **changed):
    path = make(folder / "voice.onnx")
    own = {key: value for key, value in (OWN | changed).items() if value is not None}
    (folder / "voice.onnx.json").write_text(json.dumps(own))
    return path


def refusal(path, **options):
    """What loading says; one sentence that names the folder's file."""
    with pytest.raises(VoiceFileError) as error:
        load_voice(path, **options)
    said = str(error.value)
    assert str(path.parent) in said
    assert "\n" not in said
    return said


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (toys.matcha, "looks like Matcha-TTS"),
        (toys.vits, "looks like VITS or MMS, as sherpa-onnx exports them"),
        (toys.coqui, "looks like a VITS voice of Coqui"),
        (toys.transformers, "looks like VITS or MMS, as transformers.js has them"),
        (toys.vocoder, "looks like a vocoder, which has no text to read"),
    ],
)
def test_a_graph_without_description_is_named_by_its_kind(tmp_path, make, kind):
    said = refusal(make(tmp_path / "voice.onnx"))
    assert kind in said
    if "vocoder" not in kind:
        assert "nothing says its symbols, sample_rate: put tokens.txt of sherpa-onnx beside it" in said


def test_a_graph_of_no_known_kind_says_what_it_takes_and_gives(tmp_path):
    graph = toys.Graph()
    graph.node("Relu", ["image"], "/relu", out="classes")
    said = refusal(graph.saved(tmp_path / "net.onnx", {"image": (toys.FLOAT, [1, 3, 8, 8])}, ["classes"]))
    assert "no kind of voice that genmend knows (it takes image, gives classes)" in said
    assert "nothing says its inputs, symbols, sample_rate, audio" in said
    with pytest.raises(VoiceFileError, match="not a Piper voice"):
        PiperVoice(tmp_path / "net.onnx")


def test_kokoro_and_hibari_need_no_description(tmp_path):
    assert load_voice(toys.hibari(tmp_path / "hibari.onnx")).sample_rate == 24_000
    said = refusal(toys.kokoro(tmp_path / "kokoro.onnx"))
    assert "takes a style vector, and none is beside it: put a file of them there (voices*.npz or voices*.bin)" in said


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"sample_rate": 10}, "sample_rate = 10, where a whole number from 1000 to 384000"),
        ({"sample_rate": True}, "sample_rate = true"),
        ({"hop": 2.5}, r"hop = 2\.5"),
        ({"reads": "runes"}, 'reads = "runes", where one of ipa, characters, kana, phonemes'),
        ({"reads": "ipa"}, "language = null, where the name of a language of espeak-ng"),
        ({"reads": "ipa", "language": "--help"}, 'language = "--help"'),
        ({"begin": "<"}, 'begin = "<", where a symbol of the table'),
        ({"begin": -1}, "begin = -1"),
        ({"inputs": ["x"]}, r'inputs = \["x"\], where a table'),
        ({"inputs": {"y": "tokens"}}, 'inputs.y = "tokens", where an input of the graph'),
        ({"inputs": {"x": "tokens"}}, "also what 'x_lengths' takes"),
        ({"inputs": {"x": "token", "x_lengths": "lengths", "scales": [1, 1]}}, 'inputs.x = "token"'),
        ({"inputs": {"x": "lengths", "x_lengths": "lengths", "scales": [1, 1]}}, 'the input that takes the "tokens"'),
        ({"layers": {"one": "/encoder/ebm/Gather_output_0"}}, "the nearest are /encoder/emb/Gather_output_0"),
        ({"layers": {"one": ["/encoder/emb/Gather_output_0", "ndb"]}}, r"layers\.one"),
        ({"frames": "/Ceil_output"}, "names the tensor '/Ceil_output', which voice.onnx does not have"),
        ({"frames_unit": "minutes"}, "where one of frames, samples, seconds, log frames"),
        ({"vocoder": "none.onnx"}, r"names 'none\.onnx' as its vocoder, and there is no .*none\.onnx: put it there"),
        ({"symbols": {}}, "has no table of symbols"),
        ({"symbols": {"a": -3}}, "the symbol 'a' the number -3"),
        ({"symbols": {"a": 0.5}}, "the symbol 'a' the number 0.5"),
        ({"symbols": {"a": 12}}, "gives 'a' the number 12, and the voice knows 12: the two do not belong together"),
        ({"symbols": "none.txt"}, "names 'none.txt' as its symbols"),
        ({"smaple_rate": 16_000}, "a field 'smaple_rate' that no description has: did you mean sample_rate"),
        ({"batch": 4}, "batch = 4"),
    ],
)
def test_a_wrong_field_is_named_with_what_is_accepted(tmp_path, changed, says):
    with pytest.raises(VoiceFileError, match=says):
        OnnxVoice(described(tmp_path, **changed))


@pytest.mark.parametrize("content", ["[1, 2]", "{", '{"phoneme_id_map": {}, "audio": {}}'])
def test_a_json_that_is_no_description_is_refused(tmp_path, content):
    path = described(tmp_path)
    path.with_name("voice.onnx.json").write_text(content)
    assert "voice.onnx.json" in refusal(path)


def test_a_graph_that_is_cut_off_is_refused(tmp_path):
    path = described(tmp_path)
    whole = path.read_bytes()
    for n in range(0, len(whole), max(len(whole) // 40, 1)):
        path.write_bytes(whole[:n])
        assert "voice again" in refusal(path) or n == 0


def test_weights_without_their_values_are_refused(tmp_path):
    path = described(tmp_path)
    model = onnx.load(path)
    weights = next(w for w in model.graph.initializer if w.name == "encoder.emb.weight")
    for kept in (weights.raw_data[:-40], b""):
        weights.raw_data = kept
        onnx.save(model, path)
        assert "is cut off: the values of its weights 'encoder.emb.weight' are missing" in refusal(path)


def test_weights_in_another_file_are_looked_for(tmp_path):
    path = described(tmp_path)
    onnx.save(onnx.load(path), path, save_as_external_data=True, location="voice.data", size_threshold=0)
    assert load_voice(path).layers
    beside = tmp_path / "voice.data"
    whole = beside.read_bytes()
    beside.write_bytes(whole[: len(whole) // 2])
    assert f"{beside} is cut off" in refusal(path)
    beside.unlink()
    assert "keeps its weights in voice.data, and that file is not beside it: get both files" in refusal(path)
    model = onnx.load(path, load_external_data=False)
    for weights in model.graph.initializer:
        for entry in weights.external_data:
            entry.value = "../voice.data" if entry.key == "location" else entry.value
    path.write_bytes(model.SerializeToString())
    assert "outside its own folder" in refusal(path)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("name", ["voices.npz", "voices.bin", "voices/af_a.bin"])
def test_a_style_that_is_not_finite_names_its_file(tmp_path, name, bad):
    path = toys.kokoro(tmp_path / "kokoro.onnx")
    values = np.zeros((5, toys.UNITS), np.float32)
    values[2, 1] = bad
    target = tmp_path / name
    target.parent.mkdir(exist_ok=True)
    np.savez(target, af_a=values) if name.endswith("npz") else values.tofile(target)
    assert f"{target} holds NaN or infinity in the style" in refusal(path)


def test_style_files_that_are_cut_or_foreign_are_refused(tmp_path):
    path = toys.kokoro(tmp_path / "kokoro.onnx")
    np.zeros(7, np.float32).tofile(tmp_path / "voices.bin")
    assert "holds 7 numbers, and style vectors have 4 each: it is cut off" in refusal(path)
    (tmp_path / "voices.bin").write_bytes(b"")
    assert "holds 0 numbers" in refusal(path)
    np.savez(tmp_path / "voices.npz", af_a=np.zeros((3, toys.UNITS)))
    whole = (tmp_path / "voices.npz").read_bytes()
    (tmp_path / "voices.npz").write_bytes(whole[: len(whole) // 2])
    assert "cannot be read as style vectors" in refusal(path)


def test_many_voices_in_a_file_of_numbers_are_told_apart_by_the_metadata(tmp_path):
    path = toys.kokoro(tmp_path / "model.onnx", model_type="kokoro", sample_rate=24_000, speaker_names="af_a,bm_b",
                       has_espeak=1, voice="en-us")  # fmt: skip
    packs = np.random.default_rng(0).normal(0, 1, (2, 5, toys.UNITS)).astype(np.float32)
    packs.tofile(tmp_path / "voices.bin")
    np.testing.assert_array_equal(OnnxVoice(path, speaker="bm_b")._style, packs[1])
    with pytest.raises(ValueError, match="has af_a, bm_b; give one of these"):
        OnnxVoice(path, speaker="zf_c")


def test_no_speakers_are_refused_where_the_graph_takes_one(tmp_path):
    (tmp_path / "tokens.txt").write_text(toys.TOKENS_TXT)
    meta = {"sample_rate": 16_000, "n_speakers": 0, "frontend": "characters", "comment": "mms"}
    path = toys.vits(tmp_path / "voice.onnx", speakers=3, **meta)
    assert "says that the voice has 0 speakers, but its graph takes one" in refusal(path)


def test_metadata_that_cannot_be_read_is_named(tmp_path):
    (tmp_path / "tokens.txt").write_text(toys.TOKENS_TXT)
    path = toys.vits(tmp_path / "voice.onnx", sample_rate="fast", n_speakers=1, comment="mms")
    with pytest.raises(VoiceFileError, match="metadata says sample_rate = 'fast', where a whole number"):
        load_voice(path)


def test_tokens_are_read_with_the_space_among_them(tmp_path):
    (tmp_path / "tokens.txt").write_text("a 1\n  2\n\nˈ 3\r\n")
    assert read_tokens(tmp_path / "tokens.txt") == {"a": 1, " ": 2, "ˈ": 3}
    (tmp_path / "tokens.txt").write_text("a 1\nb\n")
    with pytest.raises(VoiceFileError, match=r"tokens\.txt has 'b' in line 2"):
        read_tokens(tmp_path / "tokens.txt")


def test_axes_that_do_not_fit_are_named_when_they_are_used(tmp_path):
    voice = load_voice(described(tmp_path, layers={"one": ["/encoder/emb/Gather_output_0", "bdn"]}))
    with pytest.raises(
        VoiceFileError, match=r"gives the layer 'one' in shape \(1, 7, 4\) .* does not fit its axes 'bdn'"
    ):
        voice.encode([voice.tokenize(phonemes="bad")])


def test_a_tensor_that_holds_no_durations_is_named(tmp_path):
    voice = load_voice(described(tmp_path, frames="mel_lengths"))
    with pytest.raises(VoiceFileError, match=r"'mel_lengths' has 1 values for 7 tokens: it holds no durations"):
        voice.speak(voice.tokenize(phonemes="bad"))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no voice file .*none\.onnx"):
        read_onnx(tmp_path / "none.onnx")


def test_a_minimal_description_speaks(tmp_path):
    graph = toys.Graph()
    x = graph.node("Gather", [graph.matrix("e", toys.ROWS, toys.UNITS), "letters"], "/emb")
    x = graph.dense(graph.neighbours(x, "/n"), "/encoder")
    graph.audio(graph.expanded(x, graph.durations(x, "", length="pace"), "/p"), "/dec", "sound")
    takes = {"letters": (toys.INT, [1, "n"]), "pace": (toys.FLOAT, [])}
    graph.saved(tmp_path / "own.onnx", takes, ["sound"])
    (tmp_path / "symbols.json").write_text(json.dumps({"vocab": {"a": 1, "b": 2, "d": 3}}))
    (tmp_path / "own.json").write_text(json.dumps({
        "sample_rate": 8_000, "inputs": {"letters": "tokens", "pace": "length"}, "symbols": "symbols.json", "end": 9,
        "reads": "characters", "language": "de", "audio": "sound", "frames": "/Ceil_output_0", "name": "Otto",
        "layers": {"embedding": ["/emb_output_0", "bnd"], "encoder.1": ["/encoder/Tanh_output_0", "bnd"]},
    }))  # fmt: skip
    voice = load_voice(tmp_path / "own.onnx", length=1.5)
    tokens = voice.tokenize("Bad dab")
    assert tokens.symbols == (*"bad", *"dab", "$")
    assert (voice.name, voice.language, voice.layers) == ("Otto", "de", ("embedding", "encoder.1"))
    speech = voice.speak(tokens)
    assert len(speech.audio) == speech.frames.sum() * speech.hop == speech.frames.sum() * toys.HOP
