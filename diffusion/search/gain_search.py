"""Our choice of gains: all blocks together, the newest images whose usability is provably kept.

search = search_gains(pipe, "a creative chair", usability={"clip": clip_score()}, novelty=novelty, seeds=range(16))
with amplified(pipe, edits=search.edits): ...
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from genmend.activations import Edit
from genmend.diffusion.amplification.gains import EditOptions, edits_by_slot
from genmend.diffusion.pipeline_parts import SigmaWindow, block_layers, denoiser_of
from genmend.diffusion.search.choices import (
    Choice,
    Gains,
    even_choices,
    gain_limits,
    gains_between,
    gains_near,
    place_of,
)
from genmend.diffusion.search.keepers import Keepers
from genmend.diffusion.search.plan import control_edits
from genmend.diffusion.search.scorers import Scorer
from genmend.diffusion.search.trials import Comparison, Measure, compare_scores, make_measure
from genmend.storage.pieces import Work
from genmend.storage.progress import with_progress

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["GainSearch", "Trial", "search_gains"]

Objective = Literal["novelty", "keepers"]


@dataclass(frozen=True)
class Trial:
    """One choice of gains, measured."""

    gains: Gains
    edits: tuple[Edit, ...]
    comparison: Comparison
    band: str = "low"
    window: SigmaWindow | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        found = vars(self.comparison)
        return {"gains": self.gains, "band": self.band, "window": _in_words(self.window)} | {
            key: list(value) if isinstance(value, tuple) else value for key, value in found.items()
        }


@dataclass(frozen=True)
class GainSearch:
    """What was tried, and what was chosen.

    Attributes
    ----------
    gains : dict
        Slot -> gain; all 1 where no trial keeps the usability.
    edits : tuple of Edit
        To attach; empty where nothing is amplified.
    trials : tuple of Trial
        Everything that was measured, each on as many seeds as it lived through.
    tau, keep_inside : float
        What had to be kept.
    prompts, seeds : tuple
    objective : "novelty" or "keepers"
        What was made large.
    band : str
        Which band of the maps the edits amplify.
    window : SigmaWindow or None
        Noise levels at which they act.

    Notes
    -----
    The figures of the chosen trial are of the seeds that chose it, so they flatter: report on other seeds.
    """

    gains: Gains
    edits: tuple[Edit, ...]
    trials: tuple[Trial, ...]
    tau: float
    prompts: tuple[str, ...]
    seeds: tuple[int, ...]
    keep_inside: float = 0.0
    objective: Objective = "novelty"
    band: str = "low"
    window: SigmaWindow | None = None

    @property
    def front(self) -> tuple[int, ...]:
        """Positions of the trials on most seeds that no other beats in both usability and novelty."""
        return _pareto_front(self.trials)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return {
            "gains": self.gains,
            "objective": self.objective,
            "band": self.band,
            "window": _in_words(self.window),
            "tau": self.tau,
            "keep_inside": self.keep_inside,
            "prompts": list(self.prompts),
            "seeds": list(self.seeds),
            "front": list(self.front),
            "trials": [trial.to_dict() for trial in self.trials],
        }

    def plot(self) -> Figure:
        """Draw every trial as a point, larger for more samples; the Pareto front is a line, the choice a star."""
        from matplotlib.figure import Figure

        figure = Figure(figsize=(6.4, 4.6), layout="constrained")
        axes = figure.subplots()
        most = max(trial.comparison.n for trial in self.trials)
        for trial in self.trials:
            found = trial.comparison
            kept = found.feasible(self.tau, self.keep_inside)
            axes.scatter(
                min(found.usability.values()),
                found.novelty,
                s=12 + 48 * found.n / most,
                color="tab:green" if kept else "tab:gray",
                alpha=0.9 if kept else 0.45,
                linewidths=0,
            )
        front = sorted(
            (min(self.trials[i].comparison.usability.values()), self.trials[i].comparison.novelty) for i in self.front
        )
        axes.plot(*zip(*front, strict=True), color="black", linewidth=0.8, label="Pareto front, all seeds")
        for trial in self.trials:
            if trial.edits == self.edits and trial.edits and trial.comparison.n == most:
                axes.scatter(
                    min(trial.comparison.usability.values()),
                    trial.comparison.novelty,
                    marker="*",
                    s=220,
                    color="tab:orange",
                    edgecolors="black",
                    linewidths=0.6,
                    label="chosen",
                    zorder=3,
                )
                break
        if self.tau:
            axes.axvline(self.tau, color="tab:red", linewidth=0.8, linestyle="--", label=f"tau = {self.tau:g}")
        axes.axhline(1, color="black", linewidth=0.5, linestyle=":")
        axes.set_xlabel("usability, amplified / original (lowest scorer)")
        axes.set_ylabel("novelty, amplified / original")
        axes.set_title("Gain search; green: kept with confidence; size: samples", fontsize=10)
        axes.legend(fontsize=8)
        return figure


def search_gains(
    pipe: Any,
    prompts: str | Sequence[str],
    usability: Mapping[str, Scorer],
    novelty: Scorer,
    seeds: Sequence[int] = tuple(range(16)),
    *,
    objective: Objective = "novelty",
    keepers: Keepers | None = None,
    bands: Sequence[str] = ("low",),
    windows: Sequence[SigmaWindow | None] = (None,),
    largest: Mapping[str, float] | None = None,
    cutoff: float | Mapping[str, float] = 5.0,
    tau: float = 0.95,
    keep_inside: float = 0.0,
    n_trials: int = 24,
    n_refined: int = 12,
    search_seed: int = 0,
    work: Work | None = None,
    scorers_key: str = "",
    edit_options: EditOptions | None = None,
    measure: Measure | None = None,
    **settings: Any,
) -> GainSearch:
    """Search the gains of several blocks together; maximise novelty, or keepers, where usability is kept.

    Trials are drawn evenly (Sobol, in the log of the gain), raced on growing numbers of seeds (a quarter, a half, all:
    the half that looks usable and newest goes on), then `n_refined` are tried between the best that is feasible and
    the first that is not, and round the best. The choice is the newest trial whose usability, at the lower end of a
    one-sided 95 % interval over paired samples, is at least ``tau`` of the unamplified; for every scorer. Or it is the
    one with the most keepers, if with confidence (the 95 % interval of the difference) they are more than among as
    many unamplified samples: of as many, since drawing more of those costs the same.

    Parameters
    ----------
    pipe, prompts
        As `diffusion.draw` takes them; with several prompts one choice is made for all.
    usability
        Name -> scorer; each must be kept.
    novelty
        A scorer such as `Novelty`; NaN where a sample does not count.
    seeds
        Of the noise.
    objective
        "novelty", or "keepers" of 100 samples.
    keepers
        Fitted; needed where they are the objective and no `measure` is given.
    bands
        Bands of the maps to choose from: "low", and those of `AmplifyBand`.
    windows
        Noise levels at which the edits act, to choose from: `SigmaWindow`; None for all.
    largest
        Slot -> the largest gain to try; by default 2 for each down block, 4 for the last one and the middle.
    cutoff
        One number, or slot -> cutoff.
    tau
        Share of the unamplified usability to keep.
    keep_inside
        Share of the unamplified samples' share inside the real manifold to keep, by the same bound, where `novelty` is
        NaN outside (`Novelty` with real images); 0: novelty counts inside only, however few are left there.
    n_trials, n_refined
        Choices in the race, and round its best.
    search_seed
        Of the trials.
    work, scorers_key
        As `make_measure` has them: an interrupted search goes on. With progress there are bars.
    edit_options
        Further fields of `AmplifyLowFrequencies`.
    measure
        In place of one made from the pipeline and the scorers.
    **settings
        Passed to the pipeline.

    Raises
    ------
    ValueError
        If a slot is unknown, fewer than 4 seeds are given, a share to keep is not in [0, 1], or keepers are the
        objective and nothing tells them.
    """
    prompts = (prompts,) if isinstance(prompts, str) else tuple(prompts)
    seeds = tuple(map(int, seeds))
    if len(seeds) < 4:
        raise ValueError(f"{len(seeds)} seeds are too few for an interval; give at least 4, better 16.")
    kept, progress = _Kept(tau, keep_inside, objective), work is not None and work.progress
    denoiser = denoiser_of(pipe)
    limits = gain_limits(list(block_layers(denoiser)), largest)
    if measure is None:
        measure = make_measure(
            pipe, prompts, usability, novelty, keepers=keepers, work=work, scorers_key=scorers_key, **settings
        )
    measured = measure
    if objective == "keepers" and measured((), seeds[:4]).keepers is None:
        raise ValueError("Nothing tells which samples are keepers; give keepers=, fitted, or objective='novelty'.")
    trials: list[Trial] = []

    def trial(choice: Choice, n_seeds: int) -> Trial:
        part, gains = seeds[:n_seeds], choice.gains
        edits = edits_by_slot(denoiser, gains, cutoff=cutoff, **(edit_options or {}))
        if choice.band != "low":
            edits = control_edits(edits, choice.band, search_seed)
        scores = measured(edits, part) if choice.window is None else measured(edits, part, choice.window)
        compared = compare_scores(scores, measured((), part), seed=search_seed)
        trials.append(Trial(gains, edits, compared, choice.band, choice.window))
        return trials[-1]

    rounds = (max(4, len(seeds) // 4), max(4, len(seeds) // 2), len(seeds))
    living = even_choices(limits, tuple(bands), tuple(windows), n_trials, search_seed)
    finalists: list[Trial] = []
    for number, n_seeds in enumerate(rounds):
        described = f"race {number + 1} of {len(rounds)}, {n_seeds} seeds"
        found = [trial(choice, n_seeds) for choice in with_progress(living, described, len(living), show=progress)]
        finalists = sorted(found, key=kept.promise, reverse=True)
        living = [Choice(one.gains, one.band, one.window) for one in finalists[: max(1, len(living) // 2)]]
    inside, beyond = kept.best(finalists), kept.first_beyond(trials)
    between = gains_between(
        place_of(_gains_of(inside), limits), place_of(_gains_of(beyond), limits), limits, n_refined - n_refined // 2
    )
    finalists += _tried(trial, between, inside or beyond, len(seeds), "between", progress)
    best = kept.best(finalists)
    near = gains_near(place_of(_gains_of(best), limits), limits, n_refined // 2, search_seed)
    finalists += _tried(trial, near, best or beyond, len(seeds), "near the best", progress)
    best = kept.best(finalists)
    if best is None:
        gains = dict.fromkeys(limits, 1.0)
        return GainSearch(gains, (), tuple(trials), tau, prompts, seeds, keep_inside, objective)
    return GainSearch(
        best.gains, best.edits, tuple(trials), tau, prompts, seeds, keep_inside, objective, best.band, best.window
    )


def _tried(
    trial: Callable[[Choice, int], Trial],
    gains: Sequence[Gains],
    like: Trial | None,
    n_seeds: int,
    described: str,
    progress: bool,
) -> list[Trial]:
    """Gains in the band and window of a trial before."""
    more = (like.band, like.window) if like is not None else ("low", None)
    return [trial(Choice(one, *more), n_seeds) for one in with_progress(gains, described, len(gains), show=progress)]


def _gains_of(trial: Trial | None) -> Gains:
    return {} if trial is None else trial.gains


def _in_words(window: SigmaWindow | None) -> str:
    return "" if window is None else repr(window)


def _newness(trial: Trial) -> float:
    return -np.inf if np.isnan(trial.comparison.novelty) else trial.comparison.novelty


@dataclass(frozen=True)
class _Kept:
    """What a choice has to keep to be taken."""

    tau: float
    inside: float
    objective: Objective

    def __post_init__(self) -> None:
        if self.objective not in get_args(Objective):
            raise ValueError(f"objective is {self.objective!r}; accepted are {' and '.join(get_args(Objective))}.")
        if not (0 <= self.tau <= 1 and 0 <= self.inside <= 1):
            raise ValueError(f"tau is {self.tau} and keep_inside {self.inside}; give shares in [0, 1].")

    def gain(self, trial: Trial) -> float:
        """What is made large, above that of the unamplified samples."""
        found = trial.comparison
        return found.keepers - found.keepers_plain if self.objective == "keepers" else _newness(trial) - 1

    def feasible(self, trial: Trial) -> bool:
        """By lower bounds."""
        more = self.objective == "novelty" or trial.comparison.more_keepers[0] > 0
        return more and trial.comparison.feasible(self.tau, self.inside)

    def looks(self, trial: Trial) -> float:
        """By the means; from 1 on kept."""
        return trial.comparison.kept(self.tau, self.inside)

    def promise(self, trial: Trial) -> tuple[bool, float]:
        """Who goes on in the race: those that look kept, the best first; then the others, the most kept first."""
        looks = self.looks(trial)
        return (True, self.gain(trial)) if looks >= 1 else (False, looks)

    def best(self, trials: Sequence[Trial]) -> Trial | None:
        """The best feasible trial that is better than nothing at all."""
        feasible = [trial for trial in trials if self.feasible(trial) and self.gain(trial) > 0]
        return max(feasible, key=self.gain, default=None)

    def first_beyond(self, trials: Sequence[Trial]) -> Trial | None:
        """The most kept of the trials that are not feasible: the feasible ones end somewhere on the way to it."""
        beyond = [trial for trial in trials if not self.feasible(trial) and self.gain(trial) > 0]
        return max(beyond, key=lambda trial: (self.looks(trial), self.gain(trial)), default=None)


def _pareto_front(trials: Sequence[Trial]) -> tuple[int, ...]:
    """Positions of the trials, of the largest number of samples, that no other beats in usability and novelty."""
    n = max((trial.comparison.n for trial in trials), default=0)
    points = {
        i: (min(trial.comparison.usability.values()), _newness(trial))
        for i, trial in enumerate(trials)
        if trial.comparison.n == n
    }
    return tuple(
        i
        for i, (u, v) in points.items()
        if not any((a >= u and b >= v) and (a > u or b > v) for a, b in points.values())
    )
