"""What `mend` and `rank_sentences` are told: each setting with the help text of its command-line option."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from genmend.tts.mending.reference import VoiceReference

__all__ = ["JUDGES", "SpeakSettings"]

JUDGES = ("whisper", "hama", "none")


@dataclass(frozen=True)
class SpeakSettings:
    """What to do with a text, and how.

    The metadata of each field holds its ``help``, and ``min`` and ``max`` where its numbers have limits; the command
    line makes its options of them.

    Parameters
    ----------
    phonemes
        IPA of one sentence, in place of what the front end makes of the text.
    mend
        Whether to find what is wrong with each sentence, try the cures that fit, and keep the best reading.
    try_all
        Of `mend`: whether every cure is tried, also where one before it left nothing wrong.
    repair
        Whether to repair what lies outside, in place of the cures of `mend`.
    layer
        The layer that decides and is repaired; "" for the middle one.
    k
        Neighbours that a ball of the normal region reaches to, at least 1.
    psi
        Of the repair, in [0, 1]: 1 changes nothing, 0 moves all the way.
    copies, window
        Of the repair, see `genmend.tts.mending.repair.repair`.
    judge
        One of `JUDGES`: who accepts or refuses a repair.
    corpus
        Sentences of the reference; the voice's own transcripts or genmend's English text if None.
    best_of
        How often each sentence is said, at least 1; the one that the judge hears best is kept.
    reference
        Folder to keep the reference in; the user's cache if None.
    save_repairs
        A file for the accepted repairs that serve other sentences too.
    use_repairs
        Such a file, in place of repairs found anew.
    write_voice
        A new Piper voice with the same repairs in it.
    seed
        Of everything that is random, at least 0.

    Raises
    ------
    ValueError
        If a value is out of its range, or two of them do not go together.
    """

    phonemes: str | None = field(default=None, metadata={"help": "IPA in place of what espeak-ng makes of the text."})
    mend: bool = field(
        default=False,
        metadata={"help": "Try cures on what is wrong, and keep what is heard as best.", "option": "--mend"},
    )
    try_all: bool = field(
        default=False,
        metadata={
            "help": "With --mend: try every cure, also after one that leaves nothing wrong.",
            "option": "--try-all",
        },
    )
    repair: bool = field(default=False, metadata={"help": "Repair the flagged symbols too.", "option": "--repair"})
    layer: str = field(default="", metadata={"help": "Layer that decides and is repaired; the middle one if empty."})
    k: int = field(default=5, metadata={"help": "Neighbours that a ball of the normal region reaches to.", "min": 1})
    psi: float = field(
        default=0.3,
        metadata={
            "help": "Of a repair: 1 changes nothing, 0 moves all the way.",
            "option": "--repair-psi",
            "min": 0,
            "max": 1,
        },
    )
    copies: int = field(default=24, metadata={"help": "Perturbed copies of a sentence behind each move.", "min": 1})
    window: int = field(default=2, metadata={"help": "Sounds on each side that the copies may change.", "min": 1})
    judge: str = field(
        default="whisper",
        metadata={
            "help": "Who accepts or refuses a repair: whisper, hama (phonemes, for names), or none.",
            "choices": JUDGES,
        },
    )
    corpus: Path | None = field(
        default=None, metadata={"help": "Ordinary sentences for the reference: TEXT, or TEXT tab IPA.", "exists": True}
    )
    best_of: int = field(
        default=1, metadata={"help": "Times that each sentence is said; what Whisper hears best is kept.", "min": 1}
    )
    reference: Path | None = field(
        default=None,
        metadata={"help": "Folder of the voice's reference, in place of the cache.", "option": "--reference-folder"},
    )
    save_repairs: Path | None = field(
        default=None, metadata={"help": "Keep the accepted repairs that hold in other sentences in this file."}
    )
    use_repairs: Path | None = field(
        default=None, metadata={"help": "Repair with the kept ones of this file.", "exists": True}
    )
    write_voice: Path | None = field(default=None, metadata={"help": "A new Piper .onnx with those repairs in it."})
    seed: int = field(default=0, metadata={"help": "Of everything that is random.", "min": 0})

    def __post_init__(self) -> None:
        if self.judge not in JUDGES:
            raise ValueError(f"judge is {self.judge!r}; accepted are {', '.join(JUDGES)}.")
        for name in ("k", "copies", "window", "best_of"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; give a whole number from 1.")
        if not 0 <= self.psi <= 1:
            raise ValueError(
                f"psi is {self.psi}, but a number in [0, 1] is needed; 1 changes nothing, 0 moves to the center."
            )
        if self.seed < 0:
            raise ValueError(f"seed is {self.seed}; give a whole number from 0.")
        for name in ("write_voice", "save_repairs"):
            if getattr(self, name) is not None and not self.repair:
                raise ValueError(f"{name} needs repair: there is nothing to write without a repair.")
        if self.use_repairs is not None and self.repair:
            raise ValueError("use_repairs and repair are two ways to repair: give one of them.")
        if self.judge == "hama" and (not self.repairs or self.best_of > 1 or self.save_repairs or self.write_voice):
            raise ValueError(
                "judge hama hears phonemes and decides on repair alone: give repair, without best_of, save_repairs and "
                "write_voice, or take whisper."
            )
        if self.mend and self.repairs:
            raise ValueError("mend and repair are two ways to mend: give one of them; mend tries repairs too.")
        if self.try_all and not self.mend:
            raise ValueError("try_all needs mend: there are no cures to try without it.")
        if self.best_of > 1 and self.judge == "none":
            raise ValueError("best_of needs a judge to say which is best; leave judge at whisper.")

    @property
    def repairs(self) -> bool:
        """Whether sentences are repaired, in either way."""
        return self.repair or self.use_repairs is not None

    def to_dict(self, reference: VoiceReference) -> dict[str, Any]:
        """The settings as JSON's view, and what the reference was made of."""
        paths = {name: str(value) for name, value in vars(self).items() if isinstance(value, Path)}
        n = {"n_reference_sentences": len(reference.phonemes), "base_rates": reference.base_rates}
        return {**vars(self), **paths, **n}
