"""Settings of ``genmend score``, apart from it: its options are read here without loading torch."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["ScoreSettings"]


@dataclass(frozen=True)
class ScoreSettings:
    """What a score is computed with; `metrics` None: all. `features` empty: the usual extractor of the kind of data."""

    k: tuple[int, ...] = field(default=(3, 5), metadata={"help": "Numbers of neighbours, comma-separated."})
    metrics: tuple[str, ...] | None = field(
        default=None,
        metadata={
            "help": "Comma-separated, e.g. precision,kid; if empty all but frechet (needs another package), "
            "cmmd (for clip-vit-b16) and p_precision, p_recall (published for k = 4, and slow in many dimensions)."
        },
    )
    features: str = field(
        default="",
        metadata={
            "help": "E.g. clip-vit-b16, timm:MODEL@WEIGHTS, module:callable; if empty the usual of the kind.",
            "option": "--extractor",
        },
    )
    closed: bool = field(
        default=True, metadata={"help": "distance < radius, as the prdc package.", "option": "--open-balls"}
    )
    bootstrap: int | None = field(
        default=None,
        metadata={
            "help": "Halves of the sets behind the 95 % intervals, usually 40, as long as some 12 runs; 0: none, as "
            "for one set if not given; of several 40, which tell ties.",
            "min": 0,
        },
    )
    by_folder: bool = field(
        default=False,
        metadata={"help": "Each class apart, too: the first folder in a sample's name.", "option": "--by-folder"},
    )
    train: str = field(
        default="",
        metadata={
            "help": "What the generator was trained on, as folder or file: finds what the query copies. Give held-out "
            "samples as the reference then."
        },
    )
    gap: bool = field(
        default=False,
        metadata={"help": "With --train: FLD's generalisation gap, too, which takes a while.", "option": "--gap"},
    )
    equal_sizes: bool = field(
        default=False,
        metadata={
            "help": "Of several sets take as many samples, drawn with --seed, as the smallest has.",
            "option": "--equal-sizes",
        },
    )
    on_error: str = field(default="raise", metadata={"help": "A file that cannot be read: raise, skip or report."})
    limit: int | None = field(
        default=None, metadata={"help": "Use only this many samples of each set, drawn with --seed.", "min": 1}
    )
    seed: int = field(default=0, metadata={"help": "Of the samples and the subsamples drawn.", "min": 0})
    device: str = field(default="cpu", metadata={"help": "cpu, cuda, cuda:1, mps."})
    batch_size: int = field(default=16, metadata={"help": "Samples a forward pass.", "min": 1})
