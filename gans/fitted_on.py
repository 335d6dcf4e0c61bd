"""Which generator something was fitted on: its name and the digests of its weights, and whether another is the same."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from genmend.activations.digests import AS_STORED, weights_digest, weights_digests
from genmend.gans.generator import Generator

__all__ = ["FittedOn"]

_SHOWN = 12  # of 64 hexadecimal digits
_LONGEST_NAME = 300  # characters, of a name that a file says


@dataclass(frozen=True)
class FittedOn:
    """A generator that something was fitted on: its name, for people, and the digest of its weights by dtype."""

    name: str
    weights: Mapping[str, str]

    @classmethod
    def of(cls, generator: Generator) -> Self:
        """Read all weights."""
        return cls(generator.name, weights_digests(generator.module))

    @classmethod
    def from_dict(cls, facts: Any) -> Self:
        """Read what `to_dict` returned.

        Raises
        ------
        ValueError
            If it is none.
        """
        name, weights = (facts.get("name"), facts.get("weights")) if isinstance(facts, Mapping) else (None, None)
        if not isinstance(name, str) or not isinstance(weights, Mapping) or AS_STORED not in weights:
            raise ValueError("it does not say on which generator it was fitted as genmend does")
        if not all(isinstance(text, str) for text in (*weights, *weights.values())):
            raise ValueError("the digests of its generator are no hexadecimal strings")
        return cls(name[:_LONGEST_NAME], dict(weights))

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON holds it."""
        return {"name": self.name, "weights": dict(self.weights)}

    def check(self, generator: Generator) -> None:
        """Raise ValueError, which names both, of other weights than these; in another dtype they may be."""
        digest = weights_digest(generator.module)
        if digest not in self.weights.values():
            raise ValueError(
                f"The detector was fitted on {self.name} (weights {self.weights[AS_STORED][:_SHOWN]}), not on "
                f"{generator.name} (weights {digest[:_SHOWN]}): fit one on it, or train one on good and bad images, "
                "which suits any generator."
            )
