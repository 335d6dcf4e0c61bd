"""What can be read from encoder vectors, and where: linear probes of each layer and neuron.

Lee et al., Interspeech 2025 (arXiv 2506.00832), stage 1. Our reading: ridge and logistic regression, the ranking by
|weight| times the neuron's spread. That an attribute can be read does not say that the voice uses it: see
`genmend.tts.prosody.prosody` for what happens when it is changed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genmend.tts.text.tokens import Tokens

__all__ = [
    "LinearProbe",
    "NeuronCurve",
    "TokenTable",
    "fit_bin_probe",
    "fit_linear_probe",
    "neuron_curve",
    "token_table",
]

PENALTY = 10.0  # of ridge
_FEWEST = 20  # tokens, on either side: fewer say nothing about a probe


@dataclass(frozen=True)
class TokenTable:
    """Tokens of many sentences, one row each.

    Attributes
    ----------
    vectors : dict
        layer -> (n, d).
    labels : dict
        attribute -> (n,), NaN where a token has none.
    symbols : ndarray
        (n,) what each token is.
    sentences : ndarray
        (n,) the sentence each is from; no sentence is both trained and tested on.
    """

    vectors: Mapping[str, np.ndarray]
    labels: Mapping[str, np.ndarray]
    symbols: np.ndarray
    sentences: np.ndarray

    def split(self, attribute: str, share: float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Split the rows with a label into those of the first sentences and of the last `share` of them.

        Raises
        ------
        ValueError
            If either side has fewer than 20 rows.
        """
        numbers = np.unique(self.sentences)
        held_out = np.isin(self.sentences, numbers[len(numbers) - round(share * len(numbers)) :])
        labelled = np.isfinite(self.labels[attribute])
        sides = np.flatnonzero(labelled & ~held_out), np.flatnonzero(labelled & held_out)
        if min(map(len, sides)) < _FEWEST:
            raise ValueError(
                f"{attribute!r} has {len(sides[0])} labelled tokens to learn from and {len(sides[1])} to test on, and "
                f"{_FEWEST} are needed on either side; give more sentences."
            )
        return sides


@dataclass(frozen=True)
class LinearProbe:
    """An attribute as a linear function of a layer's vectors.

    Attributes
    ----------
    layer, attribute : str
    weights : ndarray
        (d,).
    intercept : float
    r2 : float
        On held-out sentences; 1 is perfect, 0 no better than their mean.
    baseline_r2 : float
        Of predicting each token's training mean of its symbol: what identity alone tells.
    n_train, n_test : int
    """

    layer: str
    attribute: str
    weights: np.ndarray
    intercept: float
    r2: float
    baseline_r2: float
    n_train: int
    n_test: int

    def __call__(self, vectors: Any) -> Any:
        """Read the attribute from vectors: (n, d) -> (n,); numpy in, numpy out, torch in, torch out."""
        weights = self.weights if isinstance(vectors, np.ndarray) else vectors.new_tensor(self.weights)
        return vectors @ weights + self.intercept

    def to_dict(self) -> dict[str, Any]:
        """Its figures, without the weights."""
        return {name: value for name, value in asdict(self).items() if name not in ("weights", "intercept")}


@dataclass(frozen=True)
class NeuronCurve:
    """How few neurons are enough.

    Attributes
    ----------
    layer, attribute : str
    order : ndarray
        (d,) neurons, the most telling first: by |weight| times standard deviation.
    counts : tuple of int
    top_r2, bottom_r2 : tuple of float
        Held-out R2 of a probe that sees that many neurons from the front of the order, and from its end.
    """

    layer: str
    attribute: str
    order: np.ndarray
    counts: tuple[int, ...]
    top_r2: tuple[float, ...]
    bottom_r2: tuple[float, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers."""
        return asdict(self) | {"order": self.order.tolist()}


def token_table(
    sentences: Sequence[Tokens],
    vectors: Sequence[Mapping[str, np.ndarray]],
    labels: Sequence[Mapping[str, np.ndarray]],
    *,
    after: int = 0,
) -> TokenTable:
    """Put all tokens that have a duration into one table.

    Parameters
    ----------
    vectors, labels
        Of each sentence: layer -> (n, d), as `Voice.encode` gives them, and attribute -> (n,), as `token_labels` does.
    after
        1 for the vectors of the tokens after the labelled ones: their blanks, in voices that have them.
    """
    rows = [np.flatnonzero(np.isfinite(given["duration"])) for given in labels]
    together = list(zip(rows, vectors, labels, strict=True))
    return TokenTable(
        vectors={layer: np.concatenate([v[layer][r + after] for r, v, _ in together]) for layer in vectors[0]},
        labels={name: np.concatenate([given[name][r] for r, _, given in together]) for name in labels[0]},
        symbols=np.concatenate([np.array(t.symbols)[r] for t, r in zip(sentences, rows, strict=True)]),
        sentences=np.repeat(np.arange(len(rows)), [len(r) for r in rows]),
    )


def fit_linear_probe(table: TokenTable, layer: str, attribute: str, *, held_out: float = 0.25) -> LinearProbe:
    """Fit ridge regression to the first sentences and test it on the last share `held_out` of them.

    Raises
    ------
    ValueError
        If either side has fewer than 20 labelled tokens.
    """
    from sklearn.linear_model import Ridge
    from sklearn.metrics import r2_score

    train, test = table.split(attribute, held_out)
    x, y = table.vectors[layer], table.labels[attribute]
    ridge = Ridge(PENALTY).fit(x[train], y[train])
    means = _symbol_means(table.symbols[train], y[train])
    guesses = np.array([means.get(symbol, y[train].mean()) for symbol in table.symbols[test]])
    return LinearProbe(
        layer=layer,
        attribute=attribute,
        weights=np.asarray(ridge.coef_, dtype=np.float64),
        intercept=float(ridge.intercept_),
        r2=float(ridge.score(x[test], y[test])),
        baseline_r2=float(r2_score(y[test], guesses)),
        n_train=len(train),
        n_test=len(test),
    )


def fit_bin_probe(
    table: TokenTable, layer: str, attribute: str, *, n_bins: int = 4, held_out: float = 0.25
) -> tuple[Any, dict[str, float]]:
    """Fit logistic regression of which quantile of the training labels a token falls into.

    Returns
    -------
    model
        A scikit-learn pipeline; ``model.predict_proba(vectors)`` is (n, n_bins), low to high.
    figures : dict
        "accuracy" on held-out sentences, and "baseline": that of each symbol's most frequent bin in training.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    train, test = table.split(attribute, held_out)
    x, y = table.vectors[layer], table.labels[attribute]
    bins = np.searchsorted(np.quantile(y[train], np.linspace(0, 1, n_bins + 1)[1:-1]), y)
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=500)).fit(x[train], bins[train])
    usual = np.bincount(bins[train]).argmax()
    most = {s: np.bincount(bins[train][table.symbols[train] == s]).argmax() for s in set(table.symbols[train])}
    guesses = np.array([most.get(symbol, usual) for symbol in table.symbols[test]])
    accuracy = float(model.score(x[test], bins[test]))
    return model, {"accuracy": accuracy, "baseline": float((guesses == bins[test]).mean())}


def neuron_curve(
    table: TokenTable, layer: str, attribute: str, counts: Sequence[int] = (1, 2, 5, 10, 20, 50, 100)
) -> NeuronCurve:
    """Rank neurons by a probe of all, then probe with only the first and only the last few."""
    probe = fit_linear_probe(table, layer, attribute)
    vectors = table.vectors[layer]
    order = np.argsort(-np.abs(probe.weights) * vectors.std(axis=0))
    counts = tuple(count for count in counts if count <= len(order))

    def r2(neurons: np.ndarray) -> float:
        part = TokenTable({layer: vectors[:, neurons]}, table.labels, table.symbols, table.sentences)
        return fit_linear_probe(part, layer, attribute).r2

    top = tuple(r2(order[:count]) for count in counts)
    bottom = tuple(r2(order[len(order) - count :]) for count in counts)
    return NeuronCurve(layer, attribute, order, counts, top, bottom)


def _symbol_means(symbols: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    return {symbol: float(labels[symbols == symbol].mean()) for symbol in set(symbols)}
