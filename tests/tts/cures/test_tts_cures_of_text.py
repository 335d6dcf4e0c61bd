"""Cures that move vectors back, respell words, and split sentences, on the toy voice and its reference."""

import re
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from spoken_toys import random_sentences, toy_reference

from genmend.tts import diagnose
from genmend.tts.cures.case import Case, read
from genmend.tts.cures.mending import mend_sentence
from genmend.tts.cures.repair_layers import repaired_layers
from genmend.tts.cures.respell import other_spellings, troubled_words
from genmend.tts.cures.split import split_at_clauses, split_at_marks
from genmend.tts.cures.table import CURES
from genmend.tts.cures.way import Way
from genmend.tts.measures.reading_faults import ReadingFault
from genmend.tts.measures.sound_lengths import measure_lengths
from genmend.tts.mending.settings import SpeakSettings

PHONEMES = "dˈasət mˈɔn bˈos ɐ nəbˈit."


def case_of(tokens, *faults, listens=False, words=()):
    voice, reference, _ = toy_reference()
    tokens = replace(tokens, words=tuple(words) or tokens.words)
    reading = read(tokens, voice.speak(tokens))
    reading = replace(reading, faults=tuple(faults), n_misread=len(faults))
    return Case(Way(voice, (tokens,)), reading, reference, SpeakSettings(copies=6), frozenset(), listens)


def tokens_of(phonemes):
    return toy_reference()[0].tokenize(phonemes=phonemes)


def test_every_layer_with_something_flagged_is_repaired():
    voice, reference, _ = toy_reference()
    found = diagnose(voice, reference, random_sentences(40, seed=3), layer="convolutions.0", layers=())
    tokens = next(d.tokens for d in found if len(d.flagged))
    ways = dict(repaired_layers(case_of(tokens)))
    assert "convolutions.0" in ways
    assert set(ways) <= set(reference.layers)
    before = voice.encode([tokens], ["convolutions.0"])[0]["convolutions.0"]
    assert np.abs(ways["convolutions.0"].vectors["convolutions.0"] - before).max() > 0


def test_words_are_respelled_where_they_went_wrong():
    tokens = tokens_of(PHONEMES)
    word = tokens.words.index("mˈɔn")
    places = [i for i in tokens.sounds if tokens.word_of[i] == word]
    case = case_of(tokens, ReadingFault("mˈɔn", word, "partly skipped", None, (places[1],)), listens=True)
    assert troubled_words(case) == {word: [places[1]]}
    spelled = {how: way.parts[0].phonemes for how, way in other_spellings(case)}
    long, usual = 'a longer ɔ in "mˈɔn"', next(how for how in spelled if " for ɔ in " in how)
    assert spelled['"mˈɔn" as m ɔn'] == "dˈasət m ˈɔn bˈos ɐ nəbˈit."
    assert spelled[long] == "dˈasət mˈɔɔn bˈos ɐ nəbˈit."  # no mark of length was learnt
    assert spelled[usual].replace(usual[0], "ɔ", 1) != spelled[usual]
    assert not any("pause" in how for how in spelled)  # it knows no comma
    assert not any(" for " in how for how, _ in other_spellings(replace(case, listens=False)))


def test_a_fault_without_sounds_of_its_own_is_one_of_the_flagged_ones():
    tokens = tokens_of(PHONEMES)
    case = case_of(tokens, ReadingFault("x", 0, "heard otherwise"), ReadingFault("", -1, "stalled"))
    sounds = [i for i in tokens.sounds if tokens.word_of[i] == 0]
    assert troubled_words(case) == {0: sounds}
    assert troubled_words(replace(case, flagged=frozenset(sounds[1:2]))) == {0: sounds[1:2]}


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("one two three and five six seven eight", ['before "and"']),
        ("one two but four five six and eight nine ten", ['before "and"']),
        ("one two three and five six seven and nine ten eleven", ['before "and"', 'before "and", "and"']),
        ("one two three four five six seven", []),
        ("one two three and five six", []),
    ],
)
def test_long_sentences_are_split_at_clauses(words, expected):
    labels = words.split()
    tokens = tokens_of(" ".join(["dˈas"] * len(labels)) + ".")
    case = case_of(tokens, ReadingFault("x", 0, "skipped"), words=labels)
    ways = dict(split_at_clauses(case))
    assert list(ways) == expected
    for way in ways.values():
        assert sum(len(part.sounds) for part in way.parts) == len(tokens.sounds)
        assert all(part.symbols[-2:] == (".", "$") for part in way.parts)


@pytest.mark.parametrize(
    ("phonemes", "expected"),
    [
        ("mˈɔn, dˈas.", ['before "dˈas"']),
        ("mˈɔn dˈas; bˈos, nəbˈit.", ['before "bˈos"', 'before "bˈos", "nəbˈit"']),
        ("mˈɔn dˈas.", []),
        (". mˈɔn dˈas.", []),
    ],
)
def test_short_sentences_are_split_where_they_have_a_comma(phonemes, expected):
    # The toy voice was taught no comma: points in their place, renamed.
    tokens = tokens_of(re.sub("[,;]", ".", phonemes))
    renamed = ["," if symbol == "." and i < len(tokens) - 2 else symbol for i, symbol in enumerate(tokens.symbols)]
    tokens = replace(tokens, symbols=tuple(renamed))
    ways = dict(split_at_marks(case_of(tokens, ReadingFault("x", 0, "skipped"))))
    assert list(ways) == expected
    for way in ways.values():
        assert [part.symbols[-2] for part in way.parts] == ["."] * len(way.parts)
        assert sum(len(part.sounds) for part in way.parts) == len(tokens.sounds)
    assert not any("," in part.symbols for way in list(ways.values())[-1:] for part in way.parts)


def test_commas_are_tried_for_faults_of_the_attention_alone():
    (cure,) = [cure for cure in CURES if cure.name == "split at marks"]
    case = case_of(tokens_of(PHONEMES), ReadingFault("x", 0, "heard otherwise"), ReadingFault("x", 0, "too short"))
    assert not cure.fits(case)
    assert cure.fits(case_of(tokens_of(PHONEMES), ReadingFault("x", 0, "skipped")))


def test_every_cure_has_a_name_and_says_what_it_does_and_only_respelling_changes_phonemes():
    assert len({cure.name for cure in CURES}) == len(CURES)
    assert all(cure.does and cure.faults for cure in CURES)
    assert [cure.name for cure in CURES if cure.changes_phonemes] == ["respelling"]


@pytest.mark.all
@pytest.mark.real("joe")
def test_a_sound_of_a_real_voice_that_is_far_too_long_is_shortened(joe):
    tokens = joe.tokenize(phonemes="ðə kˈɑːɹ lˈɛft.")
    lengths = measure_lengths([tokens] * 30, [joe.speak(tokens).frames] * 30)
    place = tokens.symbols.index("ɛ")
    lengths["ɛ"] = [30, *(value / 2 for value in lengths["ɛ"][1:])]
    reference = SimpleNamespace(lengths=lengths)
    way = Way(joe, (tokens,))
    case = Case(way, read(*way.say(), reference), reference, SpeakSettings())
    assert [(fault.fault, fault.tokens) for fault in case.reading.faults] == [("too long", (place,))]
    cures = [cure for cure in CURES if cure.name == "duration"]
    done = mend_sentence(case, cures=cures)
    assert done.changed
    assert done.after.is_right
    assert done.kept[0].how == "ɛ ×0.50"
