"""A gate alone as a file: which samples look broken, by an extractor's features, without the detector that learnt it.

That of the face generator is part of genmend (``python -m experiments.faces.reference.labels`` makes it), so that a
page scores faces at once; a detector of another generator is fitted in minutes (`genmend.gans.detect`).
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from genmend.activations import Gate
from genmend.gans.generator import Generator, generator_facts
from genmend.storage.container import finite_number, load, save

__all__ = ["GateFileError", "known_gate", "load_gate", "save_gate"]

_KIND = "genmend.gate"
_REFERENCE = Path(__file__).parents[1] / "reference"


class GateFileError(ValueError):
    """The file is no gate that can be read; the message has its path and what is wrong."""


def known_gate(generator: Generator) -> Gate | None:
    """The gate that comes with genmend, where there is one of exactly this generator."""
    path = _REFERENCE / f"{generator.name}.gate.safetensors"
    if not path.is_file():
        return None
    gate, facts = load_gate(path)
    return gate if facts == json.loads(json.dumps(generator_facts(generator))) else None


def save_gate(path: str | os.PathLike[str], gate: Gate, facts: Mapping[str, Any], origin: Mapping[str, Any]) -> None:
    """Write a gate, with what the samples that it knows depend on (`generator_facts`) and how it was made."""
    told = {"extractor": gate.extractor, "bias": gate.bias, "threshold": gate.threshold}
    save(path, _KIND, {"weights": gate.weights.float()}, told | {"facts": dict(facts), "origin": dict(origin)})


def load_gate(path: str | os.PathLike[str]) -> tuple[Gate, dict[str, Any]]:
    """Read what `save_gate` wrote: the gate, and the facts of its generator.

    Raises
    ------
    GateFileError
        If the file is damaged, or of another kind or version.
    """
    return load(path, _KIND, _gate, framework="torch", error=GateFileError)


def _gate(arrays: Mapping[str, Any], facts: Mapping[str, Any]) -> tuple[Gate, dict[str, Any]]:
    bias, threshold = (finite_number(facts[name], name) for name in ("bias", "threshold"))
    return Gate(str(facts["extractor"]), arrays["weights"], bias, threshold), dict(facts["facts"])
