"""Settings of a preview, apart from it: the command line reads its options here without loading torch."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["PreviewSettings"]


@dataclass(frozen=True)
class PreviewSettings:
    """How a correction is tried.

    Attributes
    ----------
    n : int
        Samples.
    n_shown : int
        Of these, in pictures: those of the highest gate score.
    seed : int
        Of the samples, and of the control's random places.
    allow_other_weights : bool
        Try it on other weights than those it was made for.
    """

    n: int = field(default=64, metadata={"help": "Samples to try it on.", "min": 2})
    n_shown: int = field(default=8, metadata={"help": "Of these, in pictures.", "min": 1})
    seed: int = field(default=0, metadata={"help": "Of the samples, and of the control's random places.", "min": 0})
    allow_other_weights: bool = field(
        default=False,
        metadata={
            "help": "Try it on other weights than those it was made for.",
            "option": "--allow-other-weights",
        },
    )

    def __post_init__(self) -> None:
        for name, least in (("n", 2), ("n_shown", 1), ("seed", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} is {getattr(self, name)}; give a whole number of at least {least}.")
