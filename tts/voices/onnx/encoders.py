"""The part of a voice's graph that encodes text, no deeper than asked: a twentieth of the work of speaking."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from genmend.tts.voices.onnx.graph import open_graph, upstream_part

__all__ = ["Encoders"]


class Encoders:
    """Sessions of a graph up to each of its layers, opened when they are first asked for.

    Parameters
    ----------
    model
        The graph.
    tensors
        Layer -> tensor, shallow to deep.
    path
        Of the voice, for messages.
    """

    def __init__(self, model: Any, tensors: Mapping[str, str], path: Path) -> None:
        self._model, self._tensors, self._path = model, dict(tensors), path
        self._opened: dict[str, Any] = {}

    def up_to(self, layers: Sequence[str]) -> Any:
        """The session that gives these layers and computes nothing deeper."""
        names = list(self._tensors)
        deepest = max(layers, key=names.index)
        if deepest not in self._opened:
            tensors = [self._tensors[layer] for layer in names[: names.index(deepest) + 1]]
            self._opened[deepest] = open_graph(upstream_part(self._model, tensors), self._path)
        return self._opened[deepest]
