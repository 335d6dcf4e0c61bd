"""Normal regions of a voice: what is inside, what is held out, kept in a folder; and the diagnosis they give."""

import json

import numpy as np
import pytest
from spoken_toys import random_sentences, toy_reference
from voice_toys import toy_tacotron, toy_voice

from genmend.tts.mending.diagnosis import diagnose, state_of
from genmend.tts.mending.pair_statistics import PairStatistics
from genmend.tts.mending.reference import fit_reference, scores_of
from genmend.tts.mending.reference_file import ReferenceFileError, load_reference, save_reference


def test_what_lies_on_the_sphere_is_inside():
    scores = (0.5, 1.0, np.nextafter(1.0, 2.0), np.nan)
    assert [state_of(score) for score in scores] == ["inside", "inside", "outside", "never seen"]


def test_reference_vectors_are_inside_and_others_are_judged():
    voice, reference, kept = toy_reference()
    assert reference.layers == voice.layers[1:]
    for layer in reference.layers:
        region = reference.regions[layer]
        inside = region.score_samples(region.vectors_, groups=groups_of(region))
        assert np.nanmax(inside) <= 1
        far = scores_of(region, kept[0], voice.encode([kept[0]], [layer])[0][layer] + 100)
        assert (far[kept[0].spoken] > 1).all()
        assert np.isnan(far[~kept[0].spoken]).all()


def test_no_symbol_has_more_vectors_than_asked_and_the_same_seed_draws_the_same():
    voice, sentences = toy_voice(), random_sentences(40)
    one, other = (fit_reference(voice, sentences, k=2, most=7, seed=3) for _ in range(2))
    region = one.regions["lstm"]
    assert max(part.stop - part.start for part in region.groups_.values()) == 7
    np.testing.assert_array_equal(region.vectors_, other.regions["lstm"].vectors_)
    np.testing.assert_array_equal(one.places, other.places)


def test_places_name_the_symbol_they_come_from():
    _, reference, _ = toy_reference()
    region = reference.regions["lstm"]
    for symbol, part in region.groups_.items():
        for row in region.rows_[part][:5]:
            sentence, place = reference.places[row]
            assert reference.phonemes[sentence][place] == symbol


def test_the_base_rate_is_of_sentences_that_were_held_out():
    voice, sentences = toy_voice(), random_sentences(40)
    reference = fit_reference(voice, [*sentences, *sentences], k=2, held_out=0.25)
    assert len(reference.phonemes) == 30
    held = [s for s in sentences if s.phonemes not in reference.phonemes]
    scores = [scores_of(reference.regions["lstm"], s, voice.encode([s], ["lstm"])[0]["lstm"])[s.spoken] for s in held]
    assert reference.base_rates["lstm"] == pytest.approx(np.mean(~(np.concatenate(scores) <= 1)))
    assert reference.base_rates["lstm"] > 0


def test_too_few_sentences_and_unknown_layers_are_refused():
    voice = toy_voice()
    with pytest.raises(ValueError, match="1 different sentences are given, but a reference needs 20"):
        fit_reference(voice, random_sentences(1) * 30)
    with pytest.raises(LookupError, match="no layer 'lst'; the nearest are 'lstm'"):
        fit_reference(voice, random_sentences(30), layers=["lst"])


def test_a_folder_gives_the_same_answers(tmp_path):
    voice, reference, sentences = toy_reference()
    save_reference(tmp_path / "kept", reference, voice)
    again = load_reference(tmp_path / "kept", voice)
    assert again.base_rates == reference.base_rates
    assert again.following == reference.following
    one, other = (diagnose(voice, found, sentences[:5]) for found in (reference, again))
    assert [d.to_dict() for d in one] == [d.to_dict() for d in other]


def test_another_voice_or_a_damaged_folder_is_refused(tmp_path):
    voice, reference, _ = toy_reference()
    save_reference(tmp_path, reference, voice)
    with pytest.raises(ReferenceFileError, match="made for other weights"):
        load_reference(tmp_path, toy_voice(toy_tacotron(gate=-9.0)))
    described = (tmp_path / "reference.json").read_text()
    (tmp_path / "reference.json").write_text(described[:-20])
    with pytest.raises(ReferenceFileError, match="cannot be loaded"):
        load_reference(tmp_path, voice)
    with pytest.raises(ReferenceFileError, match="No such file"):
        load_reference(tmp_path / "nowhere", voice)


def test_a_diagnosis_tells_the_states_apart():
    voice, reference, sentences = toy_reference(symbols="dˈasət mɔːnb.")
    known = diagnose(voice, reference, [sentences[0]], layer="lstm")[0]
    assert known.layer == "lstm"
    assert set(known.states) <= {"", "inside", "outside"}
    strange = diagnose(voice, reference, [voice.tokenize(phonemes="dˈasuət ɪn mˈɔːn")], layer="lstm")[0]
    at = strange.tokens.symbols.index("u")
    assert strange.states[at] == "never seen"
    assert np.isnan(strange.scores["lstm"][at])
    assert strange.words[0].state == "never seen"
    dropped = strange.words[1]
    assert dropped.state == "dropped"  # ɪ is not in the table
    assert strange.outside > 0
    json.dumps(strange.to_dict(), allow_nan=False)


def test_contexts_of_tokens_outside_show_the_same_symbol():
    voice, reference, _ = toy_reference()
    found = diagnose(voice, reference, random_sentences(30, seed=9), n_nearest=3)
    flagged = [(d, i) for d in found for i in d.flagged]
    assert flagged
    for diagnosis, i in flagged:
        assert len(diagnosis.nearest[i]) == 3
        assert all(f"[{diagnosis.tokens.symbols[i]}]" in context for context in diagnosis.nearest[i])
    assert not any(
        near for d in diagnose(voice, reference, random_sentences(3, seed=9), n_nearest=0) for near in d.nearest
    )


def test_diagnose_refuses_a_layer_without_a_region():
    voice, reference, sentences = toy_reference()
    with pytest.raises(LookupError, match=r"no layer 'embedding'; it has convolutions\.0"):
        diagnose(voice, reference, sentences[:1], layer="embedding")


def test_pmi_is_that_of_the_counts():
    found = PairStatistics({"a": {"b": 3, "a": 1}, "b": {"a": 2}}, alpha=0.5)
    # Counts with alpha: aa 1.5, ab 3.5, ba 2.5, bb 0.5, 8 in all; a first 5, b second 4.
    assert found.pmi("a", "b") == pytest.approx(np.log2(3.5 * 8 / (5 * 4)))
    assert found.npmi("a", "b") == pytest.approx(np.log2(3.5 * 8 / 20) / -np.log2(3.5 / 8))
    assert found.pmi("b", "b") < 0 < found.pmi("a", "b")
    assert np.isnan(found.pmi("a", "z"))
    with pytest.raises(ValueError, match="alpha is 0"):
        PairStatistics({"a": {"b": 1}}, alpha=0)


def test_sentence_npmi_passes_over_marks_and_spaces():
    voice, reference, _ = toy_reference()
    statistics = PairStatistics(reference.following)
    tokens = voice.tokenize(phonemes="dˈa sə")
    pairs = [(tokens.symbols[i], tokens.symbols[j]) for i, j in statistics.pairs(tokens)]
    assert pairs == [("d", "a"), ("a", "s"), ("s", "ə")]
    assert statistics.sentence_npmi(tokens) == pytest.approx(np.mean([statistics.npmi(*pair) for pair in pairs]))


def groups_of(region):
    groups = np.empty(len(region.vectors_), dtype=object)
    for symbol, part in region.groups_.items():
        groups[part] = symbol
    return groups.tolist()
