"""What the commands of this room let a user choose."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["ExplainSettings"]


@dataclass(frozen=True)
class ExplainSettings:
    """How `genmend.concepts.explain` explains; see there."""

    methods: str = field(
        default="",
        metadata={
            "help": "Methods, comma-separated, e.g. distilled-gradient,grad-cam; all that serve the model if empty."
        },
    )
    n_images: int = field(default=8, metadata={"help": "Of the source, the first.", "min": 1})
    most_passes: int = field(
        default=100, metadata={"help": "Leave out methods that run the model more often for an image.", "min": 1}
    )
    seed: int = field(default=0, metadata={"help": "Of everything random.", "min": 0})
    batch_size: int = field(default=8, metadata={"help": "Images that a method explains together.", "min": 1})

    @property
    def chosen_methods(self) -> list[str] | None:
        """Their names; None: all that serve the model."""
        return [name.strip() for name in self.methods.split(",")] if self.methods else None
