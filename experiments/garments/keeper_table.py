"""Keepers among pictures of all prompts, and what a row of the table says of a way to draw."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import Tensor

from experiments.garments.ways import PROMPTS
from experiments.intervals import bootstrap
from genmend.diffusion import Novelty
from genmend.diffusion.search.keepers import Keepers
from genmend.diffusion.search.scorers import Scorer
from genmend.diffusion.search.trials import Scores, with_keepers
from genmend.manifold import vendi_score
from genmend.manifold.features import extract

GROUP = 8  # pictures of a prompt of which the newest is taken
LEAST = 0.5  # of every probability


class Counting:
    """Pictures (prompts * seeds, 3, h, w), of the first prompt first, scored by networks and in one space.

    Their novelty counts where they lie inside the manifolds of real garments of that space and of another: each sees
    breakages that the other does not. The first scorer tells the garment, the others whether it is unbroken.
    """

    def __init__(
        self, clouds: Mapping[str, Tensor], novelty: Novelty, other: Novelty, usability: Mapping[str, Scorer]
    ) -> None:
        self.novelty, self.other, self.usability = novelty, other, usability
        self.keepers = Keepers().fit(clouds, novelty, usability)

    def scores(self, pictures: Tensor) -> Scores:
        """Usability, novelty inside the manifolds, keepers."""
        parts = list(zip(pictures.split(len(pictures) // len(PROMPTS)), PROMPTS, strict=True))
        usable = {
            name: np.concatenate([scorer(part, prompt) for part, prompt in parts])
            for name, scorer in self.usability.items()
        }
        new, also = (
            np.concatenate([space(part, prompt) for part, prompt in parts]) for space in (self.novelty, self.other)
        )
        new[np.isnan(also)] = np.nan
        return with_keepers(Scores(usable, new), PROMPTS, self.keepers)

    def relative(self, scores: Scores) -> np.ndarray:
        """Novelty (prompts, seeds) as a share of what a keeper exceeds; 0 for what is not whole."""
        limits = np.array([self.keepers.newer_than_[prompt] for prompt in PROMPTS])
        novelty = np.where(is_whole(scores), scores.novelty, 0).reshape(len(PROMPTS), -1)
        return novelty / limits[:, None]


def is_whole(scores: Scores) -> np.ndarray:
    """Of each picture (n,) whether it is the garment, unbroken, and inside the manifolds."""
    usable = np.all([values >= LEAST for values in scores.usability.values()], axis=0)
    found: np.ndarray = usable & np.isfinite(scores.novelty)
    return found


def row_of(
    first: Counting, second: Counting, drawn: Tensor, plain: Tensor, paired: bool = True, level: float = 0.95
) -> dict[str, Any]:
    """Figures of pictures beside those of plain ones; in `second`, another space, keepers alone.

    Parameters
    ----------
    paired
        Whether seeds are the same; else both are drawn anew by the bootstrap.
    level
        Of a further interval of how many more keepers there are.
    """
    ours, theirs = first.scores(drawn), first.scores(plain)
    kept, kept_plain = (100 * s.keepers.astype(np.float64) for s in (ours, theirs))  # type: ignore[union-attr]
    again, again_plain = (100 * second.scores(p).keepers.astype(np.float64) for p in (drawn, plain))  # type: ignore[union-attr]

    def more(one: np.ndarray, other: np.ndarray, **how: Any) -> list[float]:
        n = len(one)
        if paired:
            return list(bootstrap(lambda rows: float((one - other)[rows].mean()), n, **how))
        both, sizes = np.concatenate([one, other]), (n, len(other))
        return list(bootstrap(lambda rows: float(both[rows[:n]].mean() - both[rows[n:]].mean()), sizes, **how))

    counts, counts_plain = (k.reshape(len(PROMPTS), -1).mean(1) for k in (kept, kept_plain))
    newest = first.relative(ours)
    newest = newest[:, : newest.shape[1] // GROUP * GROUP].reshape(len(PROMPTS), -1, GROUP).max(2)
    features = extract(first.novelty.extractor, drawn[ours.keepers]) if ours.keepers.any() else np.empty((0, 1))  # type: ignore[union-attr]
    garment, *unbroken = (values >= LEAST for values in ours.usability.values())
    return {
        "n": len(drawn),
        "usable": float(garment.mean()),
        "intact": float(np.all(unbroken, axis=0).mean()),
        "inside": float(np.isfinite(ours.novelty).mean()),
        "whole": float(is_whole(ours).mean()),
        "keepers": list(bootstrap(lambda rows: float(kept[rows].mean()), len(kept))),
        "more_keepers": more(kept, kept_plain),
        "more_keepers_corrected": more(kept, kept_plain, level=level, n_resamples=10_000),
        "keepers_in_the_second_space": list(bootstrap(lambda rows: float(again[rows].mean()), len(again))),
        "more_keepers_in_the_second_space": more(again, again_plain),
        "newest_of_8": float(newest.mean()),
        "different_keepers": float(vendi_score(features)) if len(features) else 0.0,
        "prompts_that_gain": int((counts > counts_plain).sum()),
        "prompts_that_lose": int((counts < counts_plain).sum()),
    }
