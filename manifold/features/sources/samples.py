"""Samples of one kind, numbered, each of which can be loaded by its number."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["NO_LABEL", "Samples", "label_text"]

NO_LABEL = "(no label)"
_LONGEST_LABEL = 200


@dataclass(frozen=True)
class Samples:
    """Samples of one kind. `digest(i)` names the content of one; `load(i)` gives its digest and the sample itself.

    An image is a tensor (3, h, w) in [0, 1], a recording a pair: mono wave (samples,) and sample rate.

    Attributes
    ----------
    paths : list of Path or None
        The file of each, where every sample is a file.
    labels : mapping of int to str
        The class of a sample where the source says it; a data set says it when the sample is loaded.
    where : callable or None
        Where a sample is, for a message, of those that are neither files nor in memory.
    threads : bool
        Whether several threads may load at once.
    """

    kind: str
    names: list[str]
    digest: Callable[[int], bytes]
    load: Callable[[int], tuple[bytes, Any]]
    description: str
    paths: list[Path] | None = None
    labels: Mapping[int, str] | None = None
    where: Callable[[int], str] | None = None
    threads: bool = False

    def place(self, index: int) -> str:
        """Where one sample is, for a message: its path, or its name where it is in memory."""
        if self.where is not None:
            return self.where(index)
        return self.names[index] if self.paths is None else str(self.paths[index])

    def labels_of(self, indices: list[int]) -> list[str] | None:
        """The class of each of these samples; None where the source says none of any."""
        labels = self.labels or {}
        found = [labels.get(index, NO_LABEL) for index in indices]
        return found if set(found) - {NO_LABEL} else None


def label_text(value: Any) -> str | None:
    """A label as text: that of a number, a text, bytes, or an array of one of these; None for anything else."""
    if hasattr(value, "item") and getattr(value, "size", 1) != 0:
        try:
            value = value.item()
        except (ValueError, RuntimeError):  # several values
            return None
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if isinstance(value, (bool, np.bool_)):
        return str(bool(value))
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, (str, int)):
        return str(value).strip()[:_LONGEST_LABEL] or None
    return None
