"""What the commands of this room let a user choose."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

__all__ = ["ExplainSettings"]


@dataclass(frozen=True)
class ExplainSettings:
    """How `genmend.concepts.explain` explains; see there."""

    methods: str = field(
        default="",
        metadata={
            "help": "Methods, comma-separated, e.g. distilled-gradient,grad-cam, or all; the quicker ones if empty."
        },
    )
    n_images: int = field(default=4, metadata={"help": "Of the source, the first.", "min": 1})
    thorough: bool = field(
        default=False, metadata={"help": "Measure stability and muFidelity as often as published: some times as long."}
    )
    seed: int = field(default=0, metadata={"help": "Of everything random.", "min": 0})
    batch_size: int = field(default=8, metadata={"help": "Images that a method explains together.", "min": 1})

    @property
    def chosen_methods(self) -> list[str] | Literal["all"] | None:
        """Their names, or 'all'; None: those that take little time."""
        if self.methods.strip() == "all":
            return "all"
        return [name.strip() for name in self.methods.split(",")] if self.methods else None
