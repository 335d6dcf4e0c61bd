"""Say a word as somebody said it: its vectors moved until a classifier hears the tokens of a spoken query in them.

Lee et al., Interspeech 2025 (arXiv 2506.00832), pronunciation edits. Their tokens are clusters of HuBERT's layer 6;
here whatever gives tokens of audio is passed in. Our reading: the alignment and the order of its steps.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["PronunciationEdit", "fit_token_classifier", "monotonic_alignment", "pronounce_as"]

_SILENT = 1e-4


@dataclass(frozen=True)
class PronunciationEdit:
    """A word's vectors after a spoken query.

    Attributes
    ----------
    vectors : ndarray
        (m, d) float32.
    query : tuple of int
        Tokens of the query, repeats collapsed.
    assigned : ndarray
        (m,) the query's token that each of the word's positions was aligned with.
    before, after : float
        Mean natural logarithm of the classifier's probability of those tokens; higher is better.
    """

    vectors: NDArray[np.float32]
    query: tuple[int, ...]
    assigned: NDArray[np.int64]
    before: float
    after: float


def monotonic_alignment(costs: np.ndarray) -> NDArray[np.int64]:
    """(m, q) cost of each position for each token of a query -> (m,) the token of each, never going back, least in sum.

    The first position takes the first token and the last the last, where m >= q each token is taken at least once;
    where there are fewer positions than tokens, some are passed over.

    Raises
    ------
    ValueError
        If the costs are no finite matrix with at least one row and column.
    """
    costs = np.asarray(costs, dtype=np.float64)
    if costs.ndim != 2 or 0 in costs.shape or not np.isfinite(costs).all():
        raise ValueError(f"The costs have shape {costs.shape}; give finite numbers, positions by tokens of the query.")
    m, q = costs.shape
    furthest = 1 if m >= q else q  # how many tokens on the next position may be
    total = np.full((m, q), np.inf)
    total[0, 0] = costs[0, 0]
    came_from = np.zeros((m, q), dtype=np.int64)
    for i in range(1, m):
        for j in range(q):
            first = max(0, j - furthest)
            came_from[i, j] = first + int(total[i - 1, first : j + 1].argmin())
            total[i, j] = total[i - 1, came_from[i, j]] + costs[i, j]
    path = [q - 1 if m > 1 else int(costs[0].argmin())]
    for i in range(m - 1, 0, -1):
        path.append(int(came_from[i, path[-1]]))
    return np.array(path[::-1], dtype=np.int64)


def fit_token_classifier(vectors: np.ndarray, tokens: np.ndarray) -> Callable[[Tensor], Tensor]:
    """A differentiable classifier, (m, d) -> (m, n_tokens) log probabilities, from vectors (n, d) and tokens (n,).

    The token of a vector is the one most frequent in the frames that its position lasts; tokens are 0 .. n_tokens - 1,
    and those never seen get a log probability of about -20.

    Raises
    ------
    ValueError
        If there are fewer than two tokens to tell apart.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    seen = np.unique(tokens)
    if len(seen) < 2:
        raise ValueError(f"The vectors have {len(seen)} kinds of tokens, and at least 2 are needed; give more speech.")
    scaler = StandardScaler().fit(vectors)
    # Two columns at least, also for two tokens, where scikit-learn keeps but one.
    found = LogisticRegression(C=0.1, max_iter=500).fit(scaler.transform(vectors), tokens)
    coefficients = found.coef_ if len(seen) > 2 else np.concatenate([-found.coef_, found.coef_]) / 2
    intercepts = found.intercept_ if len(seen) > 2 else np.concatenate([-found.intercept_, found.intercept_]) / 2
    weights = torch.from_numpy((coefficients / scaler.scale_).T.astype(np.float32))
    bias = torch.from_numpy((intercepts - (coefficients / scaler.scale_) @ scaler.mean_).astype(np.float32))
    columns = torch.from_numpy(seen.astype(np.int64))

    def classify(given: Tensor) -> Tensor:
        logits = given.new_full((len(given), int(seen.max()) + 1), -20.0)
        return logits.index_copy(1, columns, torch.log_softmax(given @ weights + bias, dim=1))

    return classify


def pronounce_as(
    query: np.ndarray,
    extract: Callable[[np.ndarray], Sequence[int]],
    classify: Callable[[Tensor], Tensor],
    vectors: np.ndarray,
    *,
    penalty: Callable[[Tensor], Tensor] | None = None,
    rate: float = 0.05,
    n_steps: int = 100,
) -> PronunciationEdit:
    """The vectors of a word's positions, moved until the classifier hears the query's tokens in them.

    Parameters
    ----------
    query
        (samples,) the word as it should be said, at the rate that `extract` takes.
    extract
        Audio -> a token for each of its frames.
    classify
        Differentiable; (m, d) -> (m, n_tokens) log probabilities, as `fit_token_classifier` gives it.
    vectors
        (m, d) of the word's positions.
    penalty
        (m, d) -> a number to keep small, e.g. `Codebook.penalty`.

    Raises
    ------
    ValueError
        If the query is silent, or no token comes out of it, or one that the classifier does not know.
    """
    if not np.isfinite(query).all() or np.abs(query).max(initial=0.0) < _SILENT:
        raise ValueError("The spoken query is silent or not finite; record the word again, closer to the microphone.")
    tokens = tuple(int(token) for token, _ in groupby(extract(query)))
    original = torch.from_numpy(np.array(vectors, dtype=np.float32))
    with torch.no_grad():
        scores = classify(original)
    if not tokens or not 0 <= min(tokens) <= max(tokens) < scores.shape[1]:
        raise ValueError(
            f"The extractor gave {len(tokens)} tokens, {list(tokens)[:5]} ...; the classifier knows 0 to "
            f"{scores.shape[1] - 1}; give the extractor that it was trained with."
        )
    assigned = np.array(tokens)[monotonic_alignment(-scores[:, list(tokens)].numpy())]
    target = torch.from_numpy(assigned.astype(np.int64))
    edited = original.clone().requires_grad_()
    optimiser = torch.optim.Adam([edited], lr=rate)

    def heard(given: Tensor) -> Tensor:
        return classify(given).gather(1, target[:, None]).mean()

    for _ in range(n_steps):
        loss: Any = -heard(edited) + (penalty(edited) if penalty is not None else 0)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    new = edited.detach()
    return PronunciationEdit(new.numpy(), tokens, assigned, float(heard(original)), float(heard(new)))
