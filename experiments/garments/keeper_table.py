"""Keepers among pictures of all prompts, and what a row of the table says of a way to draw."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import Tensor

from experiments.garments.ways import PROMPTS
from experiments.intervals import bootstrap
from genmend.diffusion import Novelty
from genmend.diffusion.reference import garment_scorer
from genmend.diffusion.search.keepers import Keepers
from genmend.diffusion.search.trials import Scores, with_keepers
from genmend.manifold import vendi_score
from genmend.manifold.features import extract

GROUP = 8  # pictures of a prompt of which the newest is taken


class Counting:
    """Pictures (prompts * seeds, 3, h, w), of the first prompt first, scored by one network and in one space.

    Their novelty counts where they lie inside the manifolds of real garments of that space and of another: each sees
    breakages that the other does not.
    """

    def __init__(self, clouds: Mapping[str, Tensor], novelty: Novelty, other: Novelty, judge: str) -> None:
        self.novelty, self.other, self.judge = novelty, other, judge
        self.usability = {judge: garment_scorer(judge)}
        self.keepers = Keepers().fit(clouds, novelty, self.usability)

    def scores(self, pictures: Tensor) -> Scores:
        """Usability, novelty inside the manifold, keepers."""
        parts = list(zip(pictures.split(len(pictures) // len(PROMPTS)), PROMPTS, strict=True))
        usable = np.concatenate([self.usability[self.judge](part, prompt) for part, prompt in parts])
        new, also = (
            np.concatenate([space(part, prompt) for part, prompt in parts]) for space in (self.novelty, self.other)
        )
        new[np.isnan(also)] = np.nan
        return with_keepers(Scores({self.judge: usable}, new), PROMPTS, self.keepers)

    def relative(self, scores: Scores) -> np.ndarray:
        """Novelty (prompts, seeds) as a share of what a keeper exceeds; 0 for what is not usable or outside."""
        limits = np.array([self.keepers.newer_than_[prompt] for prompt in PROMPTS])
        usable = scores.usability[self.judge].reshape(len(PROMPTS), -1) >= 0.5
        novelty = scores.novelty.reshape(len(PROMPTS), -1) / limits[:, None]
        return np.where(usable & np.isfinite(novelty), novelty, 0)


def row_of(first: Counting, second: Counting, drawn: Tensor, plain: Tensor, paired: bool = True) -> dict[str, Any]:
    """Figures of pictures beside those of plain ones; in `second`, another space, keepers alone.

    Parameters
    ----------
    paired
        Whether seeds are the same; else both are drawn anew by the bootstrap.
    """
    ours, theirs = first.scores(drawn), first.scores(plain)
    kept, kept_plain = (100 * s.keepers.astype(np.float64) for s in (ours, theirs))  # type: ignore[union-attr]
    again, again_plain = (100 * second.scores(p).keepers.astype(np.float64) for p in (drawn, plain))  # type: ignore[union-attr]

    def more(one: np.ndarray, other: np.ndarray) -> list[float]:
        n = len(one)
        if paired:
            return list(bootstrap(lambda rows: float((one - other)[rows].mean()), n))
        both = np.concatenate([one, other])
        return list(bootstrap(lambda rows: float(both[rows[:n]].mean() - both[rows[n:]].mean()), (n, len(other))))

    counts, counts_plain = (k.reshape(len(PROMPTS), -1).mean(1) for k in (kept, kept_plain))
    newest = first.relative(ours)
    newest = newest[:, : newest.shape[1] // GROUP * GROUP].reshape(len(PROMPTS), -1, GROUP).max(2)
    features = extract(first.novelty.extractor, drawn[ours.keepers]) if ours.keepers.any() else np.empty((0, 1))  # type: ignore[union-attr]
    usability = ours.usability[first.judge]
    return {
        "n": len(drawn),
        "usability": float(usability.mean()),
        "usable": float((usability >= 0.5).mean()),
        "inside": float(np.isfinite(ours.novelty).mean()),
        "novelty": float(np.nanmean(ours.novelty) / np.nanmean(theirs.novelty)),
        "keepers": list(bootstrap(lambda rows: float(kept[rows].mean()), len(kept))),
        "more_keepers": more(kept, kept_plain),
        "keepers_in_the_second_space": list(bootstrap(lambda rows: float(again[rows].mean()), len(again))),
        "more_keepers_in_the_second_space": more(again, again_plain),
        "newest_of_8": float(newest.mean()),
        "different_keepers": float(vendi_score(features)) if len(features) else 0.0,
        "prompts_that_gain": int((counts > counts_plain).sum()),
        "prompts_that_lose": int((counts < counts_plain).sum()),
    }
