"""Repairs of combinations: taken out of a sentence, tried in others, kept in a file."""

from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import save_file
from spoken_toys import random_sentences, toy_reference
from voice_toys import toy_tacotron, toy_voice

from genmend.tts.mending.combination import CombinationRepair, apply_repairs, combination_repairs
from genmend.tts.mending.combination_file import RepairFileError, load_repairs, save_repairs
from genmend.tts.mending.diagnosis import diagnose
from genmend.tts.mending.generalisation import average_repair, measure_generalisation
from genmend.tts.mending.repair import repair

LAYER = "convolutions.2"


@pytest.fixture(scope="module")
def repaired():
    """A voice, its reference, and a repair of a sentence with tokens outside."""
    voice, reference, _ = toy_reference()
    found = diagnose(voice, reference, random_sentences(40, seed=5), layer=LAYER, layers=(), n_nearest=0)
    tokens = max(found, key=lambda d: len(d.flagged)).tokens
    return voice, reference, repair(voice, reference, tokens, layer=LAYER, psi=0.0, copies=8)


def test_the_vectors_are_those_of_the_repair(repaired):
    voice, reference, done = repaired
    found = combination_repairs(voice, done)
    moved = [move for move in done.moved if move.distance > 0]
    assert len(found) == len(moved)
    for one, move in zip(found, moved, strict=True):
        assert done.tokens.ids[move.position - one.place :][: len(one.ids)] == one.ids
        assert one.symbols[one.place] == move.symbol
        assert move.position in one.positions(done.tokens)
        assert np.linalg.norm(one.vector) == pytest.approx(move.distance, rel=1e-5)
    # Combinations that come once put every vector back where it was found.
    once = all(len(one.positions(done.tokens)) == 1 for one in found)
    again = apply_repairs(voice, reference, done.tokens, found)
    assert once
    np.testing.assert_allclose(again.vectors, done.vectors, atol=1e-6)
    assert [move.score_after for move in again.moved] == pytest.approx([move.score_after for move in moved], abs=1e-4)


def test_a_sentence_without_the_combination_stays_as_it_is(repaired):
    voice, reference, done = repaired
    found = combination_repairs(voice, done)
    other = next(
        tokens
        for tokens in random_sentences(40, seed=8)
        if not any(one.positions(tokens) for one in found)
    )  # fmt: skip
    untouched = apply_repairs(voice, reference, other, found)
    assert not untouched.changed
    np.testing.assert_array_equal(untouched.vectors, voice.encode([other], [LAYER])[0][LAYER])


def test_holding_tells_a_repair_from_its_opposite(repaired):
    voice, reference, done = repaired
    carriers = random_sentences(60, seed=11)
    one = max(combination_repairs(voice, done), key=lambda found: np.linalg.norm(found.vector))
    kept = measure_generalisation(voice, reference, one, carriers, n=20)
    away = measure_generalisation(voice, reference, replace(one, vector=-3 * one.vector), carriers, n=20)
    assert kept.n == away.n == 20
    assert kept.outside_before == away.outside_before > 0
    assert kept.holds
    assert not away.holds
    assert kept.outside_after < away.outside_after
    assert measure_generalisation(voice, reference, one, carriers, n=20) == kept  # same seed, same sentences
    assert kept.to_dict()["combination"] == one.shown


def test_several_sentences_teach_what_helps_in_others(repaired):
    voice, reference, done = repaired
    learning, testing = random_sentences(80, seed=11), random_sentences(80, seed=12)
    after = {"own": [], "several": []}
    for one in combination_repairs(voice, done):
        general = average_repair(voice, reference, one, learning, n=10)
        if general is None:  # inside in all of them
            assert measure_generalisation(voice, reference, one, learning, n=10).outside_before == 0
            continue
        assert replace(general, vector=None) == replace(one, vector=None)
        for name, made in (("own", one), ("several", general)):
            after[name].append(measure_generalisation(voice, reference, made, testing, n=20).outside_after)
    assert after["own"]
    assert np.mean(after["several"]) <= np.mean(after["own"])


def test_a_combination_at_the_edge_stays_at_the_edge(repaired):
    voice, reference, done = repaired
    tokens = done.tokens
    assert (tokens.kinds[0], tokens.kinds[-1]) == ("special", "special")
    for part in (slice(0, 3), slice(len(tokens) - 3, len(tokens))):
        width = len(voice.encode([tokens], [LAYER])[0][LAYER][0])
        one = CombinationRepair(
            LAYER, tokens.ids[part], tokens.symbols[part], tokens.kinds[part], 1, np.zeros(width, np.float32)
        )
        assert measure_generalisation(voice, reference, one, random_sentences(10, seed=1)).n == 10
    long = CombinationRepair(LAYER, tokens.ids * 5, tokens.symbols * 5, tokens.kinds * 5, 1, np.zeros(12, np.float32))
    with pytest.raises(ValueError, match="has room for"):
        measure_generalisation(voice, reference, long, random_sentences(5, seed=1))


def test_repairs_come_back_from_their_file(repaired, tmp_path):
    voice, _, done = repaired
    found = combination_repairs(voice, done)
    save_repairs(tmp_path / "kept.safetensors", voice, found)
    for one, other in zip(found, load_repairs(tmp_path / "kept.safetensors", voice), strict=True):
        assert replace(one, vector=None) == replace(other, vector=None)
        np.testing.assert_array_equal(one.vector, other.vector)


def test_files_that_are_none_of_this_voice_are_refused(repaired, tmp_path):
    voice, _, done = repaired
    path = tmp_path / "kept.safetensors"
    with pytest.raises(FileNotFoundError, match="genmend speak --repair --save-repairs"):
        load_repairs(path, voice)
    with pytest.raises(ValueError, match="no repair to save"):
        save_repairs(path, voice, [])
    save_repairs(path, voice, combination_repairs(voice, done))
    with pytest.raises(RepairFileError, match="made for other weights"):
        load_repairs(path, toy_voice(toy_tacotron(decoder_rnn_dim=24)))
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(RepairFileError, match=r"cannot be loaded.*`genmend speak --repair --save-repairs` writes one"):
        load_repairs(path, voice)
    save_file({"0": np.zeros(3)}, path)
    with pytest.raises(RepairFileError, match="it has no 'genmend_voice_repairs'"):
        load_repairs(path, voice)


def test_repairs_of_two_layers_are_not_mixed(repaired):
    voice, reference, done = repaired
    one = combination_repairs(voice, done)[0]
    with pytest.raises(ValueError, match="are of 2 layers"):
        apply_repairs(voice, reference, done.tokens, [one, replace(one, layer="lstm")])
    with pytest.raises(LookupError, match="no layer 'lstm2'"):
        apply_repairs(voice, reference, done.tokens, [replace(one, layer="lstm2")])
