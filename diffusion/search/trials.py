"""What a choice of gains was measured to do, sample by sample, and how it compares with the unamplified pipeline."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from genmend.activations import Edit
from genmend.activations.contract import edit_name, field_names
from genmend.diffusion.amplification.attached import Schedule
from genmend.diffusion.amplification.plug_in import amplified
from genmend.diffusion.drawing import draw
from genmend.diffusion.pipeline_fingerprint import pipeline_fingerprint
from genmend.diffusion.search.keepers import Keepers
from genmend.diffusion.search.scorers import Scorer
from genmend.storage.digests import sha256_of_array
from genmend.storage.pieces import Work

__all__ = [
    "Comparison",
    "Measure",
    "Scores",
    "compare_scores",
    "describe_edit",
    "make_measure",
    "with_keepers",
]


@dataclass(frozen=True)
class Scores:
    """Scores of every sample, in the order of prompts and, within a prompt, of seeds.

    Attributes
    ----------
    usability : dict
        Scorer -> ``(n,)``, higher is better.
    novelty : ndarray ``(n,)``
        Higher is newer; NaN where a sample does not count.
    keepers : ndarray ``(n,)`` of bool, or None
        As `Keepers` tells; None where it was not asked.
    """

    usability: dict[str, NDArray[np.floating]]
    novelty: NDArray[np.floating]
    keepers: NDArray[np.bool_] | None = None


# Edits and seeds, and where there is one the schedule of the edits' strength -> scores.
Measure = Callable[..., Scores]


@dataclass(frozen=True)
class Comparison:
    """Amplified against unamplified samples of the same prompts and seeds.

    Attributes
    ----------
    usability : dict
        Scorer -> mean amplified / mean unamplified.
    usability_lower : dict
        Scorer -> lower end of the one-sided 95 % bootstrap interval of that ratio.
    usability_upper : dict
        Its upper counterpart.
    novelty : float
        Mean novelty over the samples that count, amplified / unamplified.
    novelty_interval : tuple of 2 floats
        95 %.
    counted : float
        Share of amplified samples whose novelty counts: of a `Novelty` with real images, those inside their manifold.
    inside, inside_lower : float
        That share / the unamplified samples' share, and the lower end of its one-sided 95 % interval.
    n : int
        Samples.
    inside_upper : float
        The upper counterpart of `inside_lower`; NaN where it is not known.
    keepers, keepers_plain : float
        Of 100 amplified and of 100 unamplified samples; NaN where keepers were not told.
    more_keepers : tuple of 2 floats
        95 % interval of the first minus the second.
    """

    usability: dict[str, float]
    usability_lower: dict[str, float]
    usability_upper: dict[str, float]
    novelty: float
    novelty_interval: tuple[float, float]
    counted: float
    inside: float
    inside_lower: float
    n: int
    inside_upper: float = np.nan
    keepers: float = np.nan
    keepers_plain: float = np.nan
    more_keepers: tuple[float, float] = (np.nan, np.nan)

    def feasible(self, tau: float, keep_inside: float = 0.0) -> bool:
        """Whether every scorer's lower bound keeps `tau` of the unamplified usability, and that of the share inside."""
        usable = all(bound >= tau for bound in self.usability_lower.values())
        return usable and (keep_inside == 0 or self.inside_lower >= keep_inside)

    def kept(self, tau: float, keep_inside: float = 0.0) -> float:
        """The least that is kept, as a share of what has to be; from 1 on it looks feasible, bounds aside."""
        shares = [ratio / tau for ratio in self.usability.values()] if tau else []
        return min([*shares, self.inside / keep_inside if keep_inside else np.inf])


def compare_scores(amplified_scores: Scores, plain: Scores, *, seed: int = 0, n_resamples: int = 2_000) -> Comparison:
    """Compare pair by pair; a bootstrap resample takes samples of both together.

    Raises
    ------
    ValueError
        If the two are not of the same samples.
    """
    n = len(plain.novelty)
    if len(amplified_scores.novelty) != n or amplified_scores.usability.keys() != plain.usability.keys():
        raise ValueError(f"{len(amplified_scores.novelty)} samples and {n} cannot be paired; score the same seeds.")
    draws = np.random.default_rng(seed).integers(0, n, (n_resamples, n))

    def ratios(ours: NDArray[np.floating], theirs: NDArray[np.floating]) -> tuple[float, NDArray[np.floating]]:
        means = [_means(values, draws) for values in (ours, theirs)]
        with np.errstate(invalid="ignore", divide="ignore"):
            return float(np.nanmean(ours) / np.nanmean(theirs)) if _any(ours, theirs) else np.nan, means[0] / means[1]

    usability = {name: ratios(amplified_scores.usability[name], values) for name, values in plain.usability.items()}
    novelty, spread = ratios(amplified_scores.novelty, plain.novelty)
    counts = [np.isfinite(scores.novelty).astype(np.float64) for scores in (amplified_scores, plain)]
    inside, inside_spread = ratios(counts[0], counts[1])
    return Comparison(
        {name: ratio for name, (ratio, _) in usability.items()},
        {name: float(np.quantile(found, 0.05)) for name, (_, found) in usability.items()},
        {name: float(np.quantile(found, 0.95)) for name, (_, found) in usability.items()},
        novelty,
        _interval(spread),
        float(counts[0].mean()),
        inside,
        _quantile(inside_spread, 0.05),
        n,
        _quantile(inside_spread, 0.95),
        *_compare_keepers(amplified_scores.keepers, plain.keepers, draws),
    )


def _compare_keepers(
    ours: NDArray[np.bool_] | None, theirs: NDArray[np.bool_] | None, draws: NDArray[np.integer]
) -> tuple[float, float, tuple[float, float]]:
    """Keepers of 100 samples, of 100 unamplified ones, and the interval of the difference."""
    if ours is None or theirs is None:
        return np.nan, np.nan, (np.nan, np.nan)
    differences = 100 * (ours.astype(np.float64) - theirs)[draws].mean(1)
    return 100 * float(ours.mean()), 100 * float(theirs.mean()), _interval(differences)


def make_measure(
    pipe: Any,
    prompts: Sequence[str],
    usability: Mapping[str, Scorer],
    novelty: Scorer,
    *,
    keepers: Keepers | None = None,
    work: Work | None = None,
    scorers_key: str = "",
    **settings: Any,
) -> Measure:
    """Return the function that draws and scores; each seed is drawn once for the same edits.

    Parameters
    ----------
    pipe, prompts, settings
        As `draw` takes them.
    usability, novelty
        Scorers.
    keepers
        Fitted, where keepers are to be told from these scores.
    work
        Keeps the scores, so that an interrupted search goes on and a repeated one costs nothing; without it nothing is
        kept on disk.
    scorers_key
        What the scorers are, where `work` has a folder: their scores are kept under it. Change it with them.
    """
    work = work or Work()
    found: dict[str, dict[str, dict[str, Any]]] = {}  # edits -> seed -> scores
    facts = {
        **(_pipeline_facts(pipe) if work.folder is not None else {}),
        "prompts": list(prompts),
        "settings": {key: repr(value) for key, value in sorted(settings.items()) if key != "batch_size"},
        "scorers": [scorers_key, *usability],
    }

    def scores_of(edits: Sequence[Edit], schedule: Schedule | None, seeds: Sequence[int]) -> list[dict[str, Any]]:
        """Scores of each seed: of each scorer one value for each prompt."""
        with amplified(pipe, edits=edits, schedule=schedule):  # without edits: whatever else is enabled is off
            images = draw(pipe, prompts, seeds, progress=work.progress, **settings)
        by_prompt = images.split(len(seeds))
        scores = {
            name: [scorer(x, p) for x, p in zip(by_prompt, prompts, strict=True)] for name, scorer in usability.items()
        }
        new = [novelty(x, prompt) for x, prompt in zip(by_prompt, prompts, strict=True)]
        return [
            {"usability": {name: [float(part[i]) for part in parts] for name, parts in scores.items()}}
            | {"novelty": [float(part[i]) if np.isfinite(part[i]) else None for part in new]}
            for i in range(len(seeds))
        ]

    def measure(edits: Sequence[Edit], seeds: Sequence[int], schedule: Schedule | None = None) -> Scores:
        listed: list[Any] = [describe_edit(edit) for edit in edits]
        about = [facts, listed] if schedule is None or not edits else [facts, listed, repr(schedule)]
        known, asked = found.setdefault(repr(about[1:]), {}), [str(int(seed)) for seed in seeds]
        missing = [seed for seed in asked if seed not in known]
        known |= work.entries(
            about, missing, lambda new: scores_of(edits, schedule if edits else None, [int(seed) for seed in new])
        )
        rows = [known[seed] for seed in asked]

        def stacked(values: list[list[Any]]) -> NDArray[np.floating]:
            return np.array(values, dtype=np.float64).T.ravel()  # prompts first

        return with_keepers(
            Scores(
                {name: stacked([row["usability"][name] for row in rows]) for name in usability},
                stacked([row["novelty"] for row in rows]),
            ),
            prompts,
            keepers,
        )

    return measure


def _pipeline_facts(pipe: Any) -> dict[str, Any]:
    """All of a pipeline that its images depend on; of one that is nothing but its denoiser, that one's digest."""
    others = pipeline_fingerprint(pipe)
    weights = {"weights": others.pop("denoiser")}
    return weights | {"pipeline": others} if getattr(pipe, "components", None) else weights


def with_keepers(scores: Scores, prompts: Sequence[str], keepers: Keepers | None) -> Scores:
    """Tell the keepers of scores in the order of prompts; unchanged where `keepers` is None."""
    if keepers is None:
        return scores
    n = len(scores.novelty) // len(prompts)
    parts = [slice(number * n, (number + 1) * n) for number in range(len(prompts))]
    told = [
        keepers({name: values[part] for name, values in scores.usability.items()}, scores.novelty[part], prompt)
        for part, prompt in zip(parts, prompts, strict=True)
    ]
    return replace(scores, keepers=np.concatenate(told))


def describe_edit(edit: Edit) -> dict[str, str]:
    """Everything an edit is, as text, for the key of what is kept of its images; of a tensor the digest."""
    values = {name: getattr(edit, name) for name in field_names(type(edit))}
    return {"type": edit_name(edit)} | {name: _as_text(value) for name, value in values.items()}


def _as_text(value: Any) -> str:
    if not isinstance(value, Tensor):
        return repr(value)
    return f"{value.dtype} {tuple(value.shape)} {sha256_of_array(value)}"


def _means(values: NDArray[np.floating], draws: NDArray[np.integer]) -> NDArray[np.floating]:
    """Mean of each resample over the values that count."""
    counts = np.isfinite(values)
    with np.errstate(invalid="ignore"):
        means: NDArray[np.floating] = np.where(counts, values, 0)[draws].sum(1) / counts[draws].sum(1)
    return means


def _interval(values: NDArray[np.floating]) -> tuple[float, float]:
    if not np.isfinite(values).any():
        return np.nan, np.nan
    return float(np.nanquantile(values, 0.025)), float(np.nanquantile(values, 0.975))


def _quantile(values: NDArray[np.floating], share: float) -> float:
    """Of the resamples that have a ratio; where no unamplified sample is inside there is none."""
    known = values[~np.isnan(values)]
    return float(np.quantile(known, share)) if len(known) else np.nan


def _any(*arrays: NDArray[np.floating]) -> bool:
    return all(np.isfinite(values).any() for values in arrays)
