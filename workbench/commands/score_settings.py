"""Settings of ``genmend score``, apart from it: its options are read here without loading torch."""

from __future__ import annotations

from dataclasses import dataclass, field

from genmend.workbench.commands.read_settings import ReadSettings

__all__ = ["ScoreSettings"]


@dataclass(frozen=True)
class ScoreSettings(ReadSettings):
    """What a score is computed with; `metrics` None: all."""

    k: tuple[int, ...] = field(default=(3, 5), metadata={"help": "Numbers of neighbours, comma-separated."})
    metrics: tuple[str, ...] | None = field(
        default=None,
        metadata={
            "help": "Comma-separated, e.g. precision,kid; if empty all but frechet (needs another package), "
            "cmmd (for clip-vit-b16) and p_precision, p_recall (published for k = 4, and slow in many dimensions)."
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
    by_class: bool = field(
        default=False,
        metadata={
            "help": "Each class apart, too: by labels that come along, else by the first folder in a sample's name.",
            "option": ("--by-class", "--by-folder"),
        },
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
    ray: str = field(
        default="",
        metadata={
            "help": "Measure distances on a Ray cluster: auto for that of this machine, or HOST:PORT of its head."
        },
    )
    ray_send: bool = field(
        default=False,
        metadata={
            "help": "Send shards to the workers, for machines that do not see them at the same path.",
            "option": "--ray-send",
        },
    )
