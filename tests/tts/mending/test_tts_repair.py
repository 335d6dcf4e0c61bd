"""Perturbed neighbours and the repair: what may change, by how much, and what must not."""

from dataclasses import replace

import numpy as np
import pytest
from spoken_toys import random_sentences, toy_reference

from genmend.tts.mending.acceptance import Verdict, is_better
from genmend.tts.mending.diagnosis import diagnose
from genmend.tts.mending.perturb import SUBSTITUTES, perturb
from genmend.tts.mending.reference import scores_of
from genmend.tts.mending.repair import CENTERS, repair

LAYER = "convolutions.2"


def flagged_sentence():
    """A sentence with tokens outside in LAYER."""
    voice, reference, _ = toy_reference()
    found = diagnose(voice, reference, random_sentences(40, seed=5), layer=LAYER, layers=(), n_nearest=0)
    return voice, reference, max(found, key=lambda d: len(d.flagged)).tokens


@pytest.mark.parametrize("substitutes", SUBSTITUTES)
def test_only_sounds_within_the_window_change(substitutes):
    _, reference, sentences = toy_reference()
    tokens, rng = sentences[0], np.random.default_rng(0)
    sounds = [i for i, kind in enumerate(tokens.kinds) if kind == "phoneme"]
    position = sounds[len(sounds) // 2]
    near = {s for s in sounds if s != position and abs(sounds.index(s) - sounds.index(position)) <= 2}
    made = perturb(tokens, position, reference, rng, copies=40, substitutes=substitutes)
    changed = [{i for i, (a, b) in enumerate(zip(tokens.ids, copy.ids, strict=True)) if a != b} for copy in made]
    assert len(made) == 40
    assert {len(places) for places in changed} == {1, 2}
    assert set().union(*changed) == near
    assert all(copy.kinds == tokens.kinds and copy.word_of == tokens.word_of for copy in made)
    assert all(reference.ids[s] == i for copy in made for s, i in zip(copy.symbols, copy.ids, strict=True))


def test_neighbours_are_drawn_from_pairs_of_ordinary_text():
    _, reference, sentences = toy_reference()
    tokens = sentences[1]
    sounds = [i for i, kind in enumerate(tokens.kinds) if kind == "phoneme"]
    before, position, after = sounds[2:5]
    for copy in perturb(tokens, position, reference, np.random.default_rng(1), copies=60, window=1):
        for i, pair in ((before, (copy.symbols[before], copy.symbols[position])),
                        (after, (copy.symbols[position], copy.symbols[after]))):  # fmt: skip
            if copy.symbols[i] != tokens.symbols[i]:
                assert reference.following[pair[0]][pair[1]] > 0


def test_classes_are_kept_and_unknown_names_refused():
    _, reference, sentences = toy_reference()
    vowels = set("aeiouɐɔə")
    for copy in perturb(sentences[0], 3, reference, np.random.default_rng(0), substitutes="same class"):
        assert all((a in vowels) == (b in vowels) for a, b in zip(sentences[0].symbols, copy.symbols, strict=True))
    with pytest.raises(ValueError, match="substitutes is 'any'; accepted are 'pairs'"):
        perturb(sentences[0], 3, reference, np.random.default_rng(0), substitutes="any")


def test_a_sentence_of_one_sound_has_no_copies():
    voice, reference, _ = toy_reference()
    assert perturb(voice.tokenize(phonemes="a"), 1, reference, np.random.default_rng(0)) == []


@pytest.mark.parametrize("center", CENTERS)
def test_rows_inside_keep_every_bit_and_the_same_seed_repairs_alike(center):
    voice, reference, tokens = flagged_sentence()
    before = voice.encode([tokens], [LAYER])[0][LAYER]
    done, again = (repair(voice, reference, tokens, layer=LAYER, psi=0.0, center=center, seed=4) for _ in range(2))
    np.testing.assert_array_equal(done.vectors, again.vectors)
    moved = [token.position for token in done.moved]
    assert moved == np.flatnonzero(scores_of(reference.regions[LAYER], tokens, before) > 1).tolist()
    kept = np.setdiff1d(np.arange(len(tokens)), moved)
    np.testing.assert_array_equal(done.vectors[kept], before[kept])
    assert done.changed
    for token in done.moved:
        assert token.distance == pytest.approx(
            np.linalg.norm(done.vectors[token.position] - before[token.position]), rel=1e-4
        )


def test_local_repair_comes_nearer_to_normal_than_a_random_move_of_its_length():
    voice, reference, tokens = flagged_sentence()
    local = repair(voice, reference, tokens, layer=LAYER, psi=0.0)
    random = repair(voice, reference, tokens, layer=LAYER, psi=0.0, center="random direction")
    assert [t.distance for t in random.moved] == pytest.approx([t.distance for t in local.moved], rel=1e-4)
    assert np.mean([t.score_after for t in local.moved]) < np.mean([t.score for t in local.moved])
    assert np.mean([t.score_after for t in local.moved]) < np.mean([t.score_after for t in random.moved])


def test_the_local_center_is_the_mean_of_the_normal_copies():
    voice, reference, tokens = flagged_sentence()
    done = repair(voice, reference, tokens, layer=LAYER, psi=0.0, copies=16, seed=2)
    first = done.moved[0]
    assert first.center == "perturbed"
    made = perturb(tokens, first.position, reference, np.random.default_rng(2), copies=16)
    found = np.stack([encoded[LAYER][first.position] for encoded in voice.encode(made, [LAYER])])
    inside = reference.regions[LAYER].contains(found, groups=[first.symbol] * len(found)) == 1
    np.testing.assert_allclose(done.vectors[first.position], found[inside].mean(axis=0), atol=1e-5)
    assert first.normal_copies == pytest.approx(inside.mean())


def test_psi_interpolates_and_one_changes_nothing():
    voice, reference, tokens = flagged_sentence()
    before = voice.encode([tokens], [LAYER])[0][LAYER]
    whole, half, nothing = (repair(voice, reference, tokens, layer=LAYER, psi=psi) for psi in (0.0, 0.5, 1.0))
    np.testing.assert_allclose(half.vectors, (before + whole.vectors) / 2, atol=1e-5)
    np.testing.assert_allclose(nothing.vectors, before, atol=1e-6)


def test_the_global_center_is_the_mean_of_the_symbol():
    voice, reference, tokens = flagged_sentence()
    done = repair(voice, reference, tokens, layer=LAYER, psi=0.0, center="global")
    region = reference.regions[LAYER]
    for token in done.moved:
        mean = region.vectors_[region.groups_[token.symbol]].mean(axis=0)
        np.testing.assert_allclose(done.vectors[token.position], mean, atol=1e-5)


def test_only_the_asked_positions_move_and_a_lost_token_falls_back():
    voice, reference, tokens = flagged_sentence()
    position = repair(voice, reference, tokens, layer=LAYER).moved[-1].position
    assert [t.position for t in repair(voice, reference, tokens, layer=LAYER, positions=[position]).moved] == [position]
    # With a region of next to nothing no copy is inside, and the nearest reference vectors take their place.
    tiny = replace(reference, regions={LAYER: shrunk(reference.regions[LAYER])})
    lost = repair(voice, tiny, tokens, layer=LAYER, positions=[position], psi=0.0)
    assert lost.moved[0].center == "nearest"
    assert lost.moved[0].normal_copies == 0


def test_bad_settings_are_refused():
    voice, reference, tokens = flagged_sentence()
    with pytest.raises(ValueError, match=r"psi is 1.5, but a number in \[0, 1\]"):
        repair(voice, reference, tokens, psi=1.5)
    with pytest.raises(ValueError, match="center is 'middle'; accepted are 'local'"):
        repair(voice, reference, tokens, center="middle")
    with pytest.raises(LookupError, match="no layer 'embedding'"):
        repair(voice, reference, tokens, layer="embedding")


@pytest.mark.parametrize(
    ("before", "after", "taken"),
    [((1, -1.0), (0, -2.0), True), ((0, -1.0), (1, -0.1), False), ((1, -1.0), (1, -0.1), False),
     ((0, -1.0), (0, -0.9), True),
     ((0, -1.0), (0, -0.99), False), ((0, -1.0), (0, -np.inf), False)],
)  # fmt: skip
def test_a_repair_is_taken_only_if_it_is_heard_as_better(before, after, taken):
    assert is_better(*(Verdict("", *verdict) for verdict in (before, after))) is taken


def shrunk(region):
    """The same region with balls a thousandth as large."""
    from genmend.manifold import Manifold

    small = region.__class__(region.k).fit(
        region.vectors_, groups=[g for g, p in region.groups_.items() for _ in range(p.stop - p.start)]
    )
    for group, manifold in small.manifolds_.items():
        small.manifolds_[group] = Manifold.from_radii(manifold.reference_, manifold.radii_ / 1000, k=region.k)
    return small
