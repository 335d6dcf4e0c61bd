"""Settings of a comparison, apart from it: the command line reads its options here without loading torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genmend.diffusion.amplification.families import supported

if TYPE_CHECKING:
    from genmend.diffusion.amplification.gains import EditOptions

__all__ = ["AmplifySettings"]

MOST_STRENGTH = 10.0
CONTROLS = ("full", "high", "random", "noise", "cads")


@dataclass(frozen=True)
class AmplifySettings:
    """What to amplify by how much, and how to measure it.

    Give one of `gains` (slot -> gain; or a gain for each down block and the middle one, in this order), `preset`,
    `correction` (a file), `search` and `blocks` (of a transformer: number -> gain); or none of them for the preset of
    the model's family, or the model's own gains (`search.default_gains`). `usability` is "" for the model's own
    scorer, "none", or "clip:MODEL"; `features` an extractor's name, "" for the model's own; `control` "",
    a band of `AmplifyBand`, drawn with the same gains, or "cads", noise on the prompt without gains (`cads`). `call`
    holds arguments of the pipeline; what it leaves out is the model's own, then the preset's. `keep_inside` is None
    for 0.9 where real images are known, else 0.

    Raises
    ------
    ValueError
        If settings contradict each other; the message says which.
    """

    prompts: tuple[str, ...] = field(metadata={"help": "What to draw; again for more.", "option": "--prompt"})
    gains: Mapping[str, float] | Sequence[float] | None = field(
        default=None,
        metadata={"help": "down0=1.1,down1=1.3,mid=1.8; or one for each down block and the middle: 1.1,1.3,1.8."},
    )
    preset: str = field(
        default="",
        metadata={
            "help": "Gains, steps, guidance, size of sdxl-turbo, sdxl-lightning-1 or -4, sdxl, sd-1.5, sd-2.1; the "
            "family's where nothing says what is amplified."
        },
    )
    correction: Path | None = field(default=None, metadata={"help": "An amplification.safetensors.", "exists": True})
    search: bool = field(
        default=False, metadata={"help": "Search the gains that are newest and still usable.", "option": "--search"}
    )
    blocks: Mapping[int, float] | None = field(
        default=None, metadata={"help": f"Of a transformer: 14=1.05,15=1.05 (experimental). Known are {supported()}."}
    )
    cutoff: float | None = field(
        default=None, metadata={"help": "Where the low band ends; by default the preset's, or 5."}
    )
    cutoff_unit: str = field(default="", metadata={"help": "bins, or nyquist for a share of it."})
    n: int = field(default=32, metadata={"help": "Images of each prompt; a verdict needs 10.", "min": 1})
    n_cloud: int = field(
        default=64, metadata={"help": "Unamplified images that novelty is measured from; 0: none.", "min": 0}
    )
    n_search: int = field(default=16, metadata={"help": "Seeds of a search.", "min": 4})
    n_trials: int = field(default=24, metadata={"help": "Sets of gains that a search tries first.", "min": 2})
    tau: float = field(
        default=0.95, metadata={"help": "Share of the usability that a search keeps.", "min": 0, "max": 1}
    )
    usability: str = field(
        default="", metadata={"help": "clip:MODEL by hub name or folder; none; reference has its own."}
    )
    features: str = field(
        default="", metadata={"help": "Of the novelty; efficientnet-lite0 if empty.", "option": "--extractor"}
    )
    control: str = field(
        default="",
        metadata={
            "help": "Draw a control too: full, high, random, noise (the same gains there), or cads (no gains; noise on "
            "the prompt)."
        },
    )
    real: Path | None = field(
        default=None, metadata={"help": "Folder of real images: novelty counts only among them.", "exists": True}
    )
    keep_inside: float | None = field(
        default=None,
        metadata={
            "help": "Share of the samples among real images that a search keeps; 0.9 where they are known.",
            "min": 0,
            "max": 1,
        },
    )
    strengths: tuple[float, ...] = field(
        default=(0.5, 1.5, 2.0),
        metadata={"help": "Of the slider on the page, beside 0 and 1, on the first 8 seeds; or none."},
    )
    seed: int = field(
        default=0, metadata={"help": "Of the first image; cloud and search use seeds far above.", "min": 0}
    )
    call: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        if len(self._ways()) > 1:
            raise ValueError(f"{' and '.join(self._ways())} both say what is amplified; give one of them.")
        if not self.prompts or any(not prompt.strip() for prompt in self.prompts):
            raise ValueError(f"The prompts are {list(self.prompts)}; give --prompt with words, again for more.")
        if any(not 0 < strength <= MOST_STRENGTH for strength in self.strengths):
            raise ValueError(f"--strengths are {list(self.strengths)}; give numbers above 0, to {MOST_STRENGTH:g}.")
        if self.n < 1 or (0 < self.n_cloud <= 5):
            raise ValueError(f"--n is {self.n} and --n-cloud {self.n_cloud}; give at least 1, and 0 or at least 6.")
        if self.real is not None and not self.n_cloud:
            raise ValueError("--real says where novelty counts, and --n-cloud 0 measures none; leave one of them out.")
        if self.keep_inside and not self.search:
            raise ValueError("--keep-inside is of a --search, and inside is among --real images; give both.")
        if self.control not in ("", *CONTROLS):
            raise ValueError(f"--control is {self.control!r}; accepted are {', '.join(CONTROLS)}.")

    def _ways(self) -> list[str]:
        given = {
            "--gains": self.gains is not None,
            "--preset": bool(self.preset),
            "--search": self.search,
            "--correction": self.correction is not None,
            "--blocks": bool(self.blocks),
        }
        return [name for name, there in given.items() if there]

    @property
    def way(self) -> str:
        """Which option says what is amplified; "" if none does."""
        return next(iter(self._ways()), "")

    @property
    def seeds(self) -> range:
        """Of the images of each prompt."""
        return self.seeds_from(0, self.n)

    def seeds_from(self, start: int, n: int) -> range:
        """`n` seeds, `start` above the first."""
        return range(self.seed + start, self.seed + start + n)

    @property
    def n_shown(self) -> int:
        """Of the seeds that the page shows first."""
        return min(self.n, 8)

    def edit_options(self) -> EditOptions:
        """Fields of the edits beside layer, gain and cutoff."""
        return {"cutoff_unit": self.cutoff_unit} if self.cutoff_unit else {}  # type: ignore[typeddict-item]
