"""What is chosen of every way to draw, on the seeds of choice: the strength that makes the most keepers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from experiments.garments.keeper_table import Counting
from experiments.garments.ways import (
    CUTOFF,
    PROMPTS,
    Drawing,
    Way,
    amplifying,
    by_boost,
    by_cads,
    by_freeu,
    low,
    windows,
)
from genmend.activations import Edit
from genmend.diffusion import Novelty, search_gains
from genmend.diffusion.reference import guide_usability, novelty_extractor, real_garments
from genmend.diffusion.search.gain_search import GainSearch, Trial
from genmend.diffusion.search.published_search import published_search
from genmend.diffusion.search.trials import Scores

CHOICE, N_COMMAND_CLOUD = range(8), 64  # the second is the command's default
N_TRIALS, N_REFINED = 8, 2
LARGEST = {"down0": 2.0, "down1": 4.0, "mid": 4.0}
GRID = {"down0": (1.2, 1.6, 2.0), "down1": (2.0, 6.0, 10.0), "mid": (2.0, 6.0, 10.0)}  # every other published
SHRINK = {"down0": 0.3, "down1": 0.2, "mid": 0.2}
TURBO = {"down0": 1.075, "down1": 2.6, "mid": 2.8}  # the preset's first, third and middle block: shrunk, as published
STRENGTHS: Mapping[str, tuple[Callable[[Any, float], Way], tuple[float, ...]]] = {
    "middle block alone, x": (lambda pipe, gain: low(pipe, {"mid": gain}), (1.5, 2.0, 3.0)),
    "FreeU, of SD 1.4's setting": (lambda pipe, share: by_freeu(share), (0.5, 1.0, 1.25)),
    "CADS, scale": (lambda pipe, scale: by_cads(scale), (0.1, 0.2, 0.3)),
    "boosted noise, gamma": (lambda pipe, gamma: by_boost(gamma), (1.05, 1.15, 1.25)),
}


@dataclass(frozen=True)
class Chosen:
    """A way to draw, in words, what the choice cost in pictures, and the search if it was one."""

    way: Way
    about: str
    n_drawn: int = 0
    search: GainSearch | None = None


def choose_all(
    drawing: Drawing, guided: Counting, command: Counting, own_gains: Mapping[str, float]
) -> dict[str, Chosen]:
    """Every way with what was chosen of it.

    Parameters
    ----------
    drawing, guided
        Draw, and count by the networks of the choice.
    command
        Counts as the command does (`by_the_command`).
    own_gains
        Slot -> gain, that the command amplifies this pipeline by where nothing is said.
    """
    pipe = drawing.pipe

    def measure(edits: Sequence[Edit], seeds: Sequence[int], window: Any = None) -> Scores:
        return guided.scores(drawing.pictures(amplifying(edits, window), seeds))

    found = {
        f"own search, {band} band": _searched(drawing, measure, bands=(band,), windows=windows(pipe))
        for band in ("low", "full", "random")
    }
    found["amplify --search"] = _searched_by_the_command(drawing, command)
    found["amplify's own gains"] = Chosen(low(pipe, own_gains), _gains(own_gains))
    before = drawing.n_drawn
    published = published_search(pipe.unet, measure, CHOICE[:4], grid=GRID, cutoff=CUTOFF, shrink=SHRINK)
    cost = drawing.n_drawn - before
    found["published search, shrunk"] = Chosen(low(pipe, published.shrunk), _gains(published.shrunk), cost)
    found["published search, each block's own"] = Chosen(low(pipe, published.gains), _gains(published.gains), cost)
    found["Turbo preset"] = Chosen(low(pipe, TURBO), _gains(TURBO))
    for name, (way_of, strengths) in STRENGTHS.items():
        before = drawing.n_drawn
        ways = {strength: way_of(pipe, strength) for strength in strengths}
        counts = {s: _keepers(guided, drawing.pictures(way, CHOICE)) for s, way in ways.items()}
        best = max(counts, key=counts.__getitem__)  # of as many the weakest
        of_all = ", ".join(f"{strength:g}: {count}" for strength, count in counts.items())
        found[name] = Chosen(ways[best], f"{best:g} (keepers {of_all})", drawing.n_drawn - before)
    return found


def _searched(drawing: Drawing, measure: Any, **space: Any) -> Chosen:
    """The trial with the most keepers of those on all seeds, whether or not they are more with confidence."""
    before = drawing.n_drawn
    search = search_gains(
        drawing.pipe, PROMPTS, {}, _unused, CHOICE, objective="keepers", largest=LARGEST, cutoff=CUTOFF, tau=0.0,
        n_trials=N_TRIALS, n_refined=N_REFINED, measure=measure, **space,
    )  # fmt: skip
    most = max(trial.comparison.n for trial in search.trials)
    best = max((t for t in search.trials if t.comparison.n == most), key=lambda t: t.comparison.keepers)
    return Chosen(amplifying(best.edits, best.window), _in_words(best), drawing.n_drawn - before, search)


def by_the_command(cloud: Tensor) -> Counting:
    """Who counts in `genmend amplify reference`: its real garments, one space, the first 64 seeds of a cloud."""
    seeds = cloud.split(len(cloud) // len(PROMPTS))
    clouds = {prompt: part[:N_COMMAND_CLOUD] for prompt, part in zip(PROMPTS, seeds, strict=True)}
    novelty = Novelty(novelty_extractor()).fit(clouds, {prompt: real_garments(prompt) for prompt in PROMPTS})
    return Counting(clouds, novelty, novelty, guide_usability())


def _searched_by_the_command(drawing: Drawing, command: Counting) -> Chosen:
    """What `genmend amplify reference --search` takes, with the seeds and the number of trials of the other searches.

    All steps; 0.95 of the usability and 0.9 of the share inside have to be kept, and keepers be more, with confidence.
    """
    before = drawing.n_drawn

    def measure(edits: Sequence[Edit], seeds: Sequence[int]) -> Scores:
        return command.scores(drawing.pictures(amplifying(edits), seeds))

    search = search_gains(
        drawing.pipe, PROMPTS, {}, _unused, CHOICE, objective="keepers", cutoff=CUTOFF, tau=0.95, keep_inside=0.9,
        n_trials=N_TRIALS, n_refined=N_REFINED, measure=measure,
    )  # fmt: skip
    about = _gains(search.gains) if search.edits else "nothing: no gains with confidence more, and whole"
    return Chosen(amplifying(search.edits), about, drawing.n_drawn - before, search)


def _keepers(counting: Counting, pictures: Tensor) -> int:
    return int(counting.scores(pictures).keepers.sum())  # type: ignore[union-attr]


def _in_words(trial: Trial) -> str:
    steps = "all steps"
    if trial.window is not None:
        steps = "first half of the steps" if trial.window.low > 0 else "second half of the steps"  # type: ignore[attr-defined]
    return f"{_gains(trial.gains)}; {steps}"


def _gains(gains: Mapping[str, float]) -> str:
    return ", ".join(f"{slot} {gain:.3g}" for slot, gain in gains.items())


def _unused(images: Tensor, prompt: str) -> Any:
    raise AssertionError("the measure that is given scores novelty")
