"""The moves of encoder vectors by which a voice gets higher, louder or darker, learnt from a voice's own sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genmend.storage.container import load, save
from genmend.tts.prosody.probes import LinearProbe, fit_linear_probe, token_table
from genmend.tts.prosody.token_labels import ATTRIBUTES, frame_measures, token_labels
from genmend.tts.text.tokens import Tokens
from genmend.tts.voices.voice import Voice

__all__ = [
    "ProbeMoves",
    "fit_moves",
    "label_sentences",
    "move_along_covariance",
    "move_along_weights",
    "random_direction",
    "shrink_covariance",
]

_KIND = "genmend.probe_moves"


@dataclass(frozen=True)
class ProbeMoves:
    """For each attribute, the likeliest move of a layer's vectors by which a probe reads 1 more of it.

    Units are those of `token_labels`: log seconds, log Hz, dB.

    Attributes
    ----------
    layer : str
    symbols : dict
        attribute -> (d,), for the tokens that are spoken.
    blanks : dict
        The same for the blanks after them, by probes of their own; empty for voices without. Half of a sound's time
        passes on its blank: on en_US-joe-medium, 2 semitones asked for give 1.5 with blanks moved, and 1.0 without
        (docs/results/voices-edits.md).
    """

    layer: str
    symbols: Mapping[str, np.ndarray]
    blanks: Mapping[str, np.ndarray]

    def move(
        self, tokens: Tokens, vectors: np.ndarray, where: np.ndarray, attribute: str, change: float
    ) -> NDArray[np.float32]:
        """Move the vectors (n, d) of the chosen tokens (n,) for `change` more of the attribute.

        Raises
        ------
        LookupError
            For an attribute that was not learnt.
        """
        if attribute not in self.symbols:
            raise LookupError(f"There is no move for {attribute!r}; there are {', '.join(self.symbols)}.")
        kinds = np.array(tokens.kinds)
        moved = np.array(vectors, dtype=np.float32)
        moved[where & tokens.spoken] += np.float32(change) * self.symbols[attribute].astype(np.float32)
        if self.blanks:
            moved[where & (kinds == "blank")] += np.float32(change) * self.blanks[attribute].astype(np.float32)
        return moved

    def save(self, path: str | Path) -> None:
        """Write a safetensors file, whole or not at all."""
        named = {f"symbols.{name}": move for name, move in self.symbols.items()}
        named |= {f"blanks.{name}": move for name, move in self.blanks.items()}
        single = {name: np.asarray(move, dtype=np.float32) for name, move in named.items()}
        save(path, _KIND, single, {"layer": self.layer})

    @classmethod
    def load(cls, path: str | Path) -> ProbeMoves:
        """Read what `save` wrote.

        Raises
        ------
        ValueError
            If the file is something else.
        FileNotFoundError
            If there is none.
        """
        moves, facts = load(path, _KIND, command="speak --edit")
        kinds = {
            kind: {name.partition(".")[2]: move for name, move in moves.items() if name.startswith(f"{kind}.")}
            for kind in ("symbols", "blanks")
        }
        return cls(str(facts["layer"]), kinds["symbols"], kinds["blanks"])


def label_sentences(
    voice: Voice, sentences: Sequence[Tokens], *, lowest: float = 60.0, highest: float = 400.0
) -> list[dict[str, NDArray[np.float64]]]:
    """Have the voice say each sentence, and label its tokens as `token_labels` does.

    Parameters
    ----------
    lowest, highest
        In Hz: where the pitch is sought.
    """
    spoken = [voice.speak(tokens) for tokens in sentences]
    return [
        token_labels(tokens, speech, frame_measures(speech, lowest=lowest, highest=highest))
        for tokens, speech in zip(sentences, spoken, strict=True)
    ]


def fit_moves(
    sentences: Sequence[Tokens],
    vectors: Sequence[Mapping[str, np.ndarray]],
    labels: Sequence[Mapping[str, np.ndarray]],
    layer: str,
    attributes: Sequence[str] = ATTRIBUTES,
) -> tuple[ProbeMoves, list[LinearProbe]]:
    """Fit probes of a layer, and from them the moves along its covariance.

    Parameters
    ----------
    sentences, vectors, labels
        What was said, what `Voice.encode` gives of it, and what `label_sentences` does; some 50 sentences are enough.
    layer
        The last one: from layers before, an attribute can be read, but hardly changed.

    Returns
    -------
    moves : ProbeMoves
    probes : list of LinearProbe
        Of the spoken tokens.

    Raises
    ------
    ValueError
        If there are too few labelled tokens (see `fit_linear_probe`).
    """
    blank = any(kind == "blank" for kind in sentences[0].kinds)
    sides = []
    for after in (0, 1) if blank else (0,):
        table = token_table(sentences, [{layer: given[layer]} for given in vectors], labels, after=after)
        probes = [fit_linear_probe(table, layer, attribute) for attribute in attributes]
        covariance = shrink_covariance(table.vectors[layer])
        sides.append((probes, {probe.attribute: move_along_covariance(probe, covariance) for probe in probes}))
    return ProbeMoves(layer, sides[0][1], sides[1][1] if blank else {}), sides[0][0]


def move_along_weights(probe: LinearProbe) -> NDArray[np.float64]:
    """Find the shortest move (d,) by which the probe reads 1 more: ``w / (w.w)``."""
    length = probe.weights @ probe.weights
    if not length > 0:
        raise ValueError(f"The probe of {probe.attribute!r} has no weights but 0; no move changes what it reads.")
    return np.asarray(probe.weights / length)


def move_along_covariance(probe: LinearProbe, covariance: np.ndarray) -> NDArray[np.float64]:
    """Find the likeliest move (d,) by which the probe reads 1 more: ``S w / (w.S w)``, of least Mahalanobis length.

    Parameters
    ----------
    covariance
        (d, d) of ordinary vectors, as `shrink_covariance` gives it.

    Raises
    ------
    ValueError
        If the probe has no weights but 0, or the covariance another shape or no variance along them.
    """
    d = len(probe.weights)
    if covariance.shape != (d, d):
        raise ValueError(
            f"The covariance has shape {covariance.shape}, but the probe {d} weights; give one ({d}, {d})."
        )
    move = covariance @ probe.weights
    variance = probe.weights @ move
    if not variance > 0:
        raise ValueError(f"The vectors do not vary along the probe of {probe.attribute!r}; give more of them.")
    return np.asarray(move / variance)


def shrink_covariance(vectors: np.ndarray) -> NDArray[np.float64]:
    """Estimate the covariance (d, d) of vectors (n, d), shrunk towards a multiple of the identity.

    Source: Ledoit and Wolf (2004).
    """
    from sklearn.covariance import ledoit_wolf

    covariance, _ = ledoit_wolf(vectors)
    return np.asarray(covariance, dtype=np.float64)


def random_direction(like: np.ndarray, seed: int) -> NDArray[np.float64]:
    """Draw a direction as long as `like`, uniformly: what any move of that length does."""
    generator: Any = np.random.default_rng(seed)
    direction = generator.standard_normal(like.shape)
    return np.asarray(direction * (np.linalg.norm(like) / np.linalg.norm(direction)))
