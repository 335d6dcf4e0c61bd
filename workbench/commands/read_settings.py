"""How ``genmend score`` and ``features`` read a set, apart from them: options are read without loading torch."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["FeaturesSettings", "ReadSettings"]


@dataclass(frozen=True)
class ReadSettings:
    """What features are taken with; `features` empty: the usual extractor of the kind of data."""

    features: str = field(
        default="",
        metadata={
            "help": "E.g. clip-vit-b16, timm:MODEL@WEIGHTS, module:callable; if empty the usual of the kind.",
            "option": "--extractor",
        },
    )
    on_error: str = field(default="raise", metadata={"help": "A file that cannot be read: raise, skip or report."})
    limit: int | None = field(
        default=None, metadata={"help": "Use only this many samples of each set, drawn with --seed.", "min": 1}
    )
    seed: int = field(default=0, metadata={"help": "Of the samples and the subsamples drawn.", "min": 0})
    device: str = field(default="cpu", metadata={"help": "cpu, cuda, cuda:1, mps."})
    batch_size: int = field(default=16, metadata={"help": "Samples a forward pass.", "min": 1})


@dataclass(frozen=True)
class FeaturesSettings(ReadSettings):
    """Those of ``genmend features``."""

    most_k: int = field(
        default=10, metadata={"help": "Radii are kept for every k up to this one.", "option": "--k", "min": 1}
    )
