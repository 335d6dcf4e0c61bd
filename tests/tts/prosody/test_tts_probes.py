"""Probes on tables in which it is known what can be read, and from where."""

import numpy as np
import pytest
from prosody_toys import hummed_tokens

from genmend.tts.prosody.probes import TokenTable, fit_bin_probe, fit_linear_probe, neuron_curve, token_table

D = 12


def planted(noise=0.05, n_sentences=20, n_tokens=25):
    """Labels from coordinates 3 and 7 of "clear"; "blurred" knows only the symbol, which tells half of "mixed"."""
    generator = np.random.default_rng(0)
    n = n_sentences * n_tokens
    vectors = generator.normal(size=(n, D))
    symbols = generator.integers(0, 4, n)
    identity = np.eye(4)[symbols] @ generator.normal(size=(4, D))
    read = 2 * vectors[:, 3] - vectors[:, 7]
    labels = {"clear": read + noise * generator.normal(size=n), "mixed": symbols * 2.0 + generator.normal(size=n)}
    labels["clear"][::9] = np.nan
    sentences = np.repeat(np.arange(n_sentences), n_tokens)
    return TokenTable({"deep": vectors, "blurred": identity}, labels, symbols.astype(str), sentences)


def test_what_is_there_is_read_and_what_is_not_is_not():
    table = planted()
    deep, blurred = (fit_linear_probe(table, layer, "clear") for layer in ("deep", "blurred"))
    assert deep.r2 > 0.99
    assert abs(deep.baseline_r2) < 0.1
    assert blurred.r2 < 0.1
    np.testing.assert_allclose(deep.weights[[3, 7]], [2, -1], atol=0.1)
    labelled = np.isfinite(table.labels["clear"])
    assert (deep.n_train, deep.n_test) == (labelled[:375].sum(), labelled[375:].sum())
    np.testing.assert_allclose(deep(table.vectors["deep"])[1], table.labels["clear"][1], atol=0.5)
    assert "weights" not in deep.to_dict()


def test_identity_alone_is_told_by_the_baseline():
    probe = fit_linear_probe(planted(), "blurred", "mixed")
    assert probe.baseline_r2 > 0.7
    assert abs(probe.r2 - probe.baseline_r2) < 0.05


def test_no_sentence_is_on_both_sides():
    table = planted()
    train, test = table.split("clear", 0.25)
    assert not set(table.sentences[train]) & set(table.sentences[test])
    assert set(table.sentences[test]) == {15, 16, 17, 18, 19}
    assert np.isfinite(table.labels["clear"][np.concatenate([train, test])]).all()


def test_too_few_tokens_are_refused():
    table = planted(n_sentences=2, n_tokens=20)
    with pytest.raises(ValueError, match="20 are needed on either side; give more sentences"):
        fit_linear_probe(table, "deep", "clear", held_out=0.5)


def test_bins_are_told_apart():
    model, figures = fit_bin_probe(planted(), "deep", "clear", n_bins=3)
    assert figures["accuracy"] > 0.85
    assert figures["baseline"] < 0.55
    assert model.predict_proba(planted().vectors["deep"][:5]).shape == (5, 3)


def test_neurons_are_ranked_by_what_they_tell():
    curve = neuron_curve(planted(), "deep", "clear", counts=(1, 2, 10, 50))
    assert curve.order[:2].tolist() == [3, 7]
    assert sorted(curve.order) == list(range(D))
    assert curve.counts == (1, 2, 10)
    assert 0.5 < curve.top_r2[0] < 0.9 < curve.top_r2[1]
    assert max(curve.bottom_r2) < 0.1


def test_a_table_holds_the_labelled_tokens_or_those_after_them():
    tokens = hummed_tokens(("ab",))
    vectors = {"last": np.arange(len(tokens))[:, None] * np.ones((1, 2))}
    labels = {"duration": np.where([kind == "phoneme" for kind in tokens.kinds], 0.5, np.nan)}
    here, after = (token_table([tokens] * 2, [vectors] * 2, [labels] * 2, after=after) for after in (0, 1))
    assert here.symbols.tolist() == ["a", "b"] * 2
    assert here.vectors["last"][:, 0].tolist() == [1, 3, 1, 3]
    assert after.vectors["last"][:, 0].tolist() == [2, 4, 2, 4]
    assert here.sentences.tolist() == [0, 0, 1, 1]
