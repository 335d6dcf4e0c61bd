"""Prosody edits: on a voice whose answer is known, and durations on the real one."""

from types import SimpleNamespace

import numpy as np
import pytest
from prosody_toys import ENERGY, PITCH, Hum, hummed_tokens

from genmend.tts.prosody.edit_requests import EditRequest, parse_edit, select_tokens
from genmend.tts.prosody.probe_moves import ProbeMoves, fit_moves
from genmend.tts.prosody.prosody import attribute_change, attribute_levels, edit_prosody

pytest.importorskip("librosa")

NARROW = {"lowest": 90.0, "highest": 200.0}  # Hz about the hum's 120: pyin's time goes with the square of its range
SENTENCE = ("A bald porcine old man.", "ɐ bˈɔːld pˈoːɹsiːn ˈoʊld mˈæn.")


def moves_of(pitch=0.5, energy=0.4):
    """Moves that do half of what they say, so that a strength must be found."""
    one, other = np.zeros(8), np.zeros(8)
    one[PITCH], other[ENERGY] = pitch, energy
    return ProbeMoves("last", {"pitch": one, "energy": other}, {"pitch": one, "energy": other})


@pytest.fixture
def vits(tmp_path):
    """Makes a tiny VITS voice of a configuration."""
    pytest.importorskip("transformers")
    from transformers_toys import vits_config, vits_voice

    return lambda **options: vits_voice(tmp_path, vits_config(**options))


@pytest.fixture
def hum(monkeypatch):
    """The humming voice, its durations as a predictor."""
    monkeypatch.setattr(
        "genmend.tts.prosody.prosody.log_durations", lambda model, vectors, speaker=None: vectors[:, 0] * 1.0
    )
    return Hum(), SimpleNamespace(config=SimpleNamespace(num_speakers=1), speaking_rate=1.0)


def test_pitch_and_energy_come_as_requested(hum):
    voice, _ = hum
    tokens = hummed_tokens(("aaaa", "bbbb", "cccc"))
    edit = edit_prosody(voice, tokens, parse_edit("bbbb:pitch=+3st,energy=-4dB"), moves=moves_of(), **NARROW)
    assert edit.achieved["pitch"] == pytest.approx(3, abs=0.3)
    assert edit.achieved["energy"] == pytest.approx(-4, abs=0.6)
    assert edit.achieved["duration"] == 1
    assert edit.elsewhere["pitch"] == pytest.approx(0, abs=0.11)
    assert edit.elsewhere["duration"] == 1
    assert edit.calibrations["pitch"].gain == pytest.approx(2, rel=0.15)
    where = select_tokens(tokens, edit.request)
    np.testing.assert_array_equal(edit.vectors["last"][~where], voice.encode([tokens], ["last"])[0]["last"][~where])
    shown = edit.to_dict()
    assert shown["requested"] == {"pitch": 3.0, "energy": -4.0}
    assert shown["reached"] == {"pitch": True, "energy": True}
    assert "bbbb" in edit.plot().axes[0].get_title()


def test_an_answer_the_wrong_way_changes_nothing(hum):
    voice, _ = hum
    tokens = hummed_tokens(("aaaa", "bbbb"))
    edit = edit_prosody(voice, tokens, parse_edit("bbbb:pitch=+2st"), moves=moves_of(pitch=-0.5), n_trials=2, **NARROW)
    np.testing.assert_array_equal(edit.vectors["last"], voice.encode([tokens], ["last"])[0]["last"])
    assert edit.to_dict()["reached"] == {"pitch": False}
    assert len(edit.calibrations["pitch"].trials) == 2


@pytest.mark.parametrize("factor", [1.5, 0.5])
def test_durations_come_as_requested_also_beside_pitch(hum, factor):
    voice, model = hum
    tokens = hummed_tokens(("aaaa", "bbbb"))
    request = EditRequest("aaaa", {"duration": factor, "pitch": -2.0})
    edit = edit_prosody(voice, tokens, request, model=model, moves=moves_of(), **NARROW)
    assert edit.achieved["duration"] == pytest.approx(factor, rel=0.03)
    assert edit.achieved["pitch"] == pytest.approx(-2, abs=0.3)
    assert edit.elsewhere["duration"] == 1


def test_what_is_needed_is_asked_for(hum):
    voice, model = hum
    tokens = hummed_tokens()
    with pytest.raises(ValueError, match="give model=to_torch"):
        edit_prosody(voice, tokens, parse_edit("hum:duration=2"))
    with pytest.raises(ValueError, match="needs moves of the layer 'last'"):
        edit_prosody(voice, tokens, parse_edit("hum:pitch=1st"), model=model)
    with pytest.raises(LookupError, match="no move for 'tilt'; there are pitch, energy"):
        edit_prosody(voice, tokens, parse_edit("hum:tilt=1dB"), moves=moves_of())


def test_changes_are_differences_of_levels(hum):
    voice, _ = hum
    tokens = hummed_tokens(("aaaa", "bbbb"))
    where = select_tokens(tokens, EditRequest("aaaa", {}))
    vectors = voice.encode([tokens], ["last"])[0]["last"]
    vectors[where, ENERGY] += 5
    before, after = (
        attribute_levels(voice.speak(tokens, given), where, **NARROW) for given in (None, {"last": vectors})
    )
    inside, outside = (attribute_change(*pair) for pair in zip(before, after, strict=True))
    assert inside["energy"] == pytest.approx(5, abs=0.5)
    assert outside["energy"] == pytest.approx(0, abs=0.5)
    assert inside["duration"] == outside["duration"] == 1


def test_moves_are_learnt_for_symbols_and_blanks_and_kept_in_a_file(tmp_path):
    generator = np.random.default_rng(0)
    sentences = [hummed_tokens(("abcdefgh", "abcdefgh"))] * 8
    vectors = [{"last": generator.normal(size=(len(tokens), 6))} for tokens in sentences]
    labels = []
    for tokens, given in zip(sentences, vectors, strict=True):
        letter = np.array([kind == "phoneme" for kind in tokens.kinds])
        after = np.roll(given["last"], -1, axis=0)
        value = np.where(letter, 2 * given["last"][:, 1] + after[:, 4], np.nan)
        labels.append({"duration": np.where(letter, 0.0, np.nan), "pitch": value})
    moves, probes = fit_moves(sentences, vectors, labels, "last", ["pitch"])
    assert probes[0].r2 > 0.6
    assert moves.symbols["pitch"].argmax() == 1
    assert moves.blanks["pitch"].argmax() == 4
    moves.save(tmp_path / "moves.safetensors")
    loaded = ProbeMoves.load(tmp_path / "moves.safetensors")
    assert loaded.layer == "last"
    np.testing.assert_allclose(loaded.symbols["pitch"], moves.symbols["pitch"], rtol=1e-6)
    np.testing.assert_allclose(loaded.blanks["pitch"], moves.blanks["pitch"], rtol=1e-6)
    where = np.ones(len(sentences[0]), dtype=bool)
    moved = loaded.move(sentences[0], vectors[0]["last"], where, "pitch", 0.5)
    change = moved - vectors[0]["last"].astype(np.float32)
    np.testing.assert_allclose(change[1], 0.5 * moves.symbols["pitch"], atol=1e-5)
    np.testing.assert_allclose(change[2], 0.5 * moves.blanks["pitch"], atol=1e-5)
    assert not change[[0, -1]].any()


def test_other_files_hold_no_moves(tmp_path):
    from safetensors.numpy import save_file

    save_file({"a": np.zeros(2, np.float32)}, tmp_path / "other.safetensors")
    (tmp_path / "text.safetensors").write_text("no")
    with pytest.raises(ValueError, match=r"it has no .genmend\.probe_moves."):
        ProbeMoves.load(tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match="no intact safetensors file"):
        ProbeMoves.load(tmp_path / "text.safetensors")


@pytest.mark.real("joe")
def test_a_word_of_the_real_voice_lasts_half_as_long_again(joe, joe_torch):
    tokens = joe.tokenize(SENTENCE[0], phonemes=SENTENCE[1])
    edit = edit_prosody(joe, tokens, parse_edit("porcine:duration=1.5"), model=joe_torch, highest=250.0)
    assert edit.achieved["duration"] == pytest.approx(1.5, rel=0.03)
    assert edit.elsewhere["duration"] == pytest.approx(1, rel=0.05)
    frames = edit.after.frames[select_tokens(tokens, edit.request)].sum()
    assert frames == round(1.5 * edit.before.frames[select_tokens(tokens, edit.request)].sum())


@pytest.mark.parametrize("speaking_rate", [1.0, 0.7])
def test_a_vits_word_lasts_as_long_as_asked(vits, speaking_rate):
    voice = vits(speaking_rate=speaking_rate)
    tokens = voice.tokenize("a dab bad ab")
    edit = edit_prosody(voice, tokens, parse_edit("dab:duration=1.5"), model=voice.model, **NARROW)
    where = select_tokens(tokens, edit.request)
    lasted = [float(speech.frames[where].sum()) for speech in (edit.before, edit.after)]
    assert edit.achieved["duration"] == lasted[1] / lasted[0]
    assert edit.achieved["duration"] == pytest.approx(1.5, abs=1 / lasted[0])
    assert edit.calibrations["duration"].achieved == pytest.approx(edit.achieved["duration"] - 1, abs=1e-6)


def test_another_duration_predictor_is_refused(vits):
    voice = vits(use_stochastic_duration_prediction=False)
    with pytest.raises(ValueError, match="VITS' stochastic one is needed"):
        edit_prosody(voice, voice.tokenize("a dab"), parse_edit("dab:duration=1.5"), model=voice.model)
