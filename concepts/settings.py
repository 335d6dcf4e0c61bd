"""What the commands of this room let a user choose."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

__all__ = ["CircuitSettings", "ExplainSettings", "RegionsSettings"]

# A block of a transformer has thousands of units; to test all of them exactly takes minutes an image.
WIDE, SCREEN_OF_WIDE = 1_500, 0.02


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
    tune: int = field(
        default=0,
        metadata={
            "help": "Settings to try for each method: half of the images choose, the others judge; 0: the defaults.",
            "min": 0,
        },
    )
    seed: int = field(default=0, metadata={"help": "Of everything random.", "min": 0})
    batch_size: int = field(default=8, metadata={"help": "Images that a method explains together.", "min": 1})

    @property
    def chosen_methods(self) -> list[str] | Literal["all"] | None:
        """Their names, or 'all'; None: those that take little time."""
        if self.methods.strip() == "all":
            return "all"
        return [name.strip() for name in self.methods.split(",")] if self.methods else None


@dataclass(frozen=True)
class RegionsSettings:
    """How `genmend regions` finds regions; see `genmend.concepts.regions`.

    `n_neurons` and `at_least` are of the rule of a query; a kind of flagged samples has a smaller rule of its own.
    """

    layer: str = field(
        default="",
        metadata={"help": "A layer; a classifier's last nonlinearity, an early one of a generator if empty."},
    )
    k: int = field(default=8, metadata={"help": "Nearest samples that a rule is made of.", "min": 1})
    n_neurons: int = field(default=60, metadata={"help": "Neurons of a query's rule, at most.", "min": 1})
    at_least: float = field(
        default=0.8,
        metadata={"help": "Share of them that a member fulfils; 1: all, as published.", "min": 0.0, "max": 1.0},
    )
    threshold: Literal["learned", "median", "zero", "auto"] = field(
        default="learned",
        metadata={
            "help": "When a neuron is on: above learned, median, zero, or auto (zero at a ReLU, else learned).",
            "option": "--on-above",
        },
    )
    pooled: bool | None = field(
        default=None,
        metadata={
            "help": "A neuron is a channel wherever it is excited, or one at one place; by default a channel for "
            "images, a place for generators."
        },
    )
    n_kinds: int = field(default=4, metadata={"help": "Kinds of flagged samples, at most.", "min": 1})
    slice_points: int = field(
        default=25,
        metadata={
            "help": "Points on the longer side of the picture of regions in a plane through three samples; 0: none.",
            "min": 0,
        },
    )
    seed: int = field(default=0, metadata={"help": "Of the half of the samples that regions are judged on.", "min": 0})
    batch_size: int = field(default=16, metadata={"help": "Samples run together.", "min": 1})

    def __post_init__(self) -> None:
        if not 0 < self.at_least <= 1:
            raise ValueError(f"at_least is {self.at_least}; give a share above 0 and at most 1, e.g. 0.8.")
        if self.slice_points < 0 or self.slice_points == 1:
            raise ValueError(f"slice_points is {self.slice_points}; give at least 2, or 0 for no picture.")
        if self.threshold not in ("learned", "median", "zero", "auto"):
            raise ValueError(f"threshold is {self.threshold!r}; accepted are 'learned', 'median', 'zero' and 'auto'.")


@dataclass(frozen=True)
class CircuitSettings:
    """How `genmend.concepts.circuits_of_images` finds circuits; see `genmend.concepts.find_circuits`."""

    layers: str = field(
        default="",
        metadata={
            "help": "Blocks whose units are asked, comma-separated, in order of execution; the longest chain of blocks "
            "that feed one another if empty."
        },
    )
    n_images: int = field(default=4, metadata={"help": "Of the source, the first.", "min": 1})
    n_reference: int = field(
        default=5000, metadata={"help": "Reference images, drawn at random where there are more; 0: all.", "min": 0}
    )
    patch: Literal["zero", "mean"] = field(
        default="zero", metadata={"help": "What stands in place of a unit: zero, or mean, its mean over the reference."}
    )
    chosen: Literal["random", "peaks"] = field(
        default="random",
        metadata={
            "help": "Which effects count: random, those beyond random units'; peaks, the published threshold, which "
            "keeps a twentieth whatever happens."
        },
    )
    screen: float | None = field(
        default=None,
        metadata={
            "help": "Share of each block's units that circuits may hold: those that a gradient of the class's score "
            f"points at; by default 1, all, and {SCREEN_OF_WIDE:g} where a block has more than {WIDE:,} units.",
            "min": 0.0,
            "max": 1.0,
        },
    )
    n_draws: int = field(default=20, metadata={"help": "Of units of each control.", "min": 2})
    seed: int = field(default=0, metadata={"help": "Of everything random.", "min": 0})
    batch_size: int = field(default=32, metadata={"help": "Images that run together.", "min": 1})

    def __post_init__(self) -> None:
        if self.patch not in ("zero", "mean"):
            raise ValueError(f"patch is {self.patch!r}; accepted are 'zero' and 'mean'.")
        if self.chosen not in ("random", "peaks"):
            raise ValueError(f"chosen is {self.chosen!r}; accepted are 'random' and 'peaks'.")
        if self.screen is not None and not 0 < self.screen <= 1:
            raise ValueError(f"screen is {self.screen}; give a share above 0 and at most 1, e.g. 0.05.")

    @property
    def chosen_layers(self) -> list[str]:
        """Their names; empty: the longest chain."""
        return [name.strip() for name in self.layers.split(",") if name.strip()]

    def share_of(self, most_units: int) -> float:
        """Share of units that circuits may hold in a network whose widest block has so many."""
        if self.screen is not None:
            return self.screen
        return SCREEN_OF_WIDE if most_units > WIDE else 1.0
